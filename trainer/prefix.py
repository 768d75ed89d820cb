"""Log-probabilities of completions that share one prompt, with and without gradient.

Mode "cache" runs the prompt once, keeps its keys and values as leaves, runs micro-batches of completions against them
and sends the summed leaf gradients back through the prompt in one backward pass: P + sum of R tokens instead of
G (P + R), and the exact gradient (relative difference below 1e-6 in float32). Mode "full" runs every row whole: the
reference the first is checked against, and the way for caches we do not know. Float32 throughout.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from pivot_envs.errors import ConfigError
from pivot_envs.trainer.config import PrefixMode

Ids = Sequence[int]

GroupLoss = Callable[[Tensor, Tensor, list[int]], Tensor]
"""(logprobs_GT, mask_GT, rows) -> scalar share of the step's loss; `rows` are the indices of these G in the group."""


class UnknownCache(ConfigError):
    """The model keeps its past in a form whose gradient we cannot vouch for; use prefix_mode "full"."""


def forward(model: nn.Module, ids_GT: Tensor, cache: Any = None, keep: int | Tensor = 0, **more: Any) -> Tensor:
    """Run the model and return its logits at the kept positions; `cache`, if given, grows in place."""
    arguments: dict[str, Any] = {"input_ids": ids_GT, "use_cache": cache is not None, "logits_to_keep": keep, **more}
    if cache is not None:
        arguments[_cache_argument(model.forward)] = cache
    logits = model(**arguments).logits
    assert isinstance(logits, Tensor)
    return logits


@functools.lru_cache(maxsize=8)
def _cache_argument(method: Callable[..., Any]) -> str:
    """Name of the cache argument: transformers renames `past_key_values` to `cache` between 5.x releases."""
    return "cache" if "cache" in inspect.signature(method).parameters else "past_key_values"


def token_logprobs(logits_GTV: Tensor, ids_GT: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities of the ids under the distribution at this temperature, in float32."""
    logprobs = torch.log_softmax(logits_GTV.float() / temperature, -1)
    return logprobs.gather(-1, ids_GT[..., None])[..., 0]


def padded(sequences: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return right-padded ids and the mask of real positions. Padding is by length: an EOS id is never masked."""
    width = max(len(s) for s in sequences)
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(list(sequence), dtype=torch.long)
        mask[row, : len(sequence)] = True
    return ids.to(device), mask.to(device)


def full_logprobs(
    model: nn.Module, prompts: Sequence[Ids], completions: Sequence[Ids], temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return (logprobs_GT, mask_GT) of completions, each behind its own prompt, every row run whole.

    Logits are computed only from the shortest prompt's last token on. Rows are right-padded; a causal model's real
    positions do not see the padding behind them.
    """
    device = next(model.parameters()).device
    rows = [[*p, *c] for p, c in zip(prompts, completions, strict=True)]
    ids_GT, _ = padded(rows, device)
    completion_ids_GT, mask_GT = padded(completions, device)
    first = min(len(p) for p in prompts) - 1
    kept = torch.arange(first, ids_GT.shape[1] - 1, device=device)
    logprobs_GK = token_logprobs(forward(model, ids_GT, keep=kept), ids_GT[:, first + 1 :], temperature)
    starts_G = torch.tensor([len(p) - 1 - first for p in prompts], device=device)
    columns_GT = starts_G[:, None] + torch.arange(completion_ids_GT.shape[1], device=device)
    return logprobs_GK.gather(1, columns_GT.clamp(max=logprobs_GK.shape[1] - 1)), mask_GT


def group_logprobs(
    model: nn.Module,
    prompt_ids: Ids,
    completions: Sequence[Ids],
    temperature: float = 1.0,
    micro_batch: int = 8,
    mode: PrefixMode = "cache",
) -> list[Tensor]:
    """Return the log-probabilities of each completion (its own length), without gradient."""
    logprobs: list[Tensor] = [torch.empty(0)] * len(completions)
    with torch.no_grad():
        prefix = _Prefix(model, prompt_ids) if mode == "cache" else None
        for rows in micro_batches(completions, micro_batch):
            ids = [completions[row] for row in rows]
            if prefix is None:
                logprobs_GT, _ = full_logprobs(model, [prompt_ids] * len(rows), ids, temperature)
            else:
                logprobs_GT, _ = prefix.logprobs(ids, temperature)
            for place, row in enumerate(rows):
                logprobs[row] = logprobs_GT[place, : len(completions[row])].clone()
    return logprobs


def group_backward(
    model: nn.Module,
    prompt_ids: Ids,
    completions: Sequence[Ids],
    loss: GroupLoss,
    temperature: float = 1.0,
    micro_batch: int = 8,
    mode: PrefixMode = "cache",
) -> None:
    """Add the gradient of the group's loss, summed over micro-batches, to the parameters' `grad`."""
    prefix = _Prefix(model, prompt_ids) if mode == "cache" else None
    for rows in micro_batches(completions, micro_batch):
        ids = [completions[row] for row in rows]
        if prefix is None:
            logprobs_GT, mask_GT = full_logprobs(model, [prompt_ids] * len(rows), ids, temperature)
        else:
            logprobs_GT, mask_GT = prefix.logprobs(ids, temperature)
        torch.autograd.backward(loss(logprobs_GT, mask_GT, rows))
    if prefix is not None:
        prefix.backward()


def gradient_difference(
    model: nn.Module, prompt_ids: Ids, completions: Sequence[Ids], loss: GroupLoss, temperature: float, micro_batch: int
) -> float:
    """Return ||cache - full|| / ||full|| of the gradient of one group's loss; leaves every `grad` cleared.

    The full rows run one by one: each is then free of its siblings, and no more memory is needed than for one.

    Raises:
        UnknownCache: the model cannot share a prefix at all.
    """
    gradients = []
    ways: tuple[tuple[PrefixMode, int], ...] = (("cache", micro_batch), ("full", 1))
    for mode, size in ways:
        model.zero_grad(set_to_none=True)
        group_backward(model, prompt_ids, completions, loss, temperature, size, mode)
        gradients.append([None if p.grad is None else p.grad.clone() for p in model.parameters()])
    model.zero_grad(set_to_none=True)
    difference = norm = 0.0
    for cached, whole in zip(*gradients, strict=True):
        if cached is None and whole is None:
            continue
        one = torch.zeros(()) if cached is None else cached.double()
        two = torch.zeros(()) if whole is None else whole.double()
        difference += float((one - two).square().sum())
        norm += float(two.square().sum())
    return (difference / norm) ** 0.5 if norm else (0.0 if difference == 0 else float("inf"))


def micro_batches(completions: Sequence[Ids], size: int) -> Iterator[list[int]]:
    """Yield row indices in batches of `size`, longest completions together, so that little is padding."""
    order = sorted(range(len(completions)), key=lambda row: -len(completions[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def forwarded_tokens(prompt_length: int, lengths: Sequence[int], micro_batch: int, mode: PrefixMode) -> int:
    """Return how many token positions one pass over a group runs through the model, padding included."""
    ordered = sorted(lengths, reverse=True)
    batches = [ordered[i : i + micro_batch] for i in range(0, len(ordered), micro_batch)]
    if mode == "cache":
        return prompt_length + sum(len(b) * b[0] for b in batches)
    return sum(len(b) * (prompt_length + b[0]) for b in batches)


class _Prefix:
    """A prompt run once: its keys, values and next-token logits as leaves that collect gradient."""

    def __init__(self, model: nn.Module, prompt_ids: Ids) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.cache = DynamicCache(config=model.config)
        ids = torch.tensor([list(prompt_ids)], dtype=torch.long, device=self.device)
        logits_1V = forward(model, ids, self.cache, keep=1)[:, -1]
        for layer in self.cache.layers:
            if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) or not layer.is_initialized:
                raise UnknownCache(
                    f"{type(model).__name__} keeps a {type(layer).__name__} cache; shared-prefix gradients are known "
                    'for full and sliding-window attention only: set prefix_mode="full"'
                )
        self.roots = [logits_1V] + [kv for layer in self.cache.layers for kv in (layer.keys, layer.values)]
        self.leaves = [root.detach().requires_grad_(root.requires_grad) for root in self.roots]

    def logprobs(self, completions: Sequence[Ids], temperature: float) -> tuple[Tensor, Tensor]:
        """Return (logprobs_GT, mask_GT) of completions that continue this prompt."""
        ids_GT, mask_GT = padded(completions, self.device)
        first_G1V = self.leaves[0].expand(len(completions), -1)[:, None]
        logits_GTV = torch.cat([first_G1V, forward(self.model, ids_GT, self._expanded(len(completions)))[:, :-1]], 1)
        return token_logprobs(logits_GTV, ids_GT, temperature), mask_GT

    def backward(self) -> None:
        """Send what the leaves have collected through the prompt."""
        pairs = [(root, leaf.grad) for root, leaf in zip(self.roots, self.leaves, strict=True) if leaf.grad is not None]
        if pairs:
            torch.autograd.backward([root for root, _ in pairs], [grad for _, grad in pairs])

    def _expanded(self, rows: int) -> DynamicCache:
        cache = DynamicCache(config=self.model.config)
        for index, (source, layer) in enumerate(zip(self.cache.layers, cache.layers, strict=True)):
            keys, values = self.leaves[1 + 2 * index], self.leaves[2 + 2 * index]
            layer.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
            if isinstance(layer, DynamicSlidingWindowLayer):
                # A window layer holds fewer keys than it has seen; without the count, positions and mask are wrong.
                layer.cumulative_length = source.cumulative_length
        return cache
