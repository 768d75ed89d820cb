"""The rollouts of one candidate while they are made: drawn, drawn again where we failed, judged, stopped when decided.

`profiling.py` calls this trajectory by trajectory and writes what comes of it. What we failed to sample or to judge is
a verdict without a reward, never 0; nothing here touches a file.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from pivot_envs.contracts import Completion, Policy, Prompt
from pivot_envs.errors import (
    ConfigError,
    FingerprintMismatch,
    MissingDependency,
    PolicyError,
    RecordError,
    UnknownPivot,
    VerifierError,
)
from pivot_envs.policy import CONTEXT_FULL, derive_seed
from pivot_envs.records import Action, Sampling, Verdict
from pivot_envs.scoring import Scorer
from pivot_envs.selectors import Curtailment, counts_of

logger = logging.getLogger(__name__)

OURS_TO_FIX = (ConfigError, FingerprintMismatch, MissingDependency, PolicyError, RecordError, UnknownPivot)
"""Errors that another rollout would meet again: they end the run instead of becoming None."""
MAX_TOOL_NAME = 100

Cost = defaultdict[str, float]


@dataclass
class Rollouts:
    """The rollouts of one candidate, so far."""

    candidate_id: str
    demonstrated_tool: str | None
    prompt: Prompt | None
    completions: list[Completion] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)

    @property
    def excluded(self) -> bool:
        """Whether the prompt does not fit, which it will not at any retry."""
        return any(one.error.startswith(CONTEXT_FULL) for one in self.completions)

    @property
    def rewards(self) -> list[float | None]:
        """One per completion; None where we failed or the verifier abstained."""
        found = (self.verdicts.get(i) for i in range(len(self.completions)))
        return [None if verdict is None else verdict.reward for verdict in found]

    def unsampled(self) -> list[int]:
        """Indices of samples that do not exist."""
        return [i for i, one in enumerate(self.completions) if one.finish_reason == "error"]

    def unjudged(self) -> list[int]:
        """Indices of samples that exist and have no verdict, or a failed one."""
        done = {i for i, verdict in self.verdicts.items() if verdict.outcome != "failed"}
        return [i for i, one in enumerate(self.completions) if one.finish_reason != "error" and i not in done]


@dataclass(frozen=True)
class Drawing:
    """How rollouts are drawn and judged."""

    scorer: Scorer
    policy: Policy
    k: int
    sampling: Sampling
    seed: int
    retries: int
    until: Curtailment | None = None
    """Stop where it says that the decision cannot change; None draws all K."""

    def prepare(self, candidate_id: str, style: str) -> Rollouts:
        """Return a candidate with its prompt, or with K errors where it has none."""
        try:
            demonstrated = self.scorer.bench.domain.demonstration(self.scorer.candidate(candidate_id))
            return Rollouts(candidate_id, first_tool(demonstrated), self.scorer.prompt(candidate_id, style))
        except OURS_TO_FIX:
            raise
        except Exception as error:
            logger.warning("%s has no prompt: %s", candidate_id, error)
            return Rollouts(candidate_id, None, None, [_error(_reason("prompt", error))] * self.k)

    def first_round(self, batch: Sequence[Rollouts]) -> Iterator[list[Completion]]:
        """Yield the completions of the first round for each candidate that has a prompt, lazily."""
        prompts = [one.prompt for one in batch if one.prompt is not None]
        return self._sample(prompts, self.k if self.until is None else self.until.draws_needed(0, 0, 0))

    def finish(self, unit: Sequence[Rollouts], drawn: Iterator[list[Completion]]) -> Cost:
        """Bring the candidates of one trajectory from their first round to their last verdict."""
        cost: Cost = defaultdict(float)
        waiting = [one for one in unit if one.prompt is not None]
        began = time.monotonic()
        for one, completions in zip(waiting, islice(drawn, len(waiting)), strict=True):
            self._take(one, completions, cost)
        cost["policy_seconds"] += time.monotonic() - began
        self._complete(waiting, cost)
        while unsettled := self._unsettled(waiting):
            began = time.monotonic()
            for (first, n), group in unsettled.items():
                prompts = [one.prompt for one in group if one.prompt is not None]
                for one, completions in zip(group, self._sample(prompts, n, first), strict=True):
                    self._take(one, completions, cost)
            cost["policy_seconds"] += time.monotonic() - began
            self._complete([one for group in unsettled.values() for one in group], cost)
        return cost

    def _unsettled(self, unit: Sequence[Rollouts]) -> dict[tuple[int, int], list[Rollouts]]:
        """Return (first index, how many) -> candidates that need so many more before they can be decided."""
        groups: dict[tuple[int, int], list[Rollouts]] = {}
        for one in unit:
            drawn = len(one.completions)
            if one.excluded or drawn >= self.k or self.until is None:
                continue
            counts = counts_of(one.rewards)
            more = self.k - drawn if counts is None else self.until.draws_needed(*counts)
            if more:
                groups.setdefault((drawn, more), []).append(one)
        return groups

    def _complete(self, unit: Sequence[Rollouts], cost: Cost) -> None:
        """Draw again what was lost, and judge what exists."""
        began = time.monotonic()
        for attempt in range(1, self.retries + 1):
            self._sample_again(unit, attempt, cost)
        cost["policy_seconds"] += time.monotonic() - began
        for _ in range(self.retries + 1):
            self._judge([one for one in unit if not one.excluded], cost)

    def _sample(
        self, prompts: list[Prompt], n: int, first: int = 0, seed: int | None = None
    ) -> Iterator[list[Completion]]:
        """Yield exactly n completions for each prompt; a policy that breaks gives error completions."""
        error, given = "policy: too few prompts answered", 0
        try:
            drawn = self.policy.sample(prompts, n, self.sampling, self.seed if seed is None else seed, first)
            for completions in islice(drawn, len(prompts)):
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

    def _sample_again(self, unit: Sequence[Rollouts], attempt: int, cost: Cost) -> None:
        """Draw what failed once more, from a seed of its own: the first seed would repeat the samples we have."""
        seed = derive_seed(self.seed, "retry", attempt)
        for one in unit:
            if one.prompt is None or one.excluded:
                continue
            for place, n in _runs(one.unsampled()):
                [drawn] = self._sample([one.prompt], n, place, seed)
                self._count(drawn, cost)
                one.completions[place : place + n] = drawn

    def _judge(self, unit: Sequence[Rollouts], cost: Cost) -> None:
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

    def _take(self, one: Rollouts, completions: list[Completion], cost: Cost) -> None:
        one.completions += completions
        self._count(completions, cost)

    @staticmethod
    def _count(completions: Sequence[Completion], cost: Cost) -> None:
        cost["rollouts"] += len(completions)
        cost["completion_tokens"] += sum(len(one.token_ids) or one.completion_tokens for one in completions)
        prompt_ids = len(completions[0].prompt_ids) if completions else 0
        cost["prompt_tokens"] += prompt_ids or sum(one.prompt_tokens for one in completions)


def first_tool(action: Action) -> str:
    """Return the name of the first tool called, empty for a text."""
    return plain(action.calls[0].name, MAX_TOOL_NAME) if action.calls else ""


def plain(text: str, limit: int = 160) -> str:
    """Return a short one-line form that any file can hold."""
    return " ".join(str(text).encode("utf-8", "replace").decode().split())[:limit]


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Return (first, length) of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and sum(runs[-1]) == place:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((place, 1))
    return runs


def _checked(verdict: Verdict) -> Verdict:
    """Return the verdict, or a failed one where its reward is no number of ours."""
    if verdict.outcome in ("abstained", "failed"):
        return replace(verdict, reward=None)
    if verdict.reward is not None and math.isfinite(verdict.reward):
        return verdict
    return Verdict("failed", None, verdict.level, f"verifier: outcome {verdict.outcome} with reward {verdict.reward}")


def _error(reason: str) -> Completion:
    return Completion("", finish_reason="error", error=reason)


def _reason(kind: str, error: BaseException) -> str:
    return plain(f"{kind}: {type(error).__name__}: {error}")
