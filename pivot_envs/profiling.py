"""K verified one-turn rollouts of a frozen policy at every candidate: candidates -> `profiles.jsonl` -> `pivots.py`.

The unit of work is one trajectory, all its turns in order x K: what was interrupted is resumed by running it again.
What we failed to sample or to judge is None, never 0, and too much of it stops the run. The file is `profiles.py`.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pivot_envs.actions import decode
from pivot_envs.candidates import parse_candidate_id
from pivot_envs.contracts import Policy, Terminating
from pivot_envs.drawing import Cost, Drawing, Rollouts, first_tool, plain
from pivot_envs.errors import ConfigError, MalformedAction, PolicyError, VerifierError
from pivot_envs.policy import CONTEXT_FULL, check_sampling
from pivot_envs.profiles import CandidateRow, ProfileRow, ProfilesFile, TrajectoryRow, profile_set
from pivot_envs.records import Sampling, Verdict, content_hash
from pivot_envs.scoring import Scorer
from pivot_envs.selectors import Curtailment, SelectorConfig, curtailment
from pivot_envs.trajectories import file_hash

logger = logging.getLogger(__name__)

SHORTER = "Take a policy with a longer context, or a shorter prompt_style where the domain has one"
WINDOW = 3
"""Trajectories over which the share of failed rollouts is taken: one bad box is data, a dead endpoint is not."""


@runtime_checkable
class Templated(Protocol):
    """A policy that renders prompts with a chat template of its own."""

    @property
    def template_hash(self) -> str:
        """Hash of the template."""


@dataclass(frozen=True)
class ProfileConfig:
    """How candidates are profiled."""

    k: int = 16
    """Rollouts per candidate (K)."""
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    retries: int = 1
    """How often a rollout that failed for a reason of ours is tried again."""
    max_failed_share: float = 0.5
    """Stop where more than this share of the last three trajectories' rollouts failed."""
    prompt_style: str = "full"
    trajectories_per_batch: int = 8
    """Trajectories whose prompts are handed to the policy together; changes speed and nothing else."""
    adaptive: Literal["off", "exact"] = "off"
    """`exact` stops drawing at a candidate once Eq. 5, with the three fields below, cannot change its mind: `select`
    with the same fields keeps the same pivots, from fewer rollouts. Such profiles have no mean and no variance."""
    lambda_diff: float = 0.6
    min_successes: int = 1
    keep_all_zero: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 2:
            raise ConfigError(f"k is {self.k}; expected at least 2, since one rollout has no variance (use 8 or 16)")
        if not 0 <= self.max_failed_share <= 1:
            raise ConfigError(f"max_failed_share is {self.max_failed_share}; expected a share between 0 and 1")
        if self.retries < 0 or self.trajectories_per_batch < 1:
            raise ConfigError(
                f"retries is {self.retries} and trajectories_per_batch {self.trajectories_per_batch}; "
                "expected at least 0 and at least 1"
            )
        if self.adaptive not in ("off", "exact"):
            raise ConfigError(f"adaptive is {self.adaptive!r}; it is off or exact")
        check_sampling(self.sampling)
        self.until()

    def until(self) -> Curtailment | None:
        """Return what ends the drawing at a candidate before K, None if nothing does."""
        if self.adaptive == "off":
            return None
        decided = SelectorConfig(self.lambda_diff, keep_all_zero=self.keep_all_zero, min_successes=self.min_successes)
        return curtailment(decided, self.k)


@dataclass(frozen=True)
class Progress:
    """Where a profiling run stands; handed to its callback after every trajectory."""

    done: int
    """Trajectories on disk, those of earlier runs included."""
    total: int
    rollouts: int
    """Rollouts of this run."""
    failed: int
    eta: float
    """Seconds left, from the pace of this run."""


@dataclass(frozen=True)
class ProfileSummary:
    """What a profiling run did; the counts but `resumed` are of the whole file."""

    path: Path
    trajectories: int
    resumed: int
    """Trajectories found finished."""
    candidates: int
    rollouts: int
    """Valid and failed ones, without retries."""
    failed: int
    abstained: int
    stopped_early: int
    """Profiles with fewer than K rollouts, because those decided."""
    excluded: Mapping[str, int]
    """Reason -> candidates without a profile."""
    failures: Mapping[str, int]
    """Reason -> failed rollouts."""
    cost: Mapping[str, float]


def profile(
    scorer: Scorer,
    policy: Policy,
    config: ProfileConfig,
    out_path: str | Path,
    *,
    candidates: Sequence[str] | None = None,
    trajectories: str | Path | None = None,
    resume: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> ProfileSummary:
    """Profile candidates and append them to `out_path`, trajectory by trajectory.

    Args:
        scorer: Gives prompts, judges actions.
        policy: The frozen reference policy.
        config: K, sampling, seed, retries.
        out_path: The profiles file; what it holds already is not done again.
        candidates: Candidate ids; default all the scorer has.
        trajectories: The file they come from, whose hash binds the profiles to it.
        resume: Go on with a file that exists. It is never overwritten.
        progress: Called after every trajectory.

    Raises:
        FingerprintMismatch: the file was begun with another policy, verifier, world, sampling, seed or K.
        PolicyError, VerifierError: more than `max_failed_share` of the rollouts failed; what is done is on disk.
    """
    codec = scorer.bench.codec
    if isinstance(codec, str) and codec != policy.action_codec:
        raise ConfigError(
            f"policy {policy.name!r} writes codec {policy.action_codec!r} but the scorer reads {codec!r}; "
            f"make the scorer with action_codec={policy.action_codec!r}"
        )
    ids = list(scorer.ids() if candidates is None else candidates)
    units = group_by_trajectory(ids, scorer.bench.domain.name)
    made_with = provenance(scorer, policy, config, trajectories)
    with ProfilesFile(out_path, made_with, resume) as store:
        todo = [unit for unit in units.items() if not _is_done(unit, store)]
        _Run(scorer, policy, config, store, len(units), progress).run(todo)
        return _summary(store, len(units) - len(todo))


def provenance(
    scorer: Scorer, policy: Policy, config: ProfileConfig, trajectories: str | Path | None = None
) -> dict[str, Any]:
    """Return everything two profiles must share to be comparable, as JSON."""
    made_with = {
        "domain": scorer.bench.domain.name,
        "domain_fingerprint": dict(scorer.bench.domain.fingerprint),
        "trajectories_sha256": "" if trajectories is None else file_hash(trajectories),
        "policy": policy.name,
        "policy_fingerprint": policy.fingerprint,
        "action_codec": str(policy.action_codec),
        "template": policy.template_hash if isinstance(policy, Templated) else "",
        "prompt_style": config.prompt_style,
        "sampling": asdict(config.sampling),
        "k": config.k,
        "seed": config.seed,
        "verifier": scorer.bench.verifier.name,
        "verifier_version": scorer.bench.verifier.version,
        "verifier_hash": content_hash(dict(scorer.bench.verifier.config)),
    }
    if isinstance(scorer.bench.domain, Terminating):
        made_with["terminal_tools"] = list(scorer.bench.domain.terminal_tools)
    if config.adaptive != "off":
        names = ("adaptive", "lambda_diff", "min_successes", "keep_all_zero")
        made_with["adaptive"] = {name: getattr(config, name) for name in names}
    return json.loads(json.dumps(made_with, default=str))  # type: ignore[no-any-return]


def group_by_trajectory(ids: Sequence[str], domain: str) -> dict[str, list[str]]:
    """Return trajectory id -> its candidate ids in the order of their turns."""
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise ConfigError(f"candidate {twice!r} is named twice; name each once")
    units: dict[str, list[tuple[int, str]]] = {}
    for candidate_id in ids:
        of, trajectory_id, turn = parse_candidate_id(candidate_id)
        if of != domain:
            raise ConfigError(f"candidate {candidate_id!r} is not of the scorer's domain {domain!r}; leave it out")
        units.setdefault(trajectory_id, []).append((turn, candidate_id))
    return {trajectory_id: [each for _, each in sorted(turns)] for trajectory_id, turns in units.items()}


Unit = tuple[str, list[str]]
"""A trajectory id and its candidate ids."""


def _is_done(unit: Unit, store: ProfilesFile) -> bool:
    row = store.rows.get(unit[0])
    if row is None:
        return False
    missing = {parse_candidate_id(each)[2] for each in unit[1]} - {candidate.turn for candidate in row.candidates}
    if missing:
        raise ConfigError(
            f"{store.path} holds trajectory {unit[0]!r} without turn {min(missing)}: it was begun with other "
            "candidates; name another file"
        )
    return True


@dataclass(frozen=True)
class _Tally:
    """Rollouts of one trajectory, and why some failed."""

    rollouts: int
    failures: Counter[str]


class _Run:
    """One call of `profile`: sampling, judging, retrying, counting."""

    def __init__(
        self,
        scorer: Scorer,
        policy: Policy,
        config: ProfileConfig,
        store: ProfilesFile,
        total: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.codec, self.config, self.store, self.progress = scorer.bench.codec, config, store, progress
        self.drawing = Drawing(
            scorer, policy, config.k, config.sampling, config.seed, config.retries, config.until()
        )
        self.total, self.started = total, time.monotonic()
        self.done = self.rollouts = self.failed = self.unsampled = 0
        self.told = False
        self.held: list[TrajectoryRow] = []
        # Seeded by what is on disk, so that one bad trajectory left over does not stop every resumed run.
        self.window = deque((_tally(row) for row in store.rows.values()), maxlen=WINDOW)

    def run(self, units: Sequence[Unit]) -> None:
        for start in range(0, len(units), self.config.trajectories_per_batch):
            batch = units[start : start + self.config.trajectories_per_batch]
            rollouts = [[self.drawing.prepare(each, self.config.prompt_style) for each in ids] for _, ids in batch]
            drawn = self.drawing.first_round([one for unit in rollouts for one in unit])
            for (trajectory_id, _), unit in zip(batch, rollouts, strict=True):
                cost = self.drawing.finish(unit, drawn)
                self.unsampled += sum(len(one.unsampled()) for one in unit if not one.excluded and one.prompt)
                self._tell_what_does_not_fit(unit)
                self._record(_row(trajectory_id, unit, cost, self.config.k, self.codec), len(units))
        self._check_window(over=True)
        for row in self.held:
            self.store.append(row)

    def _tell_what_does_not_fit(self, unit: Sequence[Rollouts]) -> None:
        for one in unit:
            if one.excluded and not self.told:
                self.told = True
                why = next(each.error for each in one.completions if each.error.startswith(CONTEXT_FULL))
                logger.warning("%s is left out, as is every turn like it: %s. %s", one.candidate_id, why, SHORTER)

    def _record(self, row: TrajectoryRow, units: int) -> None:
        """Write the line, or hold it while too much of it failed: a dead endpoint must leave nothing behind."""
        tally = _tally(row)
        failed = tally.failures.total()
        self.window.append(tally)
        self.done, self.rollouts, self.failed = self.done + 1, self.rollouts + tally.rollouts, self.failed + failed
        self._check_window(over=False)
        self.held.append(row)
        if failed <= self.config.max_failed_share * tally.rollouts:
            for held in self.held:
                self.store.append(held)
            self.held = []
        if self.progress is not None:
            pace = (time.monotonic() - self.started) / self.done
            finished = self.total - units + self.done
            self.progress(Progress(finished, self.total, self.rollouts, self.failed, pace * (units - self.done)))

    def _check_window(self, over: bool) -> None:
        rollouts = sum(tally.rollouts for tally in self.window)
        why = sum((tally.failures for tally in self.window), Counter[str]())
        failed = why.total()
        if failed <= self.config.max_failed_share * rollouts or (len(self.window) < WINDOW and not over):
            return
        [(reason, times)] = why.most_common(1)
        kind = PolicyError if self.unsampled > self.failed / 2 else VerifierError
        raise kind(
            f"{failed} of the last {rollouts} rollouts failed, more than max_failed_share "
            f"{self.config.max_failed_share}; most often: {reason} ({times} times). Mend that and run it again: "
            f"{self.store.path} keeps {len(self.store.rows)} finished trajectories and goes on from there"
        )


def _tally(row: TrajectoryRow) -> _Tally:
    failures: Counter[str] = Counter()
    for one in row.candidates:
        failures.update(one.failures)
    return _Tally(sum(len(one.profile.rewards) for one in row.candidates if one.profile is not None), failures)


def _row(trajectory_id: str, unit: Sequence[Rollouts], cost: Cost, k: int, codec: Any) -> TrajectoryRow:
    rounded = {name: round(value, 4) for name, value in sorted(cost.items()) if value}
    rows = [_candidate_row(one, k, codec) for one in unit]
    return TrajectoryRow(trajectory_id=trajectory_id, candidates=rows, cost=rounded)


def _candidate_row(one: Rollouts, k: int, codec: Any) -> CandidateRow:
    turn = parse_candidate_id(one.candidate_id)[2]
    if one.excluded:
        return CandidateRow(turn=turn, excluded=CONTEXT_FULL)
    failures: Counter[str] = Counter()
    verdicts = []
    for i, completion in enumerate(one.completions):
        verdict = one.verdicts.get(i) or Verdict("failed", None, "parse", completion.error)
        if verdict.outcome == "failed":
            failures[plain(verdict.reason.removeprefix(f"{one.candidate_id}: "))] += 1
        verdicts.append(verdict)
    row = ProfileRow(
        rewards=[None if v.reward is None else float(v.reward) for v in verdicts],
        outcomes=[v.outcome for v in verdicts],
        tools=[_tool_written(completion.text, codec) for completion in one.completions],
        stopped_early=len(one.completions) < k,
        demonstrated_tool=one.demonstrated_tool,
    )
    return CandidateRow(turn=turn, profile=row, failures=dict(failures))


def _tool_written(text: str, codec: Any) -> str:
    """Return the name of the first tool called, empty for a text and for what is no action."""
    try:
        return first_tool(decode(text, codec))
    except MalformedAction:
        return ""


def _summary(store: ProfilesFile, resumed: int) -> ProfileSummary:
    found = profile_set(store.path, store.provenance, store.rows)
    return ProfileSummary(
        path=store.path,
        trajectories=len(store.rows),
        resumed=resumed,
        candidates=len(found.profiles) + len(found.excluded),
        rollouts=found.outcomes.total(),
        failed=found.outcomes["failed"],
        abstained=found.outcomes["abstained"],
        stopped_early=sum(one.stopped_early for one in found.profiles.values()),
        excluded=Counter(found.excluded.values()),
        failures=found.failures,
        cost=found.cost,
    )
