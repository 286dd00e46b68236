"""Self-attention on two devices that have some of the tokens each (DeepSpeed-Ulysses, arXiv:2309.14509).

Each device gets query, key and value of all tokens for its half of the heads, attends, and gets the other half of
the heads back for its own tokens. Some heads are copied while others attend.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn

from wan_pipeline.engine.attention.exchange import Side
from wan_pipeline.engine.attention.rotary import Rotary, normed_rotary

GROUP = 8
"""Heads at a time: the first are waited for, and the last ones' results."""


@contextmanager
def splitting_heads(transformer: Any, side: Side) -> Iterator[None]:
    """Context manager: the transformer's self-attention is split between the two sides."""
    attentions = [module for name, module in transformer.named_modules() if name.endswith("attn1")]
    before = [attention.processor for attention in attentions]
    try:
        for attention, processor in zip(attentions, before, strict=True):
            attention.processor = SplitHeads(side, processor._attention_backend)
        yield
    finally:
        for attention, processor in zip(attentions, before, strict=True):
            attention.processor = processor


class SplitHeads:
    """A processor of diffusers' attention."""

    def __init__(self, side: Side, backend: Any) -> None:
        self._side = side
        self._attention_backend = backend

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, context: None, mask: None, rotary_emb: Rotary
    ) -> torch.Tensor:
        """The self-attention of this device's tokens, as diffusers' own processor computes it."""
        query = _rotated(attn.norm_q, attn.to_q(hidden_states), attn.heads, rotary_emb)
        key = _rotated(attn.norm_k, attn.to_k(hidden_states), attn.heads, rotary_emb)
        value = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        self.attend(query, key, value, query)
        attended: torch.Tensor = attn.to_out[1](attn.to_out[0](query.flatten(2)))
        return attended

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, target: torch.Tensor) -> None:
        """Write the attention of this device's tokens into `target`, which may be `query`.

        All are (batch, this device's tokens, heads, channels).
        """
        side, own, inputs = self._side, query.shape[1], (query, key, value)
        groups = _groups(query.shape[2])
        here, there = groups if side.is_first else reversed(groups)
        theirs = side.swap([side.parcel(*(_packed(rows[:, :, heads]) for rows in inputs)) for heads in there])
        is_free = side.mark()  # the other device's heads in `target`
        results, coming = [], side.join(theirs[0], *(rows[:, :, here[0]] for rows in inputs))
        for number, heads in enumerate(here):
            joined, ready = coming
            if number + 1 < len(here):
                coming = side.join(theirs[number + 1], *(rows[:, :, here[number + 1]] for rows in inputs))
            side.wait_for(ready)
            attended = dispatch_attention_fn(*joined, attn_mask=None, backend=self._attention_backend)
            mine, others = side.parts(attended, own)
            target[:, :, heads] = mine
            results.append(side.parcel(others.contiguous()))
        returned = zip(side.swap(results), there, strict=True)
        for done in [side.copy(parcel, [target[:, :, heads]], is_free) for parcel, heads in returned]:
            side.wait_for(done)


def _rotated(norm: Any, rows: torch.Tensor, heads: int, rotary: Rotary) -> torch.Tensor:
    """(batch, tokens, heads, channels), in the rows' dtype."""
    rotated = normed_rotary(norm, rows, heads, rotary[0][..., 0::2], rotary[1][..., 1::2])
    return rotated.type_as(rows).view(*rows.shape[:2], heads, -1)


def _groups(heads: int) -> tuple[list[slice], list[slice]]:
    """The heads of the first device and of the second, in equally many groups."""
    half = (heads + 1) // 2
    count = -(-half // GROUP)
    return _evenly(0, half, count), _evenly(half, heads, count)


def _evenly(start: int, stop: int, count: int) -> list[slice]:
    edges = [start + (stop - start) * number // count for number in range(count + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]


def _packed(rows: torch.Tensor) -> torch.Tensor:
    """A copy in one piece of memory: what it is of will be written to."""
    return rows.clone(memory_format=torch.contiguous_format)
