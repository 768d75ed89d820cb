"""CPU seconds of a shared prompt: in the gradient of a group, over the turns of a trajectory, and in decoding.

Everything is run in one process on one thread and shown as a ratio to the plain way in the same run; outputs are
compared too. Exit 1 where a group's gradient costs more than 1 / 2.5 of the full one, differs from it by more than
1e-5, or anything is sampled otherwise than by itself.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from pivot_envs.records import Sampling
from pivot_envs.trainer.branches import decode_together
from pivot_envs.trainer.prefix import forward, forwarded_tokens, group_backward
from pivot_envs.trainer.sampling import GrowingCache, decode

LEAST_SPEEDUP = 2.5
LARGEST_DIFFERENCE = 1e-5
VOCAB = 2048
GREEDY = Sampling(0.0, 1.0, 32)
NEVER = frozenset({-1})


@dataclass(frozen=True)
class Arguments:
    """Which shapes are run."""

    groups: tuple[tuple[int, int, int], ...] = ((512, 32, 8), (1024, 48, 8))
    """P prompt tokens, R tokens of each completion, G completions."""
    turns: int = 10
    """Turns of the trajectory whose every turn is sampled from: 300 tokens and 120 more at each turn."""
    k: int = 8
    """Completions of each turn, of 32 tokens."""
    pivots: int = 16
    """Prompts of unequal lengths whose k completions are decoded in one batch."""


def model() -> LlamaForCausalLM:
    """Return the random model of all measurements: 4 layers, width 256, 4 heads over 2, float32."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=4096, attn_implementation="sdpa",
        )
    ).eval()  # fmt: skip


def ids(seed: int, count: int) -> list[int]:
    """Return random token ids."""
    return torch.randint(3, VOCAB, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what the work returns and its CPU seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def gradients(net: LlamaForCausalLM, shape: tuple[int, int, int]) -> dict[str, dict[str, float]]:
    """Return CPU seconds, speed-up, forwarded tokens and gradient difference of each way to one group's gradient."""
    length, tokens, group = shape
    prompt, completions = ids(0, length), [ids(1 + g, tokens) for g in range(group)]
    advantage = torch.linspace(-1, 1, group)

    def loss(logprobs_GT: torch.Tensor, mask_GT: torch.Tensor, rows: list[int]) -> torch.Tensor:
        return -(advantage[rows][:, None] * logprobs_GT).sum() / (group * tokens)

    def gradient(mode: Any, micro_batch: int) -> torch.Tensor:
        net.zero_grad(set_to_none=True)
        group_backward(net, prompt, completions, loss, 1.0, micro_batch, mode)
        return torch.cat([p.grad.flatten() for p in net.parameters()])  # type: ignore[union-attr]

    found: dict[str, dict[str, float]] = {}
    full, whole = timed(lambda: gradient("full", group))
    ways = (("full", "full", group), ("cache", "cache", group), ("cache, rows alone", "cache", 1))
    for name, mode, micro_batch in ways:
        got, seconds = (full, whole) if mode == "full" else timed(lambda m=mode, b=micro_batch: gradient(m, b))
        found[name] = {
            "cpu_s": seconds,
            "speedup": whole / seconds,
            "tokens": forwarded_tokens(length, [tokens] * group, micro_batch, mode),
            "difference": float((got - full).norm() / full.norm()),
        }
    return found


def trajectory(net: LlamaForCausalLM, turns: int, k: int) -> dict[str, dict[str, Any]]:
    """Return CPU seconds and prefilled tokens of k greedy completions at every turn of one trajectory."""
    whole = ids(7, 300 + 120 * (turns - 1))
    prompts = [whole[: 300 + 120 * turn] for turn in range(turns)]
    uniforms = torch.full((k, GREEDY.max_tokens), 0.5, dtype=torch.float64)

    def copies() -> list[list[list[int]]]:
        return [_copied(net, prompt, k) for prompt in prompts]

    def apart() -> list[list[list[int]]]:
        return [decode(net, GrowingCache(net).prefill("", p), uniforms, GREEDY, NEVER)[0] for p in prompts]

    def growing() -> list[list[list[int]]]:
        cache = GrowingCache(net)
        prefills = [cache.prefill(f"t/{turn}", prompt) for turn, prompt in enumerate(prompts)]
        counted.append(sum(prefill.tokens for prefill in prefills))
        return [d[0] for d in decode_together(net, prefills, [uniforms] * turns, GREEDY, NEVER)]

    counted: list[int] = []
    each = sum(map(len, prompts))
    expected, plain = timed(copies)
    found: dict[str, dict[str, Any]] = {
        f"{k} copies": {"cpu_s": plain, "speedup": 1.0, "tokens": k * each, "same": True}
    }
    for name, work in (("one prefill a turn", apart), ("one growing cache", growing)):
        got, seconds = timed(work)
        tokens = each if work is apart else counted[0]
        found[name] = {"cpu_s": seconds, "speedup": plain / seconds, "tokens": tokens, "same": got == expected}
    return found


@torch.inference_mode()
def _copied(net: LlamaForCausalLM, prompt: Sequence[int], k: int) -> list[list[int]]:
    """Decode k copies of a prompt, each prefilled."""
    cache = DynamicCache(config=net.config)
    tokens = forward(net, torch.tensor([list(prompt)] * k), cache, keep=1)[:, -1].argmax(-1)
    columns = [tokens]
    for _ in range(GREEDY.max_tokens - 1):
        tokens = forward(net, tokens[:, None], cache, keep=1)[:, -1].argmax(-1)
        columns.append(tokens)
    return torch.stack(columns, 1).tolist()


def decoding(net: LlamaForCausalLM, pivots: int, k: int) -> dict[str, dict[str, Any]]:
    """Return CPU seconds and tokens per second of decoding many prompts one by one and together, prefill apart."""
    prompts = [ids(20 + p, 60 + 37 * p % 540) for p in range(pivots)]
    found: dict[str, dict[str, Any]] = {}
    for rows in (k, 1):
        prefills = [GrowingCache(net).prefill("", prompt) for prompt in prompts]
        uniforms = torch.full((rows, GREEDY.max_tokens), 0.5, dtype=torch.float64)
        one, plain = timed(lambda p=prefills, u=uniforms: [decode(net, each, u, GREEDY, NEVER)[0] for each in p])
        drawn, seconds = timed(lambda p=prefills, u=uniforms: decode_together(net, p, [u] * pivots, GREEDY, NEVER))
        tokens = pivots * rows * GREEDY.max_tokens
        name = f"{pivots} prompts x {rows}"
        found[f"{name}, one by one"] = {"cpu_s": plain, "speedup": 1.0, "tokens_per_s": tokens / plain, "same": True}
        found[f"{name}, together"] = {
            "cpu_s": seconds,
            "speedup": plain / seconds,
            "tokens_per_s": tokens / seconds,
            "same": [d[0] for d in drawn] == one,
        }
    return found


def main(arguments: Arguments) -> int:
    """Measure, print, and return the exit code."""
    torch.set_num_threads(1)
    net = model()
    forward(net, torch.tensor([ids(0, 64)]))  # what is paid once is paid here
    results: dict[str, Any] = {}
    for shape in arguments.groups:
        results["gradient P {} R {} G {}".format(*shape)] = gradients(net, shape)
    results[f"{arguments.turns} turns"] = trajectory(net, arguments.turns, arguments.k)
    results["decoding"] = decoding(net, arguments.pivots, arguments.k)
    missed = []
    for title, ways in results.items():
        print(title)
        for name, figures in ways.items():
            print(f"  {name:32}" + "  ".join(f"{key} {_shown(value)}" for key, value in figures.items()))
            if figures.get("difference", 0) > LARGEST_DIFFERENCE or not figures.get("same", True):
                missed.append(f"{title}, {name}: not the same as the plain way")
            if title.startswith("gradient") and name != "full" and figures["speedup"] < LEAST_SPEEDUP:
                missed.append(f"{title}, {name}: {figures['speedup']:.2f} times, less than {LEAST_SPEEDUP}")
    for line in missed:
        print("MISSED", line)
    print("JSON", json.dumps(results))
    return 1 if missed else 0


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
