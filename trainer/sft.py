"""Supervised fine-tuning on demonstrated turns: cross-entropy on the completion's tokens, nothing else.

It gives a tiny model the competence that a pivot needs (some successes, some failures), and is the arm that the paper
compares with. The prompt is never trained on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from pivot_envs.actions import encode, from_message
from pivot_envs.contracts import Prompt
from pivot_envs.errors import ConfigError, PolicyError
from pivot_envs.records import content_hash
from pivot_envs.scoring import Scorer
from pivot_envs.trainer.config import SFTConfig
from pivot_envs.trainer.model import TransformersPolicy
from pivot_envs.trainer.prefix import forward, padded, token_logprobs
from pivot_envs.trainer.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SFTExample:
    """A prompt and the text of the demonstrated turn, written in the policy's action codec."""

    prompt: Prompt
    text: str


@dataclass(frozen=True)
class SFTResult:
    """What a run came to."""

    steps: int
    first_loss: float
    """Mean cross-entropy per token of the first step."""
    last_loss: float
    """The same of the last step."""
    excluded: int
    """Examples left out because they do not fit the policy's context or cannot be rendered."""


def train_sft(
    policy: TransformersPolicy,
    examples: Sequence[SFTExample],
    config: SFTConfig,
    out_dir: str | Path | None = None,
    on_step: Callable[[Mapping[str, Any]], None] | None = None,
    resume: bool = False,
) -> SFTResult:
    """Train the policy in place; with `out_dir`, write manifest.json, metrics.jsonl, checkpoints and the policy there.

    With `resume` a run that was stopped goes on from its last checkpoint, equal to one that never stopped.

    Raises:
        ConfigError: no example fits the policy, or the folder holds a run already.
        FingerprintMismatch: resuming with another config or other examples.
        PolicyError: the gradient is not finite.
        Unwritten: a file of the run could not be written, most often for want of space.
        KeyboardInterrupt: Ctrl-C. It leaves a checkpoint behind.
    """
    rows = _rows(policy, examples)
    turns = sum(row.turns for row in rows)
    if not rows:
        raise ConfigError(
            f"none of {len(examples)} examples fits {policy.name}: at most {policy.max_prompt_tokens} tokens"
        )
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=config.lr, weight_decay=0.0)
    identity = {"config": config.hash, "examples": content_hash([[row.ids, row.written] for row in rows])}
    run = Run(out_dir, policy, optimizer, identity, config.checkpoint_every, profiling_rollouts=0)
    manifest = {"stage": "sft", "config": asdict(config), "policy": policy.name, "examples": turns, "rows": len(rows)}
    run.begin(manifest, resume, config.tensorboard)
    steps = config.epochs * math.ceil(len(rows) / config.batch_size)
    with run.saved_on_error():
        while run.step < steps:
            started, batch = perf_counter(), _batch(rows, run.step, config)
            with run.update():
                row = {"step": run.step + 1, **_update(policy, optimizer, batch, config)}
                row["seconds"] = row["seconds/update"] = perf_counter() - started
                run.record(row)
            if on_step:
                on_step(row)
        if run.path is not None:
            run.save()
            policy.save(run.path / "policy")
    losses = [row["loss"] for row in run.all_rows()] or [math.nan]
    return SFTResult(run.step, losses[0], losses[-1], len(examples) - turns)


def demonstrations(scorer: Scorer, ids: list[str], policy: TransformersPolicy) -> list[SFTExample]:
    """Return the demonstrated turns of some candidates as a policy of this codec and prompt style would write them."""
    domain, examples = scorer.bench.domain, []
    for candidate_id in ids:
        candidate = scorer.candidate(candidate_id)
        shown = domain.visible([*candidate.prefix, candidate.message], policy.prompt_style)[-1]
        examples.append(
            SFTExample(
                scorer.prompt(candidate_id, policy.prompt_style), encode(from_message(shown), policy.action_codec)
            )
        )
    return examples


@dataclass
class _Row:
    """One sequence to train on: its ids, and which of them a policy wrote."""

    ids: list[int]
    written: list[bool]
    turns: int = 1


def _rows(policy: TransformersPolicy, examples: Sequence[SFTExample]) -> list[_Row]:
    """Return the sequences of the examples.

    Turns of one conversation, given in order, become one: where a prompt begins with the whole sequence before it,
    only what is new is added, so that no token is run twice.
    """
    rows: list[_Row] = []
    for example in examples:
        try:
            prompt = policy.render(example.prompt)
        except PolicyError as error:
            logger.warning("example left out: %s", error)
            continue
        completion = policy.encode_completion(example.text)
        if not policy.fits(prompt) or len(prompt) + len(completion) > policy.context_length:
            continue
        last = rows[-1] if rows else None
        if last is not None and prompt[: len(last.ids)] == last.ids:
            last.written += [False] * (len(prompt) - len(last.ids)) + [True] * len(completion)
            last.ids = [*prompt, *completion]
            last.turns += 1
        else:
            rows.append(_Row([*prompt, *completion], [False] * len(prompt) + [True] * len(completion)))
    return rows


def _batch(rows: Sequence[_Row], step: int, config: SFTConfig) -> list[_Row]:
    """Return the sequences of one step: a function of the step alone, so the step is the position of a run."""
    epoch, batch = divmod(step, math.ceil(len(rows) / config.batch_size))
    order = np.random.default_rng([config.seed, epoch]).permutation(len(rows))
    return [rows[i] for i in order[batch * config.batch_size : (batch + 1) * config.batch_size]]


def _update(
    policy: TransformersPolicy, optimizer: torch.optim.Optimizer, batch: list[_Row], config: SFTConfig
) -> dict[str, Any]:
    tokens = sum(sum(row.written) for row in batch)
    optimizer.zero_grad(set_to_none=True)
    loss = _accumulate(policy, batch, tokens, config.micro_batch)
    norm = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), config.max_grad_norm)
    if not bool(torch.isfinite(norm)):
        raise PolicyError(f"gradient norm is {float(norm)}; lower lr (now {config.lr})")
    optimizer.step()
    return {
        "loss": loss,
        "grad_norm": float(norm),
        "tokens": tokens,
        "tokens/forwarded": sum(len(row.ids) for row in batch),
    }


def _accumulate(policy: TransformersPolicy, batch: list[_Row], tokens: int, micro_batch: int) -> float:
    """Add the batch's gradient and return its mean loss per token; rows of like length run together."""
    total = 0.0
    ordered = sorted(batch, key=lambda row: len(row.ids))
    for start in range(0, len(ordered), micro_batch):
        part = ordered[start : start + micro_batch]
        ids_GT, _ = padded([row.ids for row in part], policy.device)
        written_GT, _ = padded([row.written for row in part], policy.device)
        first = min(row.written.index(True) for row in part) - 1
        kept = torch.arange(first, ids_GT.shape[1] - 1, device=policy.device)
        logprobs_GK = token_logprobs(forward(policy.model, ids_GT, keep=kept), ids_GT[:, first + 1 :], 1.0)
        loss = -torch.where(written_GT[:, first + 1 :].bool(), logprobs_GK, 0.0).sum() / tokens
        loss.backward()
        total += float(loss.detach())
    return total
