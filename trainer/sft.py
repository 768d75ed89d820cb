"""Supervised fine-tuning on demonstrated turns: cross-entropy on the completion's tokens, nothing else.

It gives a tiny model the competence that a pivot needs (some successes, some failures), and is the arm that the paper
compares with. The prompt is never trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from pivot_envs.contracts import Prompt
from pivot_envs.errors import ConfigError, PolicyError
from pivot_envs.trainer.checkpoints import RunFolder
from pivot_envs.trainer.model import TransformersPolicy
from pivot_envs.trainer.prefix import forward, padded, token_logprobs

logger = logging.getLogger(__name__)


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
    seed: int = 0
    """Decides the order of examples."""


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
) -> SFTResult:
    """Train the policy in place; with `out_dir`, write manifest.json, metrics.jsonl and the policy there."""
    rows = _rows(policy, examples)
    turns = sum(row.turns for row in rows)
    if not rows:
        raise ConfigError(
            f"none of {len(examples)} examples fits {policy.name}: at most {policy.max_prompt_tokens} tokens"
        )
    folder = None if out_dir is None else RunFolder(Path(out_dir), {})
    if folder:
        folder.create(
            {"stage": "sft", "config": asdict(config), "policy": policy.name, "examples": turns, "rows": len(rows)}
        )
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=config.lr, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(_batches(rows, config), 1):
        started = perf_counter()
        tokens = sum(sum(row.written) for row in batch)
        optimizer.zero_grad(set_to_none=True)
        loss = _accumulate(policy, batch, tokens, config.micro_batch)
        norm = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), config.max_grad_norm)
        if not bool(torch.isfinite(norm)):
            raise PolicyError(f"step {step}: gradient norm is {float(norm)}; lower lr (now {config.lr})")
        optimizer.step()
        losses.append(loss)
        row = {
            "step": step,
            "loss": loss,
            "grad_norm": float(norm),
            "tokens": tokens,
            "seconds": perf_counter() - started,
        }
        if folder:
            folder.append_metrics(row)
        if on_step:
            on_step(row)
    if folder:
        policy.save(folder.path / "policy")
    return SFTResult(len(losses), losses[0], losses[-1], len(examples) - turns)


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


def _batches(rows: Sequence[_Row], config: SFTConfig) -> Iterator[list[_Row]]:
    for epoch in range(config.epochs):
        order = np.random.default_rng([config.seed, epoch]).permutation(len(rows))
        for start in range(0, len(order), config.batch_size):
            yield [rows[i] for i in order[start : start + config.batch_size]]


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
