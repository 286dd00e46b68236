"""The forward of a block by our kernels: as little memory as the chunked forward, and fewer passes over it.

What is pointwise is done by one kernel each: norm and modulation; norm and rotary embedding; GELU; gate and sum. Layers
that multiply in int8 get their rows in int8 from the kernel before them, others in 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import LayerNorm, RMSNorm

from wan_pipeline.engine.attention.rotary import Rotary
from wan_pipeline.engine.fused.pointwise import LONGEST_ROW, add_rows, gelu_rows, norm_rows, rms_rows
from wan_pipeline.engine.memory.block_parts import TEXT_TOKENS, Timesteps, attend, chunks
from wan_pipeline.engine.memory.quantized_layers import Int8Linear


def suits(block: Any) -> bool:
    """Whether a WanTransformerBlock computes what these kernels do: its norms are plain, and no LoRA changes them."""
    layer_norms, rms_norms = [block.norm1, block.norm2, block.norm3], []
    for attn in (block.attn1, block.attn2):
        rms_norms += [attn.norm_q, attn.norm_k]
    is_known = all(isinstance(norm, LayerNorm) for norm in layer_norms)
    is_known = is_known and all(isinstance(norm, RMSNorm) for norm in rms_norms)
    gelu = block.ffn.net[0]
    is_short = max(gelu.proj.weight.shape) <= LONGEST_ROW
    return (
        is_known and is_short and gelu.approximate == "tanh" and not any(map(_is_changed, (*layer_norms, *rms_norms)))
    )


def fused_forward(
    block: Any, hidden: torch.Tensor, context: torch.Tensor, timesteps: Timesteps, rotary: Rotary, tokens: int
) -> None:
    """Write the block's output over `hidden`; the feed-forward layers take some `tokens` at a time."""
    rows, index = hidden.flatten(0, 1), _index(hidden, timesteps)
    six = (block.scale_shift_table + timesteps.values.float()).unbind(1)
    _self_attention(block, hidden, rows, six[:3], index, rotary)
    _cross_attention(block, hidden, rows, context, index)
    _feed_forward(block, rows, six[3:], index, tokens)


def _self_attention(
    block: Any,
    hidden: torch.Tensor,
    rows: torch.Tensor,
    modulation: tuple[torch.Tensor, ...],
    index: torch.Tensor,
    rotary: Rotary,
) -> None:
    """Add gated self-attention to the rows, in place."""
    attn, (shift, scale, gate) = block.attn1, modulation
    layers = (attn.to_q, attn.to_k, attn.to_v)
    normed = norm_rows(rows, 1 + scale, shift.contiguous(), index, block.norm1.eps, rounds=_take_rounded(layers))
    key, value = attn.to_k(normed), attn.to_v(normed)
    query = attn.to_q(normed)
    del normed
    rms_rows(key, attn.norm_k, rotary, attn.heads)
    rms_rows(query, attn.norm_q, rotary, attn.heads)
    attend(attn, *(tensor.view(hidden.shape) for tensor in (query, key, value, query)))
    del key, value
    add_rows(rows, attn.to_out[1](attn.to_out[0](query)), gate, index)


def _cross_attention(
    block: Any, hidden: torch.Tensor, rows: torch.Tensor, context: torch.Tensor, index: torch.Tensor
) -> None:
    """Add cross-attention to the text, and to an image's tokens if there are any, to the rows, in place."""
    attn, norm = block.attn2, block.norm2
    weight, bias = (tensor.float().expand(1, -1) for tensor in _affine(norm, rows))
    normed = norm_rows(rows, weight, bias, torch.zeros_like(index), norm.eps, rounds=_take_rounded((attn.to_q,)))
    query = attn.to_q(normed)
    del normed
    rms_rows(query, attn.norm_q, None)
    query = query.view(hidden.shape)
    image_tokens = context.shape[1] - TEXT_TOKENS if attn.add_k_proj is not None else 0
    text, image = context[:, image_tokens:], context[:, :image_tokens]
    attended = torch.empty_like(query)
    attend(attn, query, attn.norm_k(attn.to_k(text)), attn.to_v(text), attended)
    if attn.add_k_proj is not None:
        attend(attn, query, attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image), query)
        attended += query
    del query
    add_rows(rows, attn.to_out[1](attn.to_out[0](attended.flatten(0, 1))), None, index)


def _feed_forward(
    block: Any, rows: torch.Tensor, modulation: tuple[torch.Tensor, ...], index: torch.Tensor, tokens: int
) -> None:
    """Add the gated feed-forward output to the rows, in place."""
    first, last = block.ffn.net[0].proj, block.ffn.net[2]
    shift, scale, gate = modulation
    factor, shift = 1 + scale, shift.contiguous()
    for part in chunks(len(rows), tokens):
        normed = norm_rows(rows[part], factor, shift, index[part], block.norm3.eps, rounds=_take_rounded((first,)))
        inner = first(normed)
        del normed
        output = last(gelu_rows(inner, rounds=_take_rounded((last,))))
        del inner
        add_rows(rows[part], output, gate, index[part])


def _index(hidden: torch.Tensor, timesteps: Timesteps) -> torch.Tensor:
    """For each row the index of its timestep."""
    if timesteps.of_token is not None:
        return timesteps.of_token.flatten().int()
    batch, tokens = hidden.shape[:2]
    return torch.arange(batch, dtype=torch.int32, device=hidden.device).repeat_interleave(tokens)


def _affine(norm: Any, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    one = rows.new_ones(rows.shape[1])
    return (one if norm.weight is None else norm.weight, one * 0 if norm.bias is None else norm.bias)


def _take_rounded(layers: Iterable[Any]) -> bool:
    """Whether all these layers multiply in int8, without a LoRA, which takes rows in 16 bits."""
    return all(isinstance(layer, Int8Linear) and not _is_changed(layer) for layer in layers)


def _is_changed(module: torch.nn.Module) -> bool:
    """Whether hooks or another forward change what the module computes."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)
