"""The arms of the comparison: what a base policy becomes by imitation, by pivots, and by pivots with a part left out.

    sft         imitates the demonstrations
    pivot       GRPO on the turns that Eq. 5 keeps, rewarded by effect
    unfiltered  the same on as many turns drawn at random
    exact       pivots that were profiled and are rewarded by exact match

The demo and `benchmarks/helpdesk_learning.py` run them. GRPO arms of one config draw equally many training rollouts;
what profiling drew stands beside.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pivot_envs.records import content_hash
from pivot_envs.scoring import Scorer
from pivot_envs.trainer.config import GRPOConfig, SFTConfig
from pivot_envs.trainer.grpo import train
from pivot_envs.trainer.model import TransformersPolicy
from pivot_envs.trainer.sft import demonstrations, train_sft


@dataclass(frozen=True)
class Arm:
    """One trained policy and what it cost."""

    name: str
    policy: TransformersPolicy = field(repr=False)
    pivots: int = 0
    """Turns trained on by GRPO."""
    profiling: int = 0
    """Rollouts drawn to find them."""
    rollouts: int = 0
    """Rollouts drawn while training."""
    dead_share: float | None = None
    """Share of the groups drawn while training whose rewards were all equal; None without groups."""
    seconds: float = 0.0
    """Of training; profiling and evaluation are apart."""
    curve: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Step rows of the run."""


def imitate(base: TransformersPolicy, scorer: Scorer, config: SFTConfig, folder: Path, name: str = "sft") -> Arm:
    """Return the base after supervised fine-tuning on every demonstration the scorer knows; the base is left alone."""
    started, policy = time.perf_counter(), copy.deepcopy(base)
    train_sft(policy, demonstrations(scorer, scorer.ids(), policy), config, folder)
    return Arm(name, policy, seconds=time.perf_counter() - started)


def practise(
    base: TransformersPolicy,
    scorer: Scorer,
    pivots: Sequence[str],
    config: GRPOConfig,
    folder: Path,
    name: str = "pivot",
    profiling: int = 0,
) -> Arm:
    """Return the base after GRPO on some turns, rewarded by the scorer; the base is left alone and is the reference."""
    started, policy = time.perf_counter(), copy.deepcopy(base)
    prompts = {pivot_id: scorer.prompt(pivot_id, policy.prompt_style) for pivot_id in pivots}
    result = train(
        policy,
        base if config.beta > 0 else None,
        prompts,
        scorer.score,
        config,
        folder,
        provenance=provenance(scorer),
        profiling_rollouts=profiling,
    )
    groups = sum(row["groups"] for row in result.metrics)
    return Arm(
        name,
        policy,
        len(prompts),
        profiling,
        sum(row["rollouts"] for row in result.metrics),
        sum(row["dead_groups"] for row in result.metrics) / groups if groups else None,
        time.perf_counter() - started,
        result.metrics,
    )


def provenance(scorer: Scorer) -> dict[str, str]:
    """Return the hashes of what a run's rewards depend on beside its pivots."""
    verifier = scorer.bench.verifier
    return {
        "domain": scorer.bench.domain.name,
        "domain_fingerprint": content_hash(dict(scorer.bench.domain.fingerprint)),
        "verifier": f"{verifier.name} {verifier.version} {content_hash(dict(verifier.config))}",
    }
