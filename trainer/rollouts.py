"""From pivots to groups of judged rollouts: sample G turns of each pivot, have them scored, keep the token ids.

`grpo.py` trains on the groups. A rollout that we could not judge, or that ran out of tokens, has no reward: it is None
and leaves loss and baseline. Text goes to the verifier only; training uses the sampled ids.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any, get_args

from pivot_envs.contracts import Completion, Prompt, SampleRequest
from pivot_envs.errors import ConfigError, PolicyError, VerifierError
from pivot_envs.policy import CONTEXT_FULL
from pivot_envs.records import Outcome5, Sampling, Verdict
from pivot_envs.trainer.model import TransformersPolicy

logger = logging.getLogger(__name__)

LUCKY = 2
"""A group with at most so many successes, and some, may owe them to luck or to a verifier's false accepts."""

Score = Callable[[Sequence[str], Sequence[str]], Sequence[Verdict]]
"""(pivot_ids, action texts) -> one verdict each, in order; `Scorer.score` is one."""


@dataclass(frozen=True)
class RolloutGroup:
    """G rollouts of one pivot. Groups are told apart by pivot id, never by prompt text."""

    pivot_id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[tuple[int, ...], ...]
    """Per rollout, the sampled end token included."""
    sampling_logprobs: tuple[tuple[float, ...], ...]
    verdicts: tuple[Verdict, ...]
    truncated: tuple[bool, ...]
    """Ran into max_tokens."""
    rewards: tuple[float | None, ...]
    """The verdicts' rewards; None also where the rollout is masked for being truncated or empty."""


def collect(
    policy: TransformersPolicy,
    pivots: Mapping[str, Prompt],
    score: Score,
    group_size: int,
    sampling: Sampling,
    seed: int,
    mask_truncated: bool,
) -> list[RolloutGroup]:
    """Sample and score one group for each pivot, in order."""
    return judge(pivots, sample_groups(policy, pivots, group_size, sampling, seed), score, mask_truncated)


def sample_groups(
    policy: TransformersPolicy, pivots: Mapping[str, Prompt], group_size: int, sampling: Sampling, seed: int
) -> list[list[Completion]]:
    """Sample one group for each pivot, in order; they are decoded together."""
    requests = [SampleRequest(prompt, group_size, seed) for prompt in pivots.values()]
    return policy.sample_together(requests, sampling)


def judge(
    pivots: Mapping[str, Prompt], samples: Sequence[Sequence[Completion]], score: Score, mask_truncated: bool
) -> list[RolloutGroup]:
    """Make groups of what was sampled; all texts are scored in one call."""
    places = [(p, g) for p, group in enumerate(samples) for g, c in enumerate(group) if c.finish_reason != "error"]
    pivot_ids = list(pivots)
    verdicts = list(score([pivot_ids[p] for p, _ in places], [samples[p][g].text for p, g in places])) if places else []
    if len(verdicts) != len(places):
        raise VerifierError(f"score returned {len(verdicts)} verdicts for {len(places)} actions; one each is needed")
    judged = dict(zip(places, verdicts, strict=True))
    groups = []
    for p, (pivot_id, group) in enumerate(zip(pivot_ids, samples, strict=True)):
        group_verdicts = [judged.get((p, g)) or _failed(completion) for g, completion in enumerate(group)]
        groups.append(_group(pivot_id, group, group_verdicts, mask_truncated))
    return groups


def readable(policy: TransformersPolicy, pivots: Mapping[str, Prompt]) -> tuple[dict[str, Prompt], dict[str, int]]:
    """Return the pivots whose prompt the policy can read, and how many were left out for which reason.

    Raises:
        ConfigError: none is left.
    """
    usable: dict[str, Prompt] = {}
    excluded: Counter[str] = Counter()
    for pivot_id, prompt in pivots.items():
        try:
            fits = policy.fits(policy.render(prompt))
        except PolicyError as error:
            logger.warning("pivot left out: %s", error)
            excluded["render"] += 1
            continue
        if fits:
            usable[pivot_id] = prompt
        else:
            excluded[CONTEXT_FULL] += 1
    if not usable:
        raise ConfigError(f"no pivot to train on: {len(pivots)} given, left out: {dict(excluded)}")
    return usable, dict(excluded)


def rollout_metrics(groups: Sequence[RolloutGroup]) -> dict[str, Any]:
    """Return what a batch of rollouts came to, before any update."""
    rewards = [reward for group in groups for reward in group.rewards if reward is not None]
    outcomes = Counter(verdict.outcome for group in groups for verdict in group.verdicts)
    valid = [[r for r in group.rewards if r is not None] for group in groups]
    successes = [sum(r > 0 for r in group) for group in valid]
    lengths = [len(ids) for group in groups for ids in group.completion_ids if ids]
    dead = sum(len(group) < 2 or max(group) == min(group) for group in valid)
    lucky = sum(1 <= k <= LUCKY and k < len(group) for k, group in zip(successes, valid, strict=True))
    return {
        "reward/mean": fmean(rewards) if rewards else None,
        "reward/std": pstdev(rewards) if rewards else None,
        **{f"verdict/{outcome}": outcomes[outcome] for outcome in get_args(Outcome5)},
        "truncated": sum(sum(group.truncated) for group in groups),
        "rollouts": sum(len(group.verdicts) for group in groups),
        "groups": len(groups),
        "dead_groups": dead,
        "dead_share": dead / len(groups),
        "lucky_groups": lucky,
        "lucky_share": lucky / len(groups),
        "completion_tokens": fmean(lengths) if lengths else None,
        "tokens/sampled": sum(lengths),
    }


def _group(
    pivot_id: str, completions: Sequence[Completion], verdicts: Sequence[Verdict], mask_truncated: bool
) -> RolloutGroup:
    truncated = tuple(c.finish_reason == "length" for c in completions)
    rewards: list[float | None] = []
    for completion, verdict, cut in zip(completions, verdicts, truncated, strict=True):
        if verdict.reward is not None and not math.isfinite(verdict.reward):
            raise VerifierError(f"{pivot_id}: reward {verdict.reward} ({verdict.reason}); it must be finite, or None")
        masked = (cut and mask_truncated) or not completion.token_ids
        rewards.append(None if masked else verdict.reward)
    return RolloutGroup(
        pivot_id=pivot_id,
        prompt_ids=next((c.prompt_ids for c in completions if c.prompt_ids), ()),
        completion_ids=tuple(c.token_ids for c in completions),
        sampling_logprobs=tuple(c.logprobs for c in completions),
        verdicts=tuple(verdicts),
        truncated=truncated,
        rewards=tuple(rewards),
    )


def _failed(completion: Completion) -> Verdict:
    return Verdict("failed", None, "parse", f"policy: {completion.error or 'no completion'}")
