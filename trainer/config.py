"""The settings of a training run. Torch-free, so that the command line can show them where nothing can train."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from pivot_envs.errors import ConfigError, suggest
from pivot_envs.records import content_hash

Estimator = Literal["population", "sample", "none", "rloo", "rloo_released"]
"""How a group's rewards become advantages.

population: (r - mean) / population std, the form of the paper. sample: the same with Bessel's correction.
none: r - mean. rloo: r - mean of the others. rloo_released: that, divided by the (Bessel) std of the others and left
undivided where it is 0, as the released recipes do.
"""
Ratio = Literal["token", "sequence"]
"""token: one importance ratio per token (the released recipes). sequence: one per turn, Eq. 7 read literally."""
KL = Literal["k3_is", "k3_plain"]
"""k3_is: ratio x k3, whose gradient is that of KL(policy || reference). k3_plain: GRPO's own form, whose gradient is
that of KL(reference || policy)."""
PrefixMode = Literal["cache", "full"]
"""cache: one prompt pass per pivot. full: every rollout whole."""


@dataclass(frozen=True)
class GRPOConfig:
    """Everything that decides a run. "Ours" marks what the paper is silent about."""

    steps: int = 100
    """Rollout batches to train on. Ours."""
    pivots_per_step: int = 64
    """Pivots drawn per step; all of them where there are fewer. 64 x 16 in the released recipes."""
    group_size: int = 16
    """G: rollouts of each pivot."""
    updates_per_step: int = 1
    """Optimizer updates on each batch of rollouts; the clip can only bite beyond 1."""
    lr: float = 1e-6
    """AdamW learning rate, constant: for pretrained models; `helpdesk-base` takes 5e-5, and 3e-4 ruins it."""
    weight_decay: float = 0.0
    """AdamW weight decay. Ours."""
    max_grad_norm: float = 1.0
    """Gradient norm is clipped here. Ours."""
    temperature: float = 1.0
    """Sampling temperature, applied to all log-probs too. Ours."""
    top_p: float = 1.0
    """Must be 1: log-probs of a cut distribution are not the policy's."""
    max_tokens: int = 512
    """Longest turn. Ours."""
    estimator: Estimator = "population"
    """How rewards become advantages: population, sample, none, rloo, rloo_released."""
    advantage_eps: float = 1e-6
    """Added to the standard deviation. Ours."""
    ratio: Ratio = "token"
    """Importance ratio by token or by sequence; also what the loss is averaged over."""
    clip_low: float = 0.2
    """The ratio is clipped at 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio is clipped at 1 + clip_high."""
    beta: float = 1e-3
    """Weight of the KL to the reference; 0 needs no reference. Ours: the paper's value is not known."""
    kl: KL = "k3_is"
    """KL estimate: k3_is (gradient of KL(policy || reference)) or k3_plain (GRPO's form)."""
    mask_truncated: bool = True
    """Leave out rollouts that ran into max_tokens. Ours."""
    max_failed_share: float = 0.5
    """Stop when more than this share of a step's verdicts are `failed`. Ours."""
    micro_batch: int = 8
    """Completions run together against their shared prefix."""
    prefix_mode: PrefixMode = "cache"
    """cache: one prompt pass per pivot, exact gradient. full: every rollout whole."""
    checkpoint_every: int = 10
    """Steps between checkpoints; the last step always leaves one."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too, beside metrics.jsonl."""
    seed: int = 0
    """Decides pivot order and sampling."""

    def __post_init__(self) -> None:
        for name in ("steps", "pivots_per_step", "updates_per_step", "max_tokens", "micro_batch", "checkpoint_every"):
            _whole(self, name, 1)
        _whole(self, "group_size", 2, "at least 2: a group of one has no baseline")
        _whole(self, "seed", 0)
        for name in ("lr", "max_grad_norm", "advantage_eps"):
            _number(self, name, lambda value: value > 0, "a finite number above 0")
        _number(self, "temperature", lambda value: value > 0, "a finite number above 0: greedy groups are all alike")
        for name in ("weight_decay", "beta"):
            _number(self, name, lambda value: value >= 0, "a finite number, 0 or more")
        for name in ("clip_low", "clip_high"):
            _number(self, name, lambda value: 0 < value < 1, "between 0 and 1, neither of them")
        _number(self, "max_failed_share", lambda value: 0 <= value <= 1, "in [0, 1]")
        allowed = "1: log-probs of a cut distribution are not the policy's own"
        _number(self, "top_p", lambda value: value == 1, allowed)
        for name, kind in (("estimator", Estimator), ("ratio", Ratio), ("kl", KL), ("prefix_mode", PrefixMode)):
            _one_of(self, name, get_args(kind))

    @property
    def hash(self) -> str:
        """Hash of the fields that decide a run's course."""
        return _course(asdict(self), "steps", "checkpoint_every", "tensorboard")


@dataclass(frozen=True)
class SFTConfig:
    """How long and how hard to imitate. All values are ours."""

    epochs: int = 3
    """Passes over the examples."""
    batch_size: int = 16
    """Sequences of one optimizer step; the turns of one conversation are one sequence where prompts allow it."""
    micro_batch: int = 8
    """Sequences run together."""
    lr: float = 3e-4
    """AdamW learning rate, constant."""
    max_grad_norm: float = 1.0
    """Gradient norm is clipped here."""
    checkpoint_every: int = 100
    """Steps between checkpoints; the last step always leaves one."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too, beside metrics.jsonl."""
    seed: int = 0
    """Decides the order of examples."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "micro_batch", "checkpoint_every"):
            _whole(self, name, 1)
        _whole(self, "seed", 0)
        for name in ("lr", "max_grad_norm"):
            _number(self, name, lambda value: value > 0, "a finite number above 0")

    @property
    def hash(self) -> str:
        """Hash of the fields that decide a run's course."""
        return _course(asdict(self), "epochs", "checkpoint_every", "tensorboard")


def _course(fields: Mapping[str, Any], *unhashed: str) -> str:
    """Hash all fields but those that may change between two starts of a run."""
    return content_hash({key: value for key, value in fields.items() if key not in unhashed})


def _whole(config: object, name: str, least: int, allowed: str = "") -> None:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _refusal(config, name, allowed or f"a whole number, at least {least}")


def _number(config: object, name: str, holds: Callable[[float], bool], allowed: str) -> None:
    value = getattr(config, name)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not holds(value):
        raise _refusal(config, name, allowed)


def _one_of(config: object, name: str, known: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; it must be one of {known}.{suggest(str(value), known)}")


def _refusal(config: object, name: str, allowed: str) -> ConfigError:
    return ConfigError(f"{name} is {getattr(config, name)!r}; it must be {allowed}")
