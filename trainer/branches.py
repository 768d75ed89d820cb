"""Many completions of several prompts decoded in one batch, each prompt's keys and values held once.

A step of a small model costs mostly its overhead, and that of a big one mostly memory traffic: both are paid once for
all rows here, and the prompt is not copied for its G completions. Attention over the prompts and over what was drawn
since is computed apart and normalised together, which is exact. It is used where a model's own attention is the plain
one, checked on the model itself at its first use; other models decode prompt by prompt in `sampling.py`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, DynamicCache

from pivot_envs.records import Sampling
from pivot_envs.trainer.prefix import forward
from pivot_envs.trainer.sampling import Drawn, Prefill, draw

logger = logging.getLogger(__name__)

ATTENTION = "pivot_envs_branches"
LOGIT_TOLERANCE = 1e-3
"""Largest difference of a log-prob from the model's own attention, in float32; measured: below 1e-5."""
PREFIX_BYTES = 512_000_000
"""Keys and values of prompts that are held side by side."""
WORTH = 0.8
"""The batch is packed anew when finished rows have left less than this share of it."""


class Branches:
    """The prompts of a batch, padded to equal length: what every completion attends to before its own tokens.

    Shapes: `_N` prompts, `_G` completions of each, `_B` = N G rows in that order, `_H` key heads, `_P` prompt
    positions, `_T` completion tokens, `_D` head width.
    """

    def __init__(self, prefills: Sequence[Prefill]) -> None:
        lengths = [prefill.length for prefill in prefills]
        device, dtype = prefills[0].layers[0][0].device, prefills[0].layers[0][0].dtype
        self.lengths_N = torch.tensor(lengths, device=device)
        positions_P = torch.arange(max(lengths), device=device)
        hidden_NP = positions_P[None] >= self.lengths_N[:, None]
        self.mask_N11P = torch.zeros(hidden_NP.shape, dtype=dtype, device=device).masked_fill(
            hidden_NP, torch.finfo(dtype).min
        )[:, None, None]
        self.layers = [
            tuple(_stacked([prefill.layers[index][side] for prefill in prefills], max(lengths)) for side in (0, 1))
            for index in range(len(prefills[0].layers))
        ]

    def keep(self, places_N: Tensor) -> None:
        """Go on with these prompts only."""
        self.lengths_N, self.mask_N11P = self.lengths_N[places_N], self.mask_N11P[places_N]
        self.layers = [tuple(states[places_N] for states in layer) for layer in self.layers]


def branch_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    branches: Branches,
    scaling: float | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attend from one new token per row to its prompt and to the tokens drawn since; transformers calls it."""
    keys_NHPD, values_NHPD = branches.layers[module.layer_idx]
    rows, query_heads, _, width = query.shape
    prompts, heads, length, _ = keys_NHPD.shape
    shape = (prompts, rows // prompts, heads, query_heads // heads)

    def by_prompt(states_BHX: Tensor) -> Tensor:
        """Rows of one prompt side by side: [B, H, heads per key head, X] -> [N, H, G heads per key head, X]."""
        return states_BHX.reshape(*shape, -1).transpose(1, 2).flatten(2, 3)

    query_BHQD = query.reshape(rows, heads, query_heads // heads, width) * (scaling or width**-0.5)
    before = by_prompt(query_BHQD) @ keys_NHPD.transpose(-1, -2) + branches.mask_N11P
    since = by_prompt(query_BHQD @ key.transpose(-1, -2))
    weights = torch.softmax(torch.cat([before, since], -1), -1, dtype=torch.float32).to(query.dtype)
    from_prompt = weights[..., :length] @ values_NHPD
    by_row = (prompts, heads, *shape[1::2], -1)
    own = weights[..., length:].reshape(by_row).transpose(1, 2).reshape(rows, heads, query_heads // heads, -1) @ value
    out = from_prompt.reshape(by_row).transpose(1, 2).reshape(rows, heads, query_heads // heads, width) + own
    return out.reshape(rows, 1, query_heads, width), None


AttentionInterface.register(ATTENTION, branch_attention)


@torch.inference_mode()
def branching(model: nn.Module, prefill: Prefill) -> bool:
    """Say whether this model's completions may be decoded together: measured, by one step both ways."""
    if not prefill.shared or getattr(model.config, "_attn_implementation", None) not in ("sdpa", "eager"):
        return False
    token_11 = prefill.logits_1V.argmax(-1)[:, None]
    own = torch.log_softmax(forward(model, token_11, prefill.expanded(1), keep=1)[0, -1].float(), -1)
    try:
        logits_BV = _step(model, token_11[:, 0], Branches([prefill]), DynamicCache(config=model.config), 0)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        logger.info("%s decodes prompt by prompt: %s", type(model).__name__, error)
        return False
    difference = float((torch.log_softmax(logits_BV[0].float(), -1) - own).abs().max())
    if difference > LOGIT_TOLERANCE:
        logger.info("%s decodes prompt by prompt: log-probs would differ by %.2g", type(model).__name__, difference)
    return difference <= LOGIT_TOLERANCE


def portions(prefills: Sequence[Prefill], counts: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of prompts that are decoded in one batch.

    All groups of a batch are padded to the largest, so it holds groups of like size; and the padded keys and values of
    its prompts stay within bounds.
    """
    taken: list[int] = []
    longest = 0
    for place in sorted(range(len(prefills)), key=lambda place: -counts[place]):
        prefill = prefills[place]
        each = sum(states.numel() * states.element_size() for layer in prefill.layers for states in layer)
        size = (len(taken) + 1) * max(longest, prefill.length) * each / prefill.length
        if taken and (size > PREFIX_BYTES or 2 * counts[place] <= counts[taken[0]]):
            yield taken
            taken, longest = [], 0
        taken.append(place)
        longest = max(longest, prefill.length)
    if taken:
        yield taken


@torch.inference_mode()
def decode_together(
    model: nn.Module,
    prefills: Sequence[Prefill],
    uniforms: Sequence[Tensor],
    sampling: Sampling,
    stop_ids: frozenset[int],
) -> list[Drawn]:
    """Return what is drawn for each prompt: as many completions as its uniforms have rows, as long as their columns."""
    batch = _Batch(prefills, uniforms)
    logits_BV = torch.cat([prefill.logits_1V for prefill in prefills]).repeat_interleave(batch.group, 0)
    suffix = DynamicCache(config=model.config)
    for step in range(max(each.shape[1] for each in uniforms)):
        tokens_B, logprobs_B = draw(logits_BV, batch.uniforms_BT[:, step], sampling)
        batch.record(step, tokens_B.tolist(), logprobs_B.tolist(), stop_ids)
        if not batch.alive:
            break
        packed_B = batch.packed()
        if packed_B is not None:
            tokens_B = tokens_B[packed_B]
            if step:
                suffix.batch_select_indices(packed_B)
        logits_BV = _step(model, tokens_B, batch.branches, suffix, step)
    return batch.drawn


class _Batch:
    """Which row of the batch draws for which completion. Rows without one are padding and draw for nobody."""

    def __init__(self, prefills: Sequence[Prefill], uniforms: Sequence[Tensor]) -> None:
        self.branches = Branches(prefills)
        self.drawn: list[Drawn] = [([[] for _ in each], [[] for _ in each]) for each in uniforms]
        self.limits = [each.shape[1] for each in uniforms]
        self.group = max(len(each) for each in uniforms)
        self.rows: list[tuple[int, int] | None] = [
            (n, g) if g < len(each) else None for n, each in enumerate(uniforms) for g in range(self.group)
        ]
        """(prompt, completion) of each row."""
        width = max(self.limits)
        self.uniforms_BT = torch.full((len(self.rows), width), 0.5, dtype=torch.float64, device=uniforms[0].device)
        for n, each in enumerate(uniforms):
            self.uniforms_BT[n * self.group : n * self.group + len(each), : each.shape[1]] = each

    @property
    def alive(self) -> int:
        """Completions that are still being drawn."""
        return sum(row is not None for row in self.rows)

    def record(self, step: int, tokens: list[int], logprobs: list[float], stop_ids: frozenset[int]) -> None:
        """Take down what was drawn, and let go of the completions that end with it."""
        for place, row in enumerate(self.rows):
            if row is not None:
                n, g = row
                self.drawn[n][0][g].append(tokens[place])
                self.drawn[n][1][g].append(logprobs[place])
                if tokens[place] in stop_ids or step + 1 == self.limits[n]:
                    self.rows[place] = None

    def packed(self) -> Tensor | None:
        """Leave out rows without a completion where that is worth it, and return the places of those that stay."""
        places: dict[int, list[int]] = {}
        for place, row in enumerate(self.rows):
            if row is not None:
                places.setdefault(place // self.group, []).append(place)
        group = max(map(len, places.values()))
        if len(places) * group > WORTH * len(self.rows):
            return None
        kept = [p for each in places.values() for p in [*each, *[-1 - each[0]] * (group - len(each))]]
        self.rows = [self.rows[p] if p >= 0 else None for p in kept]
        if len(places) < len(self.branches.lengths_N):
            self.branches.keep(torch.tensor(list(places), device=self.branches.lengths_N.device))
        self.group = group
        packed_B = torch.tensor([p if p >= 0 else -1 - p for p in kept], device=self.uniforms_BT.device)
        self.uniforms_BT = self.uniforms_BT[packed_B]
        return packed_B


@contextlib.contextmanager
def _attention(model: nn.Module) -> Iterator[None]:
    own = model.config._attn_implementation
    model.config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        model.config._attn_implementation = own


def _step(model: nn.Module, tokens_B: Tensor, branches: Branches, suffix: DynamicCache, step: int) -> Tensor:
    """Return the logits behind one new token per row, the `step`-th of its completion."""
    group = len(tokens_B) // len(branches.lengths_N)
    positions_B1 = (branches.lengths_N + step).repeat_interleave(group)[:, None]
    with _attention(model):
        logits = forward(model, tokens_B[:, None], suffix, keep=1, position_ids=positions_B1, branches=branches)
    return logits[:, -1]


def _stacked(states: Sequence[Tensor], length: int) -> Tensor:
    """Return [1, H, P, D] states of several prompts as one [N, H, P, D], zeros behind the shorter ones."""
    one = states[0]
    stacked = torch.zeros(len(states), one.shape[1], length, one.shape[3], dtype=one.dtype, device=one.device)
    for place, each in enumerate(states):
        stacked[place, :, : each.shape[2]] = each[0]
    return stacked
