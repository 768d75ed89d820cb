"""Tokens drawn from a model: one prefill per prompt, or per trajectory; one decode batch for n completions.

`model.py` calls it with rendered prompts. The turns of a trajectory continue one growing cache, so that they cost one
prefill of the longest prefix instead of one each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from pivot_envs.errors import PolicyError
from pivot_envs.records import Sampling
from pivot_envs.trainer.prefix import forward

Drawn = tuple[list[list[int]], list[list[float]]]
"""Token ids and log-probabilities of each completion of one prompt."""


# Prefill ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prefill:
    """A prompt that went through the model."""

    logits_1V: Tensor
    """Of the token after the prompt."""
    cache: DynamicCache
    """Its keys and values, one row; the caller's own to change only where `shared` is False."""
    shared: bool
    """The cache goes on growing with the next prompt; `layers` stay as they are."""
    tokens: int
    """Token positions the model ran for it."""
    length: int
    """Tokens of the prompt."""
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values by layer, where the cache is shared."""
    config: Any
    """The model's, of which caches are made."""

    def expanded(self, rows: int) -> DynamicCache:
        """Return a cache of that many rows that may grow; a shared one is copied and stays as it is."""
        if not self.shared:
            self.cache.batch_repeat_interleave(rows)
            return self.cache
        copy = DynamicCache(config=self.config)
        for (keys, values), layer in zip(self.layers, copy.layers, strict=True):
            layer.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
        return copy


class GrowingCache:
    """Keys and values of the last prompt, continued by the next prompt of the same trajectory.

    It keeps the longest common prefix of the two, so templates that drop earlier thinking share what comes before it.
    Prompts of different trajectories never share, though their system prompts may be equal: a cache filled in other
    portions differs in the last bits, and what is drawn at a trajectory must not depend on its neighbours in the call
    (a profile resumed after a kill has other neighbours). Sliding windows forget what a shorter prefix would need, and
    caches of other kinds may, so those models run every prompt whole.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._trajectory = ""
        self._ids: list[int] = []
        self._cache: DynamicCache | None = None
        self._weights: tuple[int, ...] = ()

    @torch.inference_mode()
    def prefill(self, prompt_id: str, ids: Sequence[int]) -> Prefill:
        """Run what of the prompt is not in the cache; at least its last token, whose logits are needed."""
        trajectory = prompt_id.rpartition("/")[0]
        cache, kept = self._continued(trajectory, ids)
        self._cache = None  # until the forward has succeeded
        device = next(self.model.parameters()).device
        rest_1T = torch.tensor([list(ids[kept:])], dtype=torch.long, device=device)
        logits_1V = forward(self.model, rest_1T, cache, keep=1)[:, -1]
        shared = _croppable(cache)
        if shared and trajectory:
            self._trajectory, self._ids, self._cache = trajectory, list(ids), cache
            self._weights = self._versions()
        layers = tuple((layer.keys, layer.values) for layer in cache.layers) if shared else ()
        return Prefill(logits_1V, cache, shared, len(ids) - kept, len(ids), layers, self.model.config)

    def _continued(self, trajectory: str, ids: Sequence[int]) -> tuple[DynamicCache, int]:
        """Return the cache to go on with and how many of these ids it holds."""
        cache = self._cache
        if cache is None or trajectory != self._trajectory or self._weights != self._versions():
            return DynamicCache(config=self.model.config), 0
        pairs = zip(self._ids, ids[:-1], strict=False)
        kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if kept == 0:
            return DynamicCache(config=self.model.config), 0
        if kept < len(self._ids):
            cache.crop(kept - len(self._ids))
        return cache, kept

    def _versions(self) -> tuple[int, ...]:
        """Count changes to the weights: keys of older weights are of no use."""
        return tuple(parameter._version for parameter in self.model.parameters())


def _croppable(cache: DynamicCache) -> bool:
    """Say whether every layer keeps every key it has seen, in the one form we know."""
    return all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers)


# Decoding -----------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def decode(
    model: nn.Module, prefill: Prefill, uniforms_GT: Tensor, sampling: Sampling, stop_ids: frozenset[int]
) -> Drawn:
    """Return what is drawn for one prompt, token by token; finished rows leave the batch."""
    count, limit = uniforms_GT.shape
    logits_GV = prefill.logits_1V.expand(count, -1)
    cache = prefill.expanded(count)
    token_ids: list[list[int]] = [[] for _ in range(count)]
    logprobs: list[list[float]] = [[] for _ in range(count)]
    rows = list(range(count))
    for step in range(limit):
        tokens_G, logprobs_G = draw(logits_GV, uniforms_GT[rows, step], sampling)
        drawn = tokens_G.tolist()
        for row, token, value in zip(rows, drawn, logprobs_G.tolist(), strict=True):
            token_ids[row].append(token)
            logprobs[row].append(value)
        alive = [place for place, token in enumerate(drawn) if token not in stop_ids]
        if not alive or step == limit - 1:
            break
        if len(alive) < len(rows):
            kept = torch.tensor(alive, device=tokens_G.device)
            cache.batch_select_indices(kept)
            tokens_G, rows = tokens_G[kept], [rows[place] for place in alive]
        logits_GV = forward(model, tokens_G[:, None], cache, keep=1)[:, -1]
    return token_ids, logprobs


def draw(logits_GV: Tensor, uniforms_G: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Draw one token per row by inverting the distribution at its uniform number.

    Returns tokens and their log-probabilities under exactly the distribution drawn from: temperature applied, and with
    top_p < 1 cut and renormalised. Temperature 0 takes the largest logit, with its log-probability at temperature 1.
    """
    logprobs_GV = torch.log_softmax(logits_GV.float() / (sampling.temperature or 1.0), -1)
    if sampling.temperature == 0:
        tokens_G = logits_GV.argmax(-1)
    else:
        if sampling.top_p < 1:
            logprobs_GV = _nucleus(logprobs_GV, sampling.top_p)
        cumulative_GV = logprobs_GV.double().exp().cumsum(-1)
        points_G1 = uniforms_G[:, None] * cumulative_GV[:, -1:]
        tokens_G = torch.searchsorted(cumulative_GV, points_G1, right=True)[:, 0].clamp(max=logits_GV.shape[-1] - 1)
    chosen_G = logprobs_GV.gather(-1, tokens_G[:, None])[:, 0]
    if not bool(torch.isfinite(chosen_G).all()):
        raise PolicyError(
            "the model's logits are not finite: its weights are damaged, or the learning rate is too high"
        )
    return tokens_G, chosen_G


def _nucleus(logprobs_GV: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of most likely tokens with mass >= top_p, renormalised."""
    ordered_GV, order_GV = logprobs_GV.sort(dim=-1, descending=True, stable=True)
    before_GV = ordered_GV.exp().cumsum(-1) - ordered_GV.exp()
    cut_GV = ordered_GV.masked_fill(before_GV >= top_p, float("-inf"))
    return torch.log_softmax(torch.empty_like(cut_GV).scatter_(-1, order_GV, cut_GV), -1)
