"""Profiles -> pivots: a selector applied to a set of profiles, with a reason for every rejection.

Also the random control of equal size, and `pivots.jsonl`: a header line that binds the rows to their trajectories and
to how they were chosen, then one row per pivot. The rules are `selectors.py`, making profiles is `profiling.py`, the
report is `selection.py`.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pivot_envs.candidates import parse_candidate_id
from pivot_envs.errors import ConfigError, RecordError
from pivot_envs.profiles import ProfileRow, Row, check_provenance, check_schema, parse_line
from pivot_envs.records import SCHEMA_VERSION, Pivot, Profile
from pivot_envs.selectors import SelectorConfig, crowded_out, k_of, rejection, unusable
from pivot_envs.trajectories import file_hash, replace_lines

KIND = "pivots"


@dataclass(frozen=True)
class Selection:
    """What a selector kept, and why not the rest."""

    config: SelectorConfig
    kept: tuple[Pivot, ...]
    """In the order of trajectory and turn."""
    rejected: Mapping[str, str]
    """Candidate id -> reason, a key of `selectors.REJECTIONS` or what it was excluded for."""
    profiles: Mapping[str, Profile] = field(repr=False)
    """Everything the selector saw."""

    @property
    def rejected_by_reason(self) -> dict[str, list[str]]:
        """Reason -> candidate ids, most frequent reason first."""
        reasons = Counter(self.rejected.values())
        return {reason: [i for i, r in self.rejected.items() if r == reason] for reason, _ in reasons.most_common()}


@dataclass(frozen=True)
class PivotHeader:
    """The first line of `pivots.jsonl`."""

    trajectories: str
    """Name of the trajectory file that stands beside this one."""
    trajectories_sha256: str
    domain: str
    domain_fingerprint: Mapping[str, Any]
    selector: Mapping[str, Any]
    """The fields of `SelectorConfig`."""
    profile: Mapping[str, Any] | None = None
    """Provenance of the profiles; None for pivots that were chosen without."""
    schema_version: int = SCHEMA_VERSION


def select(
    profiles: Mapping[str, Profile] | Iterable[tuple[str, Profile]],
    config: SelectorConfig | None = None,
    *,
    excluded: Mapping[str, str] | None = None,
    expected: Mapping[str, Any] | None = None,
) -> Selection:
    """Choose pivots.

    Args:
        profiles: Candidate id -> profile.
        config: The selector.
        excluded: Candidate id -> why it has no profile; counted as rejected for that reason.
        expected: Fields of provenance the profiles must have, such as the `policy_fingerprint` about to be trained.

    Raises:
        FingerprintMismatch: profiles that were made under different conditions, or other than `expected`.
        ConfigError: a candidate stands there twice or lacks rollouts, or the selector cannot be applied to these.
    """
    config = config or SelectorConfig()
    seen = _unique(profiles)
    _check_alike(seen, expected)
    _check_complete(seen)
    reasons = {candidate_id: rejection(profile, config) for candidate_id, profile in seen.items()}
    reasons |= crowded_out([i for i, reason in reasons.items() if not reason], seen, config)
    if config.random_control:
        reasons = _draw(seen, config, sum(not reason for reason in reasons.values()))
    chosen = sorted((i for i, reason in reasons.items() if not reason), key=parse_candidate_id)
    pivots = tuple(Pivot(i, *parse_candidate_id(i)[1:], profile=seen[i]) for i in chosen)
    rejected = {i: reason for i, reason in reasons.items() if reason} | dict(excluded or {})
    return Selection(config, pivots, rejected, seen)


def make_header(provenance: Mapping[str, Any], config: SelectorConfig, trajectories: str | Path) -> PivotHeader:
    """Return the header of pivots chosen from profiles of this provenance.

    Raises:
        FingerprintMismatch: `trajectories` is not the file that was profiled.
    """
    found = file_hash(trajectories)
    recorded = provenance.get("trajectories_sha256", "")
    check_provenance({"trajectories_sha256": recorded}, {"trajectories_sha256": found}, str(trajectories))
    domain, fingerprint = provenance["domain"], provenance["domain_fingerprint"]
    return PivotHeader(Path(trajectories).name, found, domain, fingerprint, asdict(config), provenance)


def write_pivots(path: str | Path, header: PivotHeader, pivots: Sequence[Pivot]) -> None:
    """Write a pivot file whole or not at all.

    Raises:
        FingerprintMismatch: a pivot's profile is of another provenance than the header says.
        RecordError: what could not be read back.
    """
    path = Path(path)
    head = asdict(header)
    lines = [{"schema_version": head.pop("schema_version"), "kind": KIND, **head}]
    for pivot in pivots:
        if pivot.profile is not None:
            check_provenance(pivot.profile.provenance, header.profile or {}, f"{path}, pivot {pivot.pivot_id}")
        row = None if pivot.profile is None else ProfileRow.of(pivot.profile).model_dump(exclude_defaults=True)
        lines.append(
            {"pivot_id": pivot.pivot_id, "trajectory_id": pivot.trajectory_id, "turn": pivot.turn, "profile": row}
        )
    try:
        written = [json.dumps(line) for line in lines]
    except (TypeError, ValueError) as error:
        raise RecordError(f"cannot be written as JSON: {error}", file=str(path)) from None
    _read_lines(path, (line.encode() for line in written))
    replace_lines(path, written)


def read_pivots(path: str | Path) -> tuple[PivotHeader, list[Pivot]]:
    """Read a pivot file.

    Raises:
        RecordError: a line is broken, with file, line and field; another kind of file, or another schema.
        ConfigError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"there is no pivot file {str(path)!r}; `pivot-envs select` writes one")
    with path.open("rb") as file:
        return _read_lines(path, file)


class _HeaderRow(Row):
    schema_version: int
    kind: str
    trajectories: Annotated[str, Field(min_length=1, pattern=r"^[^/\\\x00]+$")]
    trajectories_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    domain: Annotated[str, Field(min_length=1)]
    domain_fingerprint: dict[str, Any]
    selector: dict[str, Any]
    profile: dict[str, Any] | None = None


class _AnyHeader(Row):
    """What tells kind and schema, before the rest is held against this schema."""

    model_config = Row.model_config | {"extra": "ignore"}
    schema_version: int
    kind: str


class _PivotRow(Row):
    pivot_id: str
    trajectory_id: str
    turn: Annotated[int, Field(ge=0)]
    profile: ProfileRow | None = None


def _read_lines(path: Path, lines: Iterable[bytes]) -> tuple[PivotHeader, list[Pivot]]:
    numbered = enumerate(lines, start=1)
    number, first = next(numbered, (1, b""))
    kind = parse_line(_AnyHeader, first, path, number)
    check_schema(kind.schema_version, kind.kind, KIND, path)
    row = parse_line(_HeaderRow, first, path, number)
    header = PivotHeader(**row.model_dump(exclude={"kind"}))
    pivots: dict[str, Pivot] = {}
    for number, line in numbered:
        if not line.strip():
            continue
        pivot = _pivot(parse_line(_PivotRow, line, path, number), header, path, number)
        if pivot.pivot_id in pivots:
            problem = f"pivot {pivot.pivot_id!r} stands there twice"
            raise RecordError(problem, file=str(path), line=number, field="pivot_id")
        pivots[pivot.pivot_id] = pivot
    return header, list(pivots.values())


def _pivot(row: _PivotRow, header: PivotHeader, path: Path, number: int) -> Pivot:
    expected = f"{header.domain}/{row.trajectory_id}/{row.turn}"
    if row.pivot_id != expected:
        problem = f"{row.pivot_id[:200]!r} does not fit domain, trajectory_id and turn; expected {expected[:200]!r}"
        raise RecordError(problem, file=str(path), line=number, field="pivot_id")
    if row.profile is None:
        return Pivot(row.pivot_id, row.trajectory_id, row.turn)
    if header.profile is None:
        problem = "a profile, but the header has no provenance for it"
        raise RecordError(problem, file=str(path), line=number, field="profile")
    try:
        return Pivot(row.pivot_id, row.trajectory_id, row.turn, row.profile.record(header.profile))
    except ValueError as error:
        raise RecordError(str(error), file=str(path), line=number, field="profile") from None


def _unique(profiles: Mapping[str, Profile] | Iterable[tuple[str, Profile]]) -> dict[str, Profile]:
    if isinstance(profiles, Mapping):
        return dict(profiles)
    seen: dict[str, Profile] = {}
    for candidate_id, profile in profiles:
        if candidate_id in seen:
            raise ConfigError(f"candidate {candidate_id!r} has two profiles; pass one of each")
        seen[candidate_id] = profile
    return seen


def _check_alike(profiles: Mapping[str, Profile], expected: Mapping[str, Any] | None) -> None:
    """Refuse profiles that differ in provenance: their means do not compare."""
    first: Mapping[str, Any] | None = None
    for candidate_id, profile in profiles.items():
        if first is None:
            first = profile.provenance
            named = {name: first[name] for name in expected or {} if name in first}
            check_provenance(named, expected or {}, f"profile of {candidate_id}")
        elif profile.provenance is not first:
            check_provenance(profile.provenance, first, f"profile of {candidate_id}")


def _check_complete(profiles: Mapping[str, Profile]) -> None:
    """Refuse a profile with a repetition missing: its mean is of another K than the rest."""
    for candidate_id, profile in profiles.items():
        drawn, k = len(profile.rewards), k_of(profile)
        if drawn == 0 or (drawn >= k if profile.stopped_early else drawn != k):
            told = "stopped early" if profile.stopped_early else "whole"
            raise ConfigError(
                f"the profile of {candidate_id} has {drawn} rollouts of K {k} and calls itself {told}; "
                "profile the candidate again, or leave it out"
            )


def _draw(profiles: Mapping[str, Profile], config: SelectorConfig, size: int) -> dict[str, str]:
    """Return the reason of each candidate under the random control, empty where it is drawn."""
    reasons = {candidate_id: unusable(profile, config) for candidate_id, profile in profiles.items()}
    usable = sorted(candidate_id for candidate_id, reason in reasons.items() if not reason)
    drawn = set(random.Random(config.seed).sample(usable, size))
    return {i: reason or ("" if i in drawn else "not_drawn") for i, reason in reasons.items()}
