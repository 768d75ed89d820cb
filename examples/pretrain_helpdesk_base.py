"""Make a base policy like the demo's: a Llama of 0.7 M parameters that half masters the help desk, from nothing.

    python examples/pretrain_helpdesk_base.py --output runs/helpdesk_base

Two parts, on one thread: drills, in which ids and addresses just seen must be written again (from conversations alone
such a model had not learnt to copy after 3,400 of them), then demonstrations of the train tasks of other worlds. The
default world, seed 0, is never seen: its people, lines and invoices are new to the policy. Loss on the agent's turns
only; weights are kept in half precision. The shipped policy comes of a draft of this script: a run gives its like.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from pivot_envs.actions import encode, from_message
from pivot_envs.contracts import Prompt
from pivot_envs.domains import get_domain
from pivot_envs.records import Message
from pivot_envs.trainer.model import TransformersPolicy
from pivot_envs.trainer.tiny import tiny_model

STYLE = "compact"
Row = tuple[list[int], list[bool]]
"""Token ids, and which of them the agent wrote."""


@dataclass(frozen=True)
class Pretraining:
    """How long and how large."""

    output: Path
    """Folder to save the policy in."""
    layers: int = 3
    width: int = 128
    heads: int = 4
    vocab_size: int = 768
    drills: int = 1400
    """Steps on drills."""
    worlds: int = 100
    """Worlds whose 120 train tasks are demonstrated once each; they set the pace at which the learning rate falls."""
    stop_after: int = 500
    """Steps on demonstrations that are really done: the policy is to master the work by half."""
    batch: int = 16
    """Conversations of a step."""
    lr: float = 1e-3
    """AdamW learning rate; cosine to a twentieth over the demonstrations."""


def conversations(worlds: Iterable[int]) -> Iterator[list[Message]]:
    """Yield a demonstration of every train task of some worlds, as the policy sees it."""
    for seed in worlds:
        domain = get_domain("tau2", "helpdesk", seed=seed)
        for task in domain.tasks("train"):
            yield list(domain.visible(domain.demonstrate(task, 0).messages, STYLE))


def drill(rng: random.Random) -> list[Message]:
    """Return a short conversation in which the agent must write what it has just read."""
    messages: list[Message] = []
    for _ in range(rng.choice((1, 1, 2))):
        ids = ["C" + _digits(rng, 3), "L" + _digits(rng, 3), "I" + _digits(rng, 3), "O" + _digits(rng, 1)]
        ids += ["S" + _digits(rng, 2), "R" + _digits(rng, 4)]
        rng.shuffle(ids)
        shown = ids[: rng.randint(1, 4)]
        kind = rng.random()
        if kind < 0.25:
            phone = "555-" + _digits(rng, 4)
            messages += [_said("user", f"phone {phone}"), _call("find_customer_by_phone", phone=phone)]
        elif kind < 0.5:
            name = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 6)))
            last = name[::-1] if rng.random() < 0.2 else f"{_digits(rng, 2)}x"
            email = f"{name}.{last}@example.net"
            messages += [_said("user", f"email {email}"), _call("find_customer_by_email", email=email)]
        elif kind < 0.8:
            tool, key = ("get_account", "customer_id") if shown[0][0] == "C" else ("get_line", "line_id")
            messages += [_said("tool", " ".join(shown)), _call(tool, **{key: shown[0]})]
        else:
            messages += [_said("tool", " ".join(shown)), _said("assistant", "done " + " ".join(shown))]
    return messages


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _said(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def _call(name: str, **arguments: str) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


def _text(message: Message) -> str:
    return encode(from_message(message), "hermes") if message.get("tool_calls") else str(message.get("content") or "")


def row(policy: TransformersPolicy, messages: list[Message]) -> Row:
    """Return a conversation's token ids and which the agent wrote."""
    ids: list[int] = []
    written: list[bool] = []
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = policy.render(Prompt("pretraining/0", tuple(messages[:place]), ()))
            turn = policy.encode_completion(_text(message))
            written += [False] * (len(prompt) - len(ids)) + [True] * len(turn)
            ids = [*prompt, *turn]
    return ids, written


def step(policy: TransformersPolicy, optimizer: torch.optim.Optimizer, rows: list[Row], lr: float) -> float:
    """Take one step and return the loss per written token."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    rows = sorted(rows, key=lambda each: len(each[0]))
    total, loss_sum = sum(sum(written) for _, written in rows), 0.0
    size = max(1, 2048 // len(rows[-1][0]))
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        ids_GT = torch.zeros(len(part), max(len(ids) for ids, _ in part), dtype=torch.long)
        labels_GT = torch.full_like(ids_GT, -100)
        for place, (ids, written) in enumerate(part):
            ids_GT[place, : len(ids)] = torch.tensor(ids)
            labels_GT[place, : len(ids)] = torch.where(torch.tensor(written), torch.tensor(ids), -100)
        logits_GTV = policy.model(input_ids=ids_GT, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits_GTV[:, :-1].flatten(0, 1), labels_GT[:, 1:].flatten(), ignore_index=-100, reduction="sum"
        )
        (loss / total).backward()
        loss_sum += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    return loss_sum / total


def main(config: Pretraining) -> None:
    """Train and save."""
    torch.set_num_threads(1)
    texts = [_text(message) for messages in conversations((1, 2, 3)) for message in messages]
    shape = {"layers": config.layers, "width": config.width, "heads": config.heads, "vocab_size": config.vocab_size}
    policy = tiny_model(texts, **shape, context_length=1024, name="helpdesk-base", prompt_style=STYLE)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=config.lr, weight_decay=0.01, betas=(0.9, 0.98))
    rng, losses = random.Random(0), []
    for done in range(config.drills):
        batch = [row(policy, drill(rng)) for _ in range(config.batch)]
        losses.append(step(policy, optimizer, batch, config.lr * min(1, (done + 1) / 100)))
        _tell("drill", losses, config.drills)
    losses.clear()
    batch, steps = [], config.worlds * 120 // config.batch
    for messages in conversations(range(1, config.worlds + 1)):
        if len(losses) == config.stop_after:
            break
        batch.append(row(policy, messages))
        if len(batch) == config.batch:
            slow = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (len(losses) + 1) / steps))
            losses.append(step(policy, optimizer, batch, config.lr * slow))
            batch.clear()
            _tell("step", losses, steps)
    policy.model.half()
    policy.save(config.output)


def _tell(what: str, losses: list[float], of: int) -> None:
    if len(losses) % 50 == 0:
        print(f"{what} {len(losses)} of {of}: loss {sum(losses[-50:]) / 50:.3f}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Pretraining))
