"""K verified one-turn rollouts of a frozen policy at every candidate: candidates -> `profiles.jsonl` -> `pivots.py`.

The unit of work is one trajectory, all its turns in order x K: what was interrupted is resumed by running it again.
What we failed to sample or to judge is None, never 0, and too much of it stops the run. The file is `profiles.py`.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pivot_envs.actions import decode
from pivot_envs.candidates import parse_candidate_id
from pivot_envs.contracts import Completion, Policy, Prompt
from pivot_envs.errors import (
    ConfigError,
    FingerprintMismatch,
    MalformedAction,
    MissingDependency,
    PolicyError,
    RecordError,
    UnknownPivot,
    VerifierError,
)
from pivot_envs.policy import CONTEXT_FULL, derive_seed
from pivot_envs.profiles import CandidateRow, ProfileRow, ProfilesFile, TrajectoryRow, profile_set
from pivot_envs.records import Action, Sampling, Verdict, content_hash
from pivot_envs.scoring import Scorer
from pivot_envs.trajectories import file_hash

logger = logging.getLogger(__name__)

OURS_TO_FIX = (ConfigError, FingerprintMismatch, MissingDependency, PolicyError, RecordError, UnknownPivot)
"""Errors that another rollout would meet again: they end the run instead of becoming None."""
WINDOW = 3
"""Trajectories over which the share of failed rollouts is taken: one bad box is data, a dead endpoint is not."""
MAX_TOOL_NAME = 100


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

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ConfigError(f"k is {self.k}; expected at least 2, since one rollout has no variance (use 8 or 16)")
        if not 0 <= self.max_failed_share <= 1:
            raise ConfigError(f"max_failed_share is {self.max_failed_share}; expected a share between 0 and 1")
        if self.retries < 0 or self.trajectories_per_batch < 1:
            raise ConfigError("retries must be at least 0 and trajectories_per_batch at least 1")


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


Cost = defaultdict[str, float]
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


@dataclass
class _Rollouts:
    """The K rollouts of one candidate while they are made."""

    candidate_id: str
    demonstrated_tool: str | None
    prompt: Prompt | None
    completions: list[Completion] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)

    @property
    def excluded(self) -> bool:
        """Whether the prompt does not fit, which it will not at any retry."""
        return any(one.error.startswith(CONTEXT_FULL) for one in self.completions)

    def unsampled(self) -> list[int]:
        """Indices of samples that do not exist."""
        return [i for i, one in enumerate(self.completions) if one.finish_reason == "error"]

    def unjudged(self) -> list[int]:
        """Indices of samples that exist and have no verdict, or a failed one."""
        done = {i for i, verdict in self.verdicts.items() if verdict.outcome != "failed"}
        return [i for i, one in enumerate(self.completions) if one.finish_reason != "error" and i not in done]


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
        self.scorer, self.policy, self.config, self.store, self.progress = scorer, policy, config, store, progress
        self.total, self.started = total, time.monotonic()
        self.done = self.rollouts = self.failed = self.unsampled = 0
        self.held: list[TrajectoryRow] = []
        # Seeded by what is on disk, so that one bad trajectory left over does not stop every resumed run.
        self.window = deque((_tally(row) for row in store.rows.values()), maxlen=WINDOW)

    def run(self, units: Sequence[Unit]) -> None:
        for start in range(0, len(units), self.config.trajectories_per_batch):
            batch = units[start : start + self.config.trajectories_per_batch]
            rollouts = [[self._prompted(each) for each in ids] for _, ids in batch]
            prompts = [one.prompt for unit in rollouts for one in unit if one.prompt is not None]
            sampled = self._sample(prompts, self.config.k, self.config.seed)
            for (trajectory_id, _), unit in zip(batch, rollouts, strict=True):
                self._finish(trajectory_id, unit, sampled, len(units))
        self._check_window(over=True)
        for row in self.held:
            self.store.append(row)

    def _prompted(self, candidate_id: str) -> _Rollouts:
        try:
            demonstrated = self.scorer.bench.domain.demonstration(self.scorer.candidate(candidate_id))
            prompt = self.scorer.prompt(candidate_id, self.config.prompt_style)
            return _Rollouts(candidate_id, _first_tool(demonstrated), prompt)
        except OURS_TO_FIX:
            raise
        except Exception as error:
            logger.warning("%s has no prompt: %s", candidate_id, error)
            return _Rollouts(candidate_id, None, None, [_error(_reason("prompt", error))] * self.config.k)

    def _finish(
        self, trajectory_id: str, unit: list[_Rollouts], sampled: Iterator[list[Completion]], units: int
    ) -> None:
        """Bring one trajectory from its completions to its line."""
        cost: Cost = defaultdict(float)
        began = time.monotonic()
        waiting = [one for one in unit if one.prompt is not None]
        for one, completions in zip(waiting, islice(sampled, len(waiting)), strict=True):
            one.completions = completions
            self._count_tokens(completions, cost)
        for attempt in range(1, self.config.retries + 1):
            self._sample_again(waiting, attempt, cost)
        cost["policy_seconds"] += time.monotonic() - began
        waiting = [one for one in waiting if not one.excluded]
        self.unsampled += sum(len(one.unsampled()) for one in waiting)
        for _ in range(self.config.retries + 1):
            self._judge(waiting, cost)
        self._record(_row(trajectory_id, unit, cost, self.scorer.bench.codec), units)

    def _sample(self, prompts: list[Prompt], n: int, seed: int) -> Iterator[list[Completion]]:
        """Yield exactly n completions for each prompt; a policy that breaks gives error completions."""
        error, given = "policy: too few prompts answered", 0
        try:
            for completions in islice(self.policy.sample(prompts, n, self.config.sampling, seed), len(prompts)):
                given += 1
                short = [_error("policy: missing repetition")] * (n - len(completions))
                yield [*completions, *short][:n]
        except OURS_TO_FIX:
            raise
        except Exception as problem:
            logger.warning("the policy %s failed: %s", self.policy.name, problem, exc_info=True)
            error = _reason("policy", problem)
        for _ in range(len(prompts) - given):
            yield [_error(error)] * n

    def _sample_again(self, unit: list[_Rollouts], attempt: int, cost: Cost) -> None:
        """Draw what failed once more, from a seed of its own: the first seed would repeat the samples we have."""
        seed = derive_seed(self.config.seed, "retry", attempt)
        for one in unit:
            missing = one.unsampled()
            if missing and one.prompt is not None and not one.excluded:
                [drawn] = self._sample([one.prompt], len(missing), seed)
                self._count_tokens(drawn, cost)
                for place, completion in zip(missing, drawn, strict=True):
                    one.completions[place] = completion

    def _judge(self, unit: list[_Rollouts], cost: Cost) -> None:
        places = [(one, i) for one in unit for i in one.unjudged()]
        if not places:
            return
        ids = [one.candidate_id for one, _ in places]
        began = time.monotonic()
        verdicts = self._score(ids, [one.completions[i].text for one, i in places])
        cost["verifier_seconds"] += time.monotonic() - began
        for (one, i), verdict in zip(places, verdicts, strict=True):
            one.verdicts[i] = verdict
            cost["sandbox_seconds"] += verdict.cost.sandbox_seconds
            cost["verifier_calls"] += verdict.cost.calls
            cost["verifier_tokens"] += verdict.cost.tokens

    def _score(self, ids: list[str], texts: list[str]) -> list[Verdict]:
        try:
            verdicts = list(self.scorer.score(ids, texts))
            if len(verdicts) != len(ids):
                raise VerifierError(f"the scorer returned {len(verdicts)} verdicts for {len(ids)} actions")
        except OURS_TO_FIX:
            raise
        except Exception as error:
            logger.warning("scoring %s ... failed: %s", ids[0], error, exc_info=True)
            return [Verdict("failed", None, "execution", _reason("scorer", error))] * len(ids)
        return [_checked(verdict) for verdict in verdicts]

    @staticmethod
    def _count_tokens(completions: Sequence[Completion], cost: Cost) -> None:
        cost["rollouts"] += len(completions)
        cost["completion_tokens"] += sum(len(one.token_ids) for one in completions)
        cost["prompt_tokens"] += len(completions[0].prompt_ids) if completions else 0

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


def _row(trajectory_id: str, unit: list[_Rollouts], cost: Cost, codec: Any) -> TrajectoryRow:
    rounded = {name: round(value, 4) for name, value in sorted(cost.items()) if value}
    rows = [_candidate_row(one, codec) for one in unit]
    return TrajectoryRow(trajectory_id=trajectory_id, candidates=rows, cost=rounded)


def _candidate_row(one: _Rollouts, codec: Any) -> CandidateRow:
    turn = parse_candidate_id(one.candidate_id)[2]
    if one.excluded:
        return CandidateRow(turn=turn, excluded=CONTEXT_FULL)
    failures: Counter[str] = Counter()
    verdicts = []
    for i, completion in enumerate(one.completions):
        verdict = one.verdicts.get(i) or Verdict("failed", None, "parse", completion.error)
        if verdict.outcome == "failed":
            failures[_plain(verdict.reason.removeprefix(f"{one.candidate_id}: "))] += 1
        verdicts.append(verdict)
    row = ProfileRow(
        rewards=[None if v.reward is None else float(v.reward) for v in verdicts],
        outcomes=[v.outcome for v in verdicts],
        tools=[_tool_written(completion.text, codec) for completion in one.completions],
        demonstrated_tool=one.demonstrated_tool,
    )
    return CandidateRow(turn=turn, profile=row, failures=dict(failures))


def _checked(verdict: Verdict) -> Verdict:
    """Return the verdict, or a failed one where its reward is no number of ours."""
    if verdict.outcome in ("abstained", "failed"):
        return replace(verdict, reward=None)
    if verdict.reward is not None and math.isfinite(verdict.reward):
        return verdict
    return Verdict("failed", None, verdict.level, f"verifier: outcome {verdict.outcome} with reward {verdict.reward}")


def _tool_written(text: str, codec: Any) -> str:
    """Return the name of the first tool called, empty for a text and for what is no action."""
    try:
        return _first_tool(decode(text, codec))
    except MalformedAction:
        return ""


def _first_tool(action: Action) -> str:
    return _plain(action.calls[0].name, MAX_TOOL_NAME) if action.calls else ""


def _error(reason: str) -> Completion:
    return Completion("", finish_reason="error", error=reason)


def _reason(kind: str, error: BaseException) -> str:
    return _plain(f"{kind}: {type(error).__name__}: {error}")


def _plain(text: str, limit: int = 160) -> str:
    """Return a short one-line form that any file can hold."""
    return " ".join(str(text).encode("utf-8", "replace").decode().split())[:limit]


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
        excluded=Counter(found.excluded.values()),
        failures=found.failures,
        cost=found.cost,
    )
