"""Auditing a verifier on labelled pairs: agreement, false accepts, false rejects, abstentions, beside string baselines.

A battery is a JSONL file of rows `{id, demonstrated, candidate, truth, kind?}` plus what the domain needs to bring a
row to life. `truth` is equal, different or abstain; rows of another truth are counted and left out, as are rows whose
state cannot be built. On a decided row an abstention is wrong; on an abstain row a rejection counts half.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pivot_envs.contracts import Auditable, Case, Domain
from pivot_envs.domains import FAMILIES, get_domain, resolve
from pivot_envs.errors import ConfigError, MalformedAction, PivotEnvsError, RecordError, RestoreError
from pivot_envs.kinds import expect_kind
from pivot_envs.records import Verdict
from pivot_envs.strict_json import shown
from pivot_envs.trajectories import read_objects
from pivot_envs.verifiers.effect import EffectVerifier, failed, malformed
from pivot_envs.verifiers.text import exact_match, tool_name_match, word_overlap_match

logger = logging.getLogger(__name__)

TRUTHS = ("equal", "different", "abstain")
_DECISIONS = {"accepted": "equal", "rejected": "different", "malformed": "different", "abstained": "abstain"}
_OVERLAP_THRESHOLDS = {"tau2": 0.1, "swe": 0.0, "browse": 0.3}
"""Thresholds the released comparator ships with, by family (reference NeMo-Gym, 4.1)."""


@dataclass
class Tally:
    """Counts of one kind, or of the whole battery."""

    rows: int = 0
    score: float = 0.0
    false_accepts: int = 0
    false_rejects: int = 0
    abstained: int = 0
    failed: int = 0

    def add(self, truth: str, decision: str | None) -> None:
        """Count one row; `decision` is None where we failed."""
        self.rows += 1
        if decision is None:
            self.failed += 1
        elif decision == truth:
            self.score += 1
        elif truth == "abstain" and decision == "different":
            self.score += 0.5
        self.abstained += decision == "abstain"
        self.false_accepts += decision == "equal" and truth != "equal"
        self.false_rejects += decision == "different" and truth == "equal"

    @property
    def agreement(self) -> float | None:
        """Score over scored rows; None without rows."""
        return self.score / self.rows if self.rows else None

    def as_dict(self) -> dict[str, Any]:
        """Return the counts with the agreement."""
        agreement = None if self.agreement is None else round(self.agreement, 6)
        return {"agreement": agreement, **vars(self)}


@dataclass
class AuditReport:
    """What an audit found."""

    total: Tally = field(default_factory=Tally)
    by_kind: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    baselines: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows of another truth than equal, different or abstain, by that truth."""
    not_restored: int = 0
    """Rows whose state could not be built (a prefix no one can have executed): reported among `rows`, not scored."""
    prefix_failures: list[str] = field(default_factory=list)
    """Ids of scored rows in whose prefix a tool refused a call."""
    levels: Counter[str] = field(default_factory=Counter)
    """Which level decided how many rows."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        total = self.total.as_dict()
        return {
            "agreement": total["agreement"],
            "scored": self.total.rows,
            "false_accepts": self.total.false_accepts,
            "false_rejects": self.total.false_rejects,
            "abstained": self.total.abstained,
            "failed": self.total.failed,
            "left_out": dict(self.left_out),
            "not_restored": self.not_restored,
            "prefix_failures": self.prefix_failures,
            "levels": dict(self.levels),
            "by_kind": {kind: tally.as_dict() for kind, tally in sorted(self.by_kind.items())},
            "baselines": {name: tally.as_dict() for name, tally in self.baselines.items()},
            "rows": self.rows,
        }


def read_battery(path: Path) -> list[dict[str, Any]]:
    """Read a battery file. A row without an id gets `line-N`.

    Raises:
        RecordError: a line is no JSON object, an id stands twice, or there is no row.
        ConfigError: there is no such file, or it is of another kind.
    """
    if not path.is_file():
        raise ConfigError(f"no battery file {str(path)!r}; expected JSONL rows with demonstrated, candidate and truth")
    expect_kind(path, "battery")
    rows = []
    first_line: dict[str, int] = {}
    for number, row in read_objects(path):
        row_id = row.get("id")
        if row_id is None:
            row_id = f"line-{number}"
        elif isinstance(row_id, bool) or not isinstance(row_id, str | int) or row_id == "":
            problem = f"expected a string or a number, got {shown(row_id)}; leave it out to have rows named by line"
            raise RecordError(problem, file=str(path), line=number, field="id")
        if (known := first_line.setdefault(str(row_id), number)) != number:
            problem = f"{shown(row_id)} stands in line {known} already; ids must be unique"
            raise RecordError(problem, file=str(path), line=number, field="id")
        rows.append({**row, "id": row_id, "_line": number})
    if not rows:
        raise RecordError("it holds no row", file=str(path))
    return rows


def audit(
    rows: Iterable[Mapping[str, Any]],
    family: str,
    domain: str | None = None,
    *,
    file: str = "battery",
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> AuditReport:
    """Judge every row by the effect verifier of its domain.

    Args:
        rows: Battery rows. A row's own `domain` wins over `domain`.
        family: The family, or a domain of it.
        domain: The domain of rows that name none.
        file: Named in errors.
        progress: Called with the number of rows done.
        options: Passed to the domain.

    Raises:
        RecordError: a row cannot be brought to life; names the line and the field.
        ConfigError: the domain takes no batteries.
    """
    report = AuditReport()
    for n, row in enumerate(rows, start=1):
        truth = str(row.get("truth"))
        if truth not in TRUTHS:
            report.left_out[truth[:40]] += 1
            continue
        try:
            world = _domain_of(row, family, domain, options)
            _audit_row(report, world, row, truth)
        except RecordError as error:
            raise RecordError(error.problem, file=file, line=row.get("_line", n), field=error.field) from error
        if progress:
            progress(n)
    return report


def _domain_of(row: Mapping[str, Any], family: str, domain: str | None, options: Mapping[str, Any]) -> Domain:
    """Return the domain a row names; a message of a domain we do not have is judged by the rules of the default one."""
    named = row.get("domain")
    if named is None or named == family:
        return get_domain(family, domain, **options)
    if isinstance(named, str) and named in FAMILIES[resolve(family)[0]].domains:
        return get_domain(family, named, **options)
    if "task_id" in row:
        known = FAMILIES[resolve(family)[0]].domains
        raise RecordError(f"{str(named)[:80]!r} is no domain of {family!r}; known are {list(known)}", field="domain")
    return get_domain(family, domain, **options)


def _audit_row(report: AuditReport, domain: Domain, row: Mapping[str, Any], truth: str) -> None:
    if not isinstance(domain, Auditable):
        raise ConfigError(f"domain {domain.name!r} takes no batteries: it has no method `case`")
    case: Case | None = None
    try:
        case = domain.case(row)
        verdict = EffectVerifier(domain).judge_group(case.candidate, case.demonstrated, case.state, [case.action])[0]
    except MalformedAction as error:
        verdict = malformed(error.reason, error.detail)
    except RecordError:
        raise
    except RestoreError as error:
        logger.warning("row %s is not scored: %s", row.get("id"), error)
        report.not_restored += 1
        report.rows.append(_row_result(row, truth, None, failed("execution", f"not scored: {error}")))
        return
    except PivotEnvsError as error:
        logger.warning("row %s: %s", row.get("id"), error)
        verdict = failed("execution", str(error))
    finally:
        if case is not None:
            case.state.close()
    if case is not None and case.prefix_failed:
        report.prefix_failures.append(str(row.get("id")))
    kind = str(row.get("kind", "all"))
    decision = _DECISIONS.get(verdict.outcome)
    for tally in (report.total, report.by_kind[kind]):
        tally.add(truth, decision)
    report.levels[verdict.level] += 1
    report.rows.append(_row_result(row, truth, decision, verdict))
    _add_baselines(report, domain, case, truth)


def _row_result(row: Mapping[str, Any], truth: str, decision: str | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": row.get("id"),
        "truth": truth,
        "decision": decision,
        "outcome": verdict.outcome,
        "level": verdict.level,
        "reason": verdict.reason,
        "evidence": json.loads(json.dumps(dict(verdict.evidence), default=str)),
    }


def _add_baselines(report: AuditReport, domain: Domain, case: Case | None, truth: str) -> None:
    threshold = _OVERLAP_THRESHOLDS.get(domain.family)
    rules: dict[str, Callable[[Case], bool]] = {
        "exact": lambda c: exact_match(c.demonstrated, c.action),
        "tool_name": lambda c: tool_name_match(c.demonstrated, c.action),
    }
    if threshold is not None:
        rules["word_overlap"] = lambda c: word_overlap_match(c.demonstrated, c.action, threshold)
    for name, rule in rules.items():
        report.baselines[name].add(truth, "equal" if case is not None and rule(case) else "different")
