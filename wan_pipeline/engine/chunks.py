"""A transformer that computes a part of the tokens at a time, and writes the results where its input was.

Only attention needs all tokens at once. Done for all at once, norms, rotary embedding and feed-forward layers hold
twelve activations of the model's width and more; in parts five are left: the tokens, query, key, value, and what
attention makes of them. The operations are those of diffusers 0.42.1 on fewer rows: equal but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import WanTransformerBlock

TEXT_TOKENS = 512
"""Of what cross-attention reads these are the text's, behind those of an image; diffusers has the number fixed too."""

Rotary = tuple[torch.Tensor, torch.Tensor]


@contextmanager
def chunked(transformer: torch.nn.Module, tokens: int) -> Iterator[None]:
    """Within the block the transformer computes at most `tokens` at a time; 0 changes nothing.

    VACE's further blocks and its output stay as they are. A cache that keeps a block's input (first-block cache) must
    not be used with it, for the input is written over.
    """
    blocks = [block for block in transformer.modules() if type(block) is WanTransformerBlock] if tokens else []
    before = {module: module.__dict__.get("forward") for module in (*blocks, transformer)}
    try:
        for block in blocks:
            block.forward = MethodType(_block(tokens), block)
        if blocks and type(transformer) is WanTransformer3DModel:
            transformer.forward = MethodType(_transformer(tokens), transformer)
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop("forward", None)
            if forward is not None:  # a library's hook, or a compiled one
                module.__dict__["forward"] = forward


def _block(tokens: int) -> Any:
    """The forward of a WanTransformerBlock."""

    def forward(
        block: Any, hidden: torch.Tensor, context: torch.Tensor, times: torch.Tensor, rotary: Rotary
    ) -> torch.Tensor:
        parts = _parts(hidden.shape[1], tokens)
        _self_attention(block, hidden, times, rotary, parts)
        for part in parts:
            rows = hidden[:, part]
            rows += _cross_attention(block.attn2, block.norm2(rows.float()).type_as(rows), context)
            shift, scale, gate = _modulation(block, times, part)[3:]
            normal = (block.norm3(rows.float()) * (1 + scale) + shift).type_as(rows)
            rows.copy_(rows.float() + block.ffn(normal).float() * gate)
        return hidden

    return forward


def _transformer(tokens: int) -> Any:
    """The forward of a WanTransformer3DModel; `attention_kwargs` (LoRA scales of peft) are not for us."""

    def forward(
        model: Any,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_image: torch.Tensor | None = None,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        rotary = model.rope(hidden_states)
        grid = [side // patch for side, patch in zip(hidden_states.shape[2:], model.config.patch_size, strict=True)]
        hidden = model.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()
        length = timestep.shape[1] if timestep.ndim == 2 else None
        time, times, text, image = model.condition_embedder(
            timestep.flatten(), encoder_hidden_states, encoder_hidden_states_image, timestep_seq_len=length
        )
        times = times.unflatten(1 if length is None else 2, (6, -1))
        context = text if image is None else torch.concat([image, text], dim=1)
        for block in model.blocks:
            hidden = block(hidden, context, times, rotary)
        output = _unpatched(model, _head(model, hidden, time, tokens), grid)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    return forward


def _self_attention(block: Any, hidden: torch.Tensor, times: torch.Tensor, rotary: Rotary, parts: list[slice]) -> None:
    attn = block.attn1
    shape = (*hidden.shape[:2], attn.inner_dim)
    query, key, value = (hidden.new_empty(shape) for _ in range(3))
    for part in parts:
        rows = hidden[:, part]
        shift, scale, _ = _modulation(block, times, part)[:3]
        normal = (block.norm1(rows.float()) * (1 + scale) + shift).type_as(rows)
        query[:, part] = _rotated(attn.norm_q(attn.to_q(normal)), attn.heads, rotary, part)
        key[:, part] = _rotated(attn.norm_k(attn.to_k(normal)), attn.heads, rotary, part)
        value[:, part] = attn.to_v(normal)
    attended = _attend(attn, query, key, value)
    del query, key, value
    for part in parts:
        rows = hidden[:, part]
        gate = _modulation(block, times, part)[2]
        rows.copy_(rows.float() + attn.to_out[1](attn.to_out[0](attended[:, part])) * gate)


def _cross_attention(attn: Any, rows: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    query = attn.norm_q(attn.to_q(rows))
    beside = context.shape[1] - TEXT_TOKENS if attn.add_k_proj is not None else 0
    text, image = context[:, beside:], context[:, :beside]
    attended = _attend(attn, query, attn.norm_k(attn.to_k(text)), attn.to_v(text))
    if attn.add_k_proj is not None:
        attended += _attend(attn, query, attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image))
    output: torch.Tensor = attn.to_out[1](attn.to_out[0](attended))
    return output


def _attend(attn: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    heads = (tensor.view(*tensor.shape[:2], attn.heads, -1) for tensor in (query, key, value))
    backend = attn.processor._attention_backend
    attended: torch.Tensor = dispatch_attention_fn(*heads, attn_mask=None, backend=backend)
    return attended.flatten(2, 3).type_as(query)


def _rotated(rows: torch.Tensor, heads: int, rotary: Rotary, part: slice) -> torch.Tensor:
    cos, sin = rotary[0][:, part, :, 0::2], rotary[1][:, part, :, 1::2]
    even, odd = rows.view(*rows.shape[:2], heads, -1, 2).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(2).type_as(rows)


def _modulation(block: Any, times: torch.Tensor, part: slice) -> tuple[torch.Tensor, ...]:
    """Shift, scale and gate of self-attention, then of the feed-forward; of these tokens, if each has its own."""
    if times.ndim == 4:
        mine = block.scale_shift_table.unsqueeze(0) + times[:, part].float()
        return tuple(piece.squeeze(2) for piece in mine.chunk(6, dim=2))
    return tuple((block.scale_shift_table + times.float()).chunk(6, dim=1))


def _head(model: Any, hidden: torch.Tensor, time: torch.Tensor, tokens: int) -> torch.Tensor:
    rows = []
    for part in _parts(hidden.shape[1], tokens):
        if time.ndim == 3:
            mine = model.scale_shift_table.unsqueeze(0) + time[:, part].unsqueeze(2)
            shift, scale = (piece.squeeze(2) for piece in mine.chunk(2, dim=2))
        else:
            shift, scale = (model.scale_shift_table + time.unsqueeze(1)).chunk(2, dim=1)
        normal = model.norm_out(hidden[:, part].float()) * (1 + scale) + shift
        rows.append(model.proj_out(normal.type_as(hidden)))
    return torch.cat(rows, dim=1)


def _unpatched(model: Any, rows: torch.Tensor, grid: list[int]) -> torch.Tensor:
    pieces = rows.reshape(rows.shape[0], *grid, *model.config.patch_size, -1)
    return pieces.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def _parts(length: int, tokens: int) -> list[slice]:
    return [slice(start, min(start + tokens, length)) for start in range(0, length, tokens)]
