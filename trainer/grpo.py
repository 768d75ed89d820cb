"""GRPO on one-turn rollouts from pivots (Eq. 7), on one machine, readable from top to bottom.

A step: draw pivots from a seeded permutation; sample G turns of each; have them judged; advantages by pivot; log-probs
under the old policy and the frozen reference; clipped loss over one shared prefix per pivot; one AdamW update.

Where this follows or leaves the paper (arXiv 2603.21383):
1. The pivots are fixed before training (Eq. 5); selecting them is `pivots.py`.
2. Importance ratio by token, as the released recipes have it; `ratio="sequence"` is Eq. 7 read literally.
3. The KL term is k3 weighted by the ratio: its gradient is that of KL(policy || reference), as Eq. 7 says.
4. A rollout without a verdict leaves loss and baseline; the paper does not say what it does with them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pivot_envs.contracts import Prompt
from pivot_envs.errors import ConfigError, PolicyError, VerifierError
from pivot_envs.policy import derive_seed
from pivot_envs.records import Sampling, content_hash
from pivot_envs.trainer.config import GRPOConfig, PrefixMode
from pivot_envs.trainer.losses import LossTerms, advantages, grpo_loss
from pivot_envs.trainer.model import TransformersPolicy
from pivot_envs.trainer.prefix import forwarded_tokens, gradient_difference, group_backward
from pivot_envs.trainer.rollouts import RolloutGroup, Score, judge, readable, rollout_metrics, sample_groups
from pivot_envs.trainer.run import Run

logger = logging.getLogger(__name__)

GRADIENT_TOLERANCE = 1e-4
"""Largest relative difference between the shared-prefix gradient and the full one; measured: below 1e-6 in float32."""
RATIO_TOLERANCE = 1e-4
"""Largest |ratio - 1| at the first update after sampling, where it is 1 but for rounding."""
FEW_PIVOTS = 100
"""Below this many, a run tends to overfit: greedy success fell from .80 to .55 on 18 pivots of a 0.34 M model."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    steps: int
    """Steps done in all, those before a resume included."""
    checkpoint: Path
    """The last checkpoint; its `policy` folder loads with `load_policy`."""
    policy_fingerprint: str
    metrics: tuple[dict[str, Any], ...]
    """Rows of this start, as in metrics.jsonl."""
    excluded: Mapping[str, int]
    """Pivots left out before training, by reason."""


def train(
    policy: TransformersPolicy,
    reference: TransformersPolicy | None,
    pivots: Mapping[str, Prompt],
    score: Score,
    config: GRPOConfig,
    out_dir: str | Path,
    resume: bool = False,
    *,
    provenance: Mapping[str, Any] | None = None,
    profiling_rollouts: int | None = None,
    on_step: Callable[[Mapping[str, Any]], None] | None = None,
) -> TrainResult:
    """Train the policy in place on its pivots; the run's files go to `out_dir`.

    Args:
        policy: a local model. Endpoint policies are refused: their weights are elsewhere.
        reference: the frozen policy of the KL term; may be None where beta is 0.
        pivots: prompt of each pivot id.
        score: judges (pivot_ids, action texts) in the policy's action codec.
        config: every setting; saved with the run.
        out_dir: a new folder, or with `resume` the folder of an earlier start.
        resume: go on from the last checkpoint, equal to a run that never stopped.
        provenance: hashes of what else the rewards depend on (verifier, domain, profile); a resume checks them.
        profiling_rollouts: what finding the pivots cost; charged in ledger.json.
        on_step: called with each metrics row.

    Raises:
        ConfigError: something cannot be meant.
        FingerprintMismatch: resuming with another config, pivot set, reference or provenance.
        VerifierError: too many verdicts failed.
        PolicyError: the update itself went wrong: not finite, or off-policy before any update.
        Unwritten: a checkpoint or metrics row could not be written, most often for want of space.
        KeyboardInterrupt: Ctrl-C. Like every error outside an update, it leaves a checkpoint behind.
    """
    _check_policies(policy, reference, config)
    usable, excluded = readable(policy, pivots)
    if len(usable) < FEW_PIVOTS:
        logger.warning("only %d pivots: below about %d a run overfits them", len(usable), FEW_PIVOTS)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    identity = _identity(reference, usable, config, provenance or {})
    run = Run(out_dir, policy, optimizer, identity, config.checkpoint_every, profiling_rollouts)
    run.begin(_manifest(policy, reference, usable, excluded, config, provenance or {}), resume, config.tensorboard)
    update = _Update(policy, reference, optimizer, config)
    sampling = Sampling(config.temperature, config.top_p, config.max_tokens)
    with run.saved_on_error():
        while run.step < config.steps:
            started, prefilled = perf_counter(), policy.prefilled_tokens
            batch = {pivot_id: usable[pivot_id] for pivot_id in draw_pivots(sorted(usable), run.step, config)}
            seed = derive_seed(config.seed, "rollouts", run.step)
            completions = sample_groups(policy, batch, config.group_size, sampling, seed)
            sampled = perf_counter()
            groups = judge(batch, completions, score, config.mask_truncated)
            judged = perf_counter()
            row: dict[str, Any] = {"step": run.step + 1, **rollout_metrics(groups)}
            row["tokens/prefilled"] = policy.prefilled_tokens - prefilled
            _stop_on_failures(row, groups, config)
            with run.update():
                row |= update(groups)
                done = perf_counter()
                row |= {"seconds": done - started, "seconds/sampling": sampled - started}
                row |= {"seconds/scoring": judged - sampled, "seconds/update": done - judged}
                run.record(row)
            if on_step:
                on_step(row)
        last = run.save()
    if update.checks:
        run.note("checks", update.checks)
    return TrainResult(run.step, last, policy.fingerprint, tuple(run.rows), excluded)


def draw_pivots(pivot_ids: Sequence[str], step: int, config: GRPOConfig) -> list[str]:
    """Return the pivots of one step: a new permutation every epoch, no pivot twice in a step.

    A function of the step alone, so the step is the sampler's position. An epoch's incomplete last batch is dropped;
    the next permutation drops others.
    """
    size = min(config.pivots_per_step, len(pivot_ids))
    epoch, batch = divmod(step, len(pivot_ids) // size)
    order = np.random.default_rng([config.seed, epoch]).permutation(len(pivot_ids))
    return [pivot_ids[i] for i in order[batch * size : (batch + 1) * size]]


@dataclass(frozen=True)
class _Part:
    """The valid rollouts of one pivot, ready for the loss. Shapes: G valid rollouts, T their longest completion."""

    prompt_ids: tuple[int, ...]
    completions: list[tuple[int, ...]]
    advantages_G: Tensor
    sampling_logprobs_GT: Tensor
    old_GT: Tensor
    reference_GT: Tensor | None

    @property
    def live(self) -> bool:
        """Some rollout was better than another."""
        return bool(self.advantages_G.any())

    @property
    def tokens(self) -> int:
        """Completion tokens trained on."""
        return sum(len(ids) for ids in self.completions)


class _Update:
    """The update half of a step: log-probs, loss, gradient, AdamW."""

    def __init__(
        self,
        policy: TransformersPolicy,
        reference: TransformersPolicy | None,
        optimizer: torch.optim.Optimizer,
        config: GRPOConfig,
    ) -> None:
        self.policy, self.optimizer, self.config = policy, optimizer, config
        self.reference = reference if config.beta > 0 else None
        self.mode: PrefixMode = config.prefix_mode
        self.micro_batch = config.micro_batch
        self.checks: dict[str, float] = {}
        """What the first update of this start measured: relative gradient difference and largest |ratio - 1|."""

    def __call__(self, groups: Sequence[RolloutGroup]) -> dict[str, Any]:
        """Update the weights on one batch of rollouts and return metrics. An all-dead batch changes nothing."""
        parts, units = self._prepare(groups)
        if not parts:
            return self._metrics([], parts, units, None)
        if self._falls_back(parts, units):
            parts, units = self._prepare(groups)
        terms: list[list[LossTerms]] = []
        for number in range(self.config.updates_per_step):
            self.optimizer.zero_grad(set_to_none=True)
            terms.append([term for part in parts for term in self._backward(part, units)])
            if number == 0:
                self._check_ratio(terms[0])
            norm = torch.nn.utils.clip_grad_norm_(self.policy.model.parameters(), self.config.max_grad_norm)
            if not bool(torch.isfinite(norm)):
                raise PolicyError(f"gradient norm is {float(norm)}; lower lr (now {self.config.lr}) or raise beta")
            self.optimizer.step()
        return self._metrics(terms, parts, units, float(norm))

    def _prepare(self, groups: Sequence[RolloutGroup]) -> tuple[list[_Part], int]:
        """Return the parts to train on and the step's normaliser.

        Dead groups have no policy gradient: without a KL term they are skipped, which changes no gradient because
        the normaliser counts their tokens either way.
        """
        parts, units = [], 0
        for group in groups:
            scores = advantages(group.rewards, self.config.estimator, self.config.advantage_eps)
            rows = [row for row, score in enumerate(scores) if score is not None]
            completions = [group.completion_ids[row] for row in rows]
            units += sum(map(len, completions)) if self.config.ratio == "token" else len(rows)
            if rows and (self.reference is not None or any(scores[row] for row in rows)):
                parts.append(self._part(group, rows, [scores[row] or 0.0 for row in rows]))
        return parts, units

    def _part(self, group: RolloutGroup, rows: list[int], scores: list[float]) -> _Part:
        completions = [group.completion_ids[row] for row in rows]
        sampled = [torch.tensor(group.sampling_logprobs[row], dtype=torch.float32) for row in rows]
        settings = (self.config.temperature, self.micro_batch, self.mode)
        old = self.policy.logprobs(group.prompt_ids, completions, *settings)
        reference = self.reference and self.reference.logprobs(group.prompt_ids, completions, *settings)
        device = self.policy.device
        return _Part(
            prompt_ids=group.prompt_ids,
            completions=completions,
            advantages_G=torch.tensor(scores, dtype=torch.float32, device=device),
            sampling_logprobs_GT=pad_sequence(sampled, batch_first=True).to(device),
            old_GT=pad_sequence(old, batch_first=True),
            reference_GT=pad_sequence(reference, batch_first=True).to(device) if reference else None,
        )

    def _backward(self, part: _Part, units: int) -> list[LossTerms]:
        """Add one part's gradient; the terms come back for the metrics."""
        terms: list[LossTerms] = []
        settings = (self.config.temperature, self.micro_batch, self.mode)
        group_backward(self.policy.model, part.prompt_ids, part.completions, self._loss(part, units, terms), *settings)
        return terms

    def _loss(self, part: _Part, units: int, terms: list[LossTerms]) -> Callable[[Tensor, Tensor, list[int]], Tensor]:
        config = self.config

        def loss(logprobs_GT: Tensor, mask_GT: Tensor, rows: list[int]) -> Tensor:
            width = logprobs_GT.shape[1]
            reference_GT = None if part.reference_GT is None else part.reference_GT[rows, :width]
            term = grpo_loss(
                logprobs_GT,
                part.old_GT[rows, :width],
                reference_GT,
                part.advantages_G[rows],
                mask_GT,
                units,
                ratio=config.ratio,
                clip_low=config.clip_low,
                clip_high=config.clip_high,
                beta=config.beta,
                kl=config.kl,
            )
            terms.append(replace(term, loss=term.loss.detach()))
            return term.loss

        return loss

    def _falls_back(self, parts: Sequence[_Part], units: int) -> bool:
        """Once per start, on the first live group: unless the shared-prefix gradient is the full one, leave it."""
        part = next((part for part in parts if part.live), None)
        if self.mode == "full" or "gradient_difference" in self.checks or part is None:
            return False
        settings = (self.config.temperature, self.micro_batch)
        loss = self._loss(part, units, [])
        difference = gradient_difference(self.policy.model, part.prompt_ids, part.completions, loss, *settings)
        self.checks["gradient_difference"] = difference
        if difference <= GRADIENT_TOLERANCE:
            return False
        logger.warning(
            "shared-prefix gradient differs from the full one by %.2g (allowed: %.0g): this model's rows or cache are "
            "not independent; going on with every rollout whole and alone, which is slower",
            difference,
            GRADIENT_TOLERANCE,
        )
        self.mode, self.micro_batch = "full", 1
        return True

    def _check_ratio(self, terms: Sequence[LossTerms]) -> None:
        """At the first update after sampling, old and new log-probs are those of the same weights."""
        error = max(term.ratio_error for term in terms)
        self.checks.setdefault("ratio_error", error)
        if error > RATIO_TOLERANCE * (1 if self.config.ratio == "token" else self.config.max_tokens):
            raise PolicyError(
                f"importance ratio differs from 1 by {error:.2g} before any update: two passes of the same weights "
                'disagree; look for dropout, low precision, or rows that influence each other (prefix_mode="full")'
            )

    def _metrics(
        self, terms: Sequence[Sequence[LossTerms]], parts: Sequence[_Part], units: int, norm: float | None
    ) -> dict[str, Any]:
        flat = [term for update in terms for term in update]
        tokens = sum(part.tokens for part in parts)
        counted = tokens if self.config.ratio == "token" else sum(len(part.completions) for part in parts)
        forwarded, naive = self._tokens(parts, len(terms))
        return {
            "optimizer_updates": len(terms),
            "loss": sum(float(term.loss) for term in flat),
            "kl": sum(term.kl_sum for term in flat) / (tokens * len(terms)) if tokens else None,
            "clip_share": sum(term.clipped for term in flat) / (counted * len(terms)) if counted else None,
            "ratio_max": max((term.ratio_max for term in flat), default=None),
            "entropy": -sum(float(part.old_GT.sum()) for part in parts) / tokens if tokens else None,
            "sampling_gap": max((_gap(part) for part in parts), default=None),
            "grad_norm": norm,
            "loss_units": units,
            "tokens/forwarded": forwarded,
            "tokens/naive": naive,
        }

    def _tokens(self, parts: Sequence[_Part], updates: int) -> tuple[int, int]:
        """Token positions run for log-probs and gradients (sampling apart), and without a shared prefix."""
        passes = 1 + (self.reference is not None) + updates
        forwarded = naive = 0
        for part in parts:
            lengths = [len(ids) for ids in part.completions]
            forwarded += passes * forwarded_tokens(len(part.prompt_ids), lengths, self.micro_batch, self.mode)
            naive += passes * (len(part.prompt_ids) * len(lengths) + sum(lengths))
        return forwarded, naive


def _gap(part: _Part) -> float:
    """Largest difference between the sampler's log-probs and the recomputed ones; 0 where the sampler gave none."""
    if part.sampling_logprobs_GT.shape != part.old_GT.shape:
        return 0.0
    return float((part.sampling_logprobs_GT - part.old_GT).abs().max())


def _check_policies(policy: object, reference: TransformersPolicy | None, config: GRPOConfig) -> None:
    if not isinstance(policy, TransformersPolicy):
        raise ConfigError(
            f"policy {getattr(policy, 'name', policy)!r} cannot be trained here: its weights and log-probs are not in "
            "this process. Load a local model with load_policy; to train behind a server or on many GPUs: TRL or verl"
        )
    if config.beta > 0 and reference is None:
        raise ConfigError(f"beta is {config.beta}, so a frozen reference policy is needed; give one, or set beta to 0")
    if reference is not None and reference.model is policy.model:
        raise ConfigError("the reference policy is the trained policy itself; give it a model of its own, loaded again")


def _identity(
    reference: TransformersPolicy | None,
    pivots: Mapping[str, Prompt],
    config: GRPOConfig,
    provenance: Mapping[str, Any],
) -> dict[str, str]:
    """What must be the same when a run goes on, hashed."""
    return {
        "config": config.hash,
        "pivots": content_hash([[key, pivots[key].messages, pivots[key].tools] for key in sorted(pivots)]),
        "reference": reference.fingerprint if reference is not None else "none",
        "provenance": content_hash(provenance),
    }


def _manifest(
    policy: TransformersPolicy,
    reference: TransformersPolicy | None,
    pivots: Mapping[str, Prompt],
    excluded: Mapping[str, int],
    config: GRPOConfig,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "stage": "grpo",
        "config": asdict(config),
        "policy": {
            "name": policy.name,
            "fingerprint": policy.fingerprint,
            "template": policy.template_hash,
            "action_codec": policy.action_codec,
            "prompt_style": policy.prompt_style,
        },
        "reference": None if reference is None else {"name": reference.name, "fingerprint": reference.fingerprint},
        "pivots": len(pivots),
        "excluded": dict(excluded),
        "provenance": dict(provenance),
        "device": str(policy.device),
        "threads": torch.get_num_threads(),
    }


def _stop_on_failures(row: Mapping[str, Any], groups: Sequence[RolloutGroup], config: GRPOConfig) -> None:
    failed, rollouts = row["verdict/failed"], row["rollouts"]
    if failed > config.max_failed_share * rollouts:
        reasons = Counter(v.reason for group in groups for v in group.verdicts if v.outcome == "failed")
        raise VerifierError(
            f"step {row['step']}: {failed} of {rollouts} verdicts failed (allowed share: {config.max_failed_share}), "
            f"most often: {', '.join(f'{reason} ({count}x)' for reason, count in reasons.most_common(3))}. "
            "Rewards would be drawn from what is left: mend the verifier or its boxes, then resume"
        )
