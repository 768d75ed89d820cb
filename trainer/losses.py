"""The numbers of one GRPO update: advantages inside a group, the clipped objective and the KL term of Eq. 7.

Shapes: `_G` rollouts of one pivot, `_T` completion tokens (right-padded, masked). Nothing here samples, scores or
steps; a masked rollout is the caller's None and never reaches a mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from pivot_envs.errors import ConfigError, suggest
from pivot_envs.trainer.config import KL, Estimator, Ratio


def advantages(
    rewards_G: Sequence[float | None], estimator: Estimator = "population", eps: float = 1e-6
) -> list[float | None]:
    """Return the advantage of each rollout of one pivot (A of Eq. 7); None stays None and enters no mean.

    A group of fewer than two valid rewards has no baseline: all of it is None. Equal rewards give exact zeros.
    `eps` is added to the standard deviation of `population` and `sample`.
    """
    if estimator not in get_args(Estimator):
        names = get_args(Estimator)
        raise ConfigError(f"advantage estimator {estimator!r} is not one of {names}.{suggest(str(estimator), names)}")
    valid = [r for r in rewards_G if r is not None]
    if not all(math.isfinite(r) for r in valid):
        raise ConfigError(f"rewards {valid} hold a value that is not finite; a rollout without a reward is None")
    if len(valid) < 2:
        return [None] * len(rewards_G)
    if max(valid) == min(valid):
        return [None if r is None else 0.0 for r in rewards_G]
    return [None if r is None else _advantage(r, valid, estimator, eps) for r in rewards_G]


def _advantage(reward: float, valid: list[float], estimator: Estimator, eps: float) -> float:
    n, mean = len(valid), sum(valid) / len(valid)
    squares = sum((r - mean) ** 2 for r in valid)
    if estimator == "population":
        return (reward - mean) / (math.sqrt(squares / n) + eps)
    if estimator == "sample":
        return (reward - mean) / (math.sqrt(squares / (n - 1)) + eps)
    if estimator == "none":
        return reward - mean
    centred = (reward - mean) * n / (n - 1)  # equals reward - mean of the others
    if estimator == "rloo" or n < 3:
        return centred
    others = list(valid)
    others.remove(reward)
    mean_others = sum(others) / len(others)
    std_others = math.sqrt(sum((r - mean_others) ** 2 for r in others) / (n - 2))
    return centred / std_others if std_others > 0 else centred


@dataclass(frozen=True)
class LossTerms:
    """A loss ready for `backward`, and the sums that the metrics are made of."""

    loss: Tensor
    """Scalar with a graph: this micro-batch's share of the step's loss."""
    kl_sum: float
    """Sum over tokens of the KL estimate to the reference policy; 0 without a reference."""
    clipped: int
    """Units (tokens, or turns with the sequence ratio) whose gradient the clip removed."""
    ratio_max: float
    """Largest importance ratio; 1 where nothing counts."""
    ratio_error: float
    """Largest |ratio - 1|: 0 in exact arithmetic at the first update after sampling."""


def clipped_objective(ratio: Tensor, advantage: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """Return min(w A, clip(w, 1 - clip_low, 1 + clip_high) A) of Eq. 7, elementwise."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip_low, 1 + clip_high) * advantage)


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Return e^d - d - 1 with d = reference - policy: a non-negative estimate of KL(policy || reference) per token."""
    difference = reference_logprobs - logprobs
    return torch.exp(difference) - difference - 1


def grpo_loss(
    logprobs_GT: Tensor,
    old_logprobs_GT: Tensor,
    reference_logprobs_GT: Tensor | None,
    advantages_G: Tensor,
    mask_GT: Tensor,
    normaliser: float,
    *,
    ratio: Ratio = "token",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    kl: KL = "k3_is",
) -> LossTerms:
    """Return the negated Eq. 7 for rows of one pivot: -(sum of clipped objectives - beta x sum of KL) / normaliser.

    `normaliser` counts the units of the whole step, not of this micro-batch: valid completion tokens with the token
    ratio, valid rollouts with the sequence ratio. So any split into micro-batches gives the same gradient.
    """
    logratio_GT = torch.where(mask_GT, logprobs_GT - old_logprobs_GT, 0.0)
    ratio_GT = torch.exp(logratio_GT)
    if ratio == "token":
        weight, counted, advantage = ratio_GT, mask_GT, advantages_G[:, None].expand_as(mask_GT)
    else:
        weight, counted, advantage = torch.exp(logratio_GT.sum(1)), mask_GT.any(1), advantages_G
    objective = clipped_objective(weight, advantage, clip_low, clip_high)
    total = torch.where(counted, objective, 0.0).sum()
    kl_sum = torch.zeros((), device=total.device)
    if reference_logprobs_GT is not None:
        kl_GT = k3(logprobs_GT, reference_logprobs_GT)
        if kl == "k3_is":
            kl_GT = ratio_GT * kl_GT
        kl_sum = torch.where(mask_GT, kl_GT, 0.0).sum()
        total = total - beta * kl_sum
    loss = -total / normaliser
    with torch.no_grad():
        over = (weight > 1 + clip_high) & (advantage > 0)
        under = (weight < 1 - clip_low) & (advantage < 0)
        live = weight[counted]
        return LossTerms(
            loss=loss,
            kl_sum=float(kl_sum),
            clipped=int(((over | under) & counted).sum()),
            ratio_max=float(live.max()) if live.numel() else 1.0,
            ratio_error=float((live - 1).abs().max()) if live.numel() else 0.0,
        )
