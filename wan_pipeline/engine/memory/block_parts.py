"""What the two forwards of a block that save memory have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn

from wan_pipeline.engine.attention.backends import attend_into
from wan_pipeline.engine.attention.split_heads import SplitHeads

TEXT_TOKENS = 512
"""Cross-attention reads an image's tokens, if any, before this many of the text; diffusers hard-codes it as well."""
HEADS = 8
"""Attention heads at a time."""


@dataclass(frozen=True)
class Timesteps:
    """Timestep projections for the blocks. TI2V has per-token timestep embeddings, but only two distinct timesteps."""

    values: torch.Tensor
    """(distinct timesteps, 6, width)."""
    of_token: torch.Tensor | None = None
    """(batch, tokens), indices into `values`; None if all tokens share one timestep."""


def attend(attn: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, target: torch.Tensor) -> None:
    """Write the attention of some heads at a time into `target`, which may be `query`; all (batch, tokens, width)."""
    by_head = [tensor.view(*tensor.shape[:2], attn.heads, -1) for tensor in (query, key, value, target)]
    if isinstance(attn.processor, SplitHeads):
        attn.processor.attend(*by_head)
        return
    for heads in chunks(attn.heads, HEADS):
        query, key, value, output = (tensor[:, :, heads] for tensor in by_head)
        attend_into(output, query, key, value, attn.processor._attention_backend)


def attention_of(attn: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The attention of all heads at once, (batch, tokens, width) as all that is given."""
    by_head = (tensor.view(*tensor.shape[:2], attn.heads, -1) for tensor in (query, key, value))
    attended: torch.Tensor = dispatch_attention_fn(*by_head, attn_mask=None, backend=attn.processor._attention_backend)
    return attended.flatten(2)


def chunks(length: int, most: int) -> list[slice]:
    """A length in parts of at most `most`."""
    return [slice(start, min(start + most, length)) for start in range(0, length, most)]
