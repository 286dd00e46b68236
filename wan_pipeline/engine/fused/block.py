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
from wan_pipeline.engine.fused.pointwise import add_rows, gelu_rows, norm_rows, rms_rows, round_rows
from wan_pipeline.engine.int8.rounded import LONGEST_ROW, Rounded
from wan_pipeline.engine.memory.block_parts import TEXT_TOKENS, Timesteps, attend, attention_of, chunks
from wan_pipeline.engine.memory.quantized_layers import Int8Linear


def suits(block: Any) -> bool:
    """Whether a WanTransformerBlock computes what these kernels do: its norms are plain, and no LoRA changes them."""
    layer_norms = [block.norm1, block.norm2, block.norm3]
    rms_norms = [norm for attn in (block.attn1, block.attn2) for norm in (attn.norm_q, attn.norm_k)]
    is_known = all(isinstance(norm, LayerNorm) for norm in layer_norms) and block.norm2.bias is not None
    is_known = is_known and all(isinstance(norm, RMSNorm) for norm in rms_norms)
    gelu = block.ffn.net[0]
    is_short = max(gelu.proj.weight.shape) <= LONGEST_ROW
    return (
        is_known and is_short and gelu.approximate == "tanh" and not any(map(_is_changed, (*layer_norms, *rms_norms)))
    )


def fused_forward(
    block: Any,
    hidden: torch.Tensor,
    context: torch.Tensor,
    timesteps: Timesteps,
    rotary: Rotary,
    tokens: int,
) -> None:
    """Write the block's output over `hidden`; the feed-forward layers take some `tokens` at a time."""
    index = rows_of(timesteps, hidden)
    six = (block.scale_shift_table + timesteps.values.float()).unbind(1)
    _self_attention(block, hidden, six[:3], index, rotary, tokens)
    _cross_attention(block, hidden, context, index)
    _feed_forward(block, hidden, six[3:], index, tokens)


def suits_last_norm(model: Any) -> bool:
    """Whether a WanTransformer3DModel's last norm is plain."""
    norm = model.norm_out
    return isinstance(norm, LayerNorm) and norm.weight is None and not _is_changed(norm)


def fused_last_norm(
    model: Any, hidden: torch.Tensor, embedding: torch.Tensor, of_token: torch.Tensor | None
) -> torch.Tensor:
    """What the model's last projection takes, (batch, tokens, width); `embedding` is (distinct timesteps, width)."""
    shift, scale = (model.scale_shift_table + embedding.float().unsqueeze(1)).unbind(1)
    index = rows_of(Timesteps(embedding, of_token), hidden)
    normed = norm_rows(hidden.flatten(0, 1), 1 + scale, shift.contiguous(), index, model.norm_out.eps, rounds=False)
    assert isinstance(normed, torch.Tensor)  # noqa: S101 - it was not to be rounded
    return normed.view(hidden.shape)


def _self_attention(
    block: Any,
    hidden: torch.Tensor,
    modulation: tuple[torch.Tensor, ...],
    index: torch.Tensor,
    rotary: Rotary,
    tokens: int,
) -> None:
    """Add gated self-attention to the hidden states, in place."""
    attn, (shift, scale, gate), rows = block.attn1, modulation, hidden.flatten(0, 1)
    rounds = _take_rounded((attn.to_q, attn.to_k, attn.to_v))
    normed = norm_rows(rows, 1 + scale, shift.contiguous(), index, block.norm1.eps, rounds=rounds)
    key, value = attn.to_k(normed), attn.to_v(normed)
    if isinstance(normed, Rounded):
        query = attn.to_q(normed)
    else:
        query = normed
        for part in chunks(len(rows), tokens):
            query[part] = attn.to_q(normed[part])
    del normed
    rms_rows(key, attn.norm_k, rotary, attn.heads)
    rms_rows(query, attn.norm_q, rotary, attn.heads)
    attend(attn, *(tensor.view(hidden.shape) for tensor in (query, key, value, query)))
    del key, value
    add_rows(rows, attn.to_out[1](attn.to_out[0](_given(query, attn.to_out[0]))), gate, index)


def _cross_attention(block: Any, hidden: torch.Tensor, context: torch.Tensor, index: torch.Tensor) -> None:
    """Add cross-attention to the text, and to an image's tokens if there are any, to the hidden states, in place."""
    attn, rows = block.attn2, hidden.flatten(0, 1)
    weight, bias = _affine(block.norm2)
    all_alike = torch.zeros_like(index)
    normed = norm_rows(rows, weight, bias, all_alike, block.norm2.eps, rounds=_take_rounded((attn.to_q,)))
    query = attn.to_q(normed)
    del normed
    rms_rows(query, attn.norm_q, None)
    query = query.view(hidden.shape)
    image_tokens = context.shape[1] - TEXT_TOKENS if attn.add_k_proj is not None else 0
    text, image = context[:, image_tokens:], context[:, :image_tokens]
    attended = attention_of(attn, query, attn.norm_k(attn.to_k(text)), attn.to_v(text))
    if attn.add_k_proj is not None:
        attended += attention_of(attn, query, attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image))
    del query
    update = attn.to_out[1](attn.to_out[0](_given(attended.flatten(0, 1), attn.to_out[0])))
    add_rows(rows, update, None, index)


def _feed_forward(
    block: Any, hidden: torch.Tensor, modulation: tuple[torch.Tensor, ...], index: torch.Tensor, tokens: int
) -> None:
    """Add the gated feed-forward output to the hidden states, in place."""
    first, last = block.ffn.net[0].proj, block.ffn.net[2]
    (shift, scale, gate), rows = modulation, hidden.flatten(0, 1)
    factor, shift = 1 + scale, shift.contiguous()
    for part in chunks(len(rows), tokens):
        normed = norm_rows(rows[part], factor, shift, index[part], block.norm3.eps, rounds=_take_rounded((first,)))
        inner = first(normed)
        del normed
        output = last(gelu_rows(inner, rounds=_take_rounded((last,))))
        del inner
        add_rows(rows[part], output, gate, index[part])


def rows_of(timesteps: Timesteps, hidden: torch.Tensor) -> torch.Tensor:
    """For each row of the flattened hidden states the index of its timestep, int32."""
    if timesteps.of_token is not None:
        return timesteps.of_token.flatten().int()
    batch, tokens = hidden.shape[:2]
    return torch.arange(batch, dtype=torch.int32, device=hidden.device).repeat_interleave(tokens)


def _affine(norm: LayerNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """The norm's weight and bias as tables of one row."""
    return norm.weight.float().unsqueeze(0), norm.bias.float().unsqueeze(0)


def _given(rows: torch.Tensor, layer: Any) -> torch.Tensor | Rounded:
    """The rows as the layer takes them."""
    return round_rows(rows) if _take_rounded((layer,)) else rows


def _take_rounded(layers: Iterable[Any]) -> bool:
    """Whether all these layers multiply in int8, without a LoRA, which takes rows in 16 bits."""
    return all(isinstance(layer, Int8Linear) and not layer.is_exact and not _is_changed(layer) for layer in layers)


def _is_changed(module: torch.nn.Module) -> bool:
    """Whether hooks or another forward change what the module computes."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)
