"""A transformer that computes with little memory beside its weights, and writes the results where its input was.

Only attention needs all tokens at once. The libraries' own forward holds twelve activations of the model's width and
more at its height; here it is four and a half: the tokens, query, key and value. Norms and rotary embedding take some
rows at a time, attention some heads (its output takes the query's place), the feed-forward layers a part of the
tokens. The operations are those of diffusers 0.42.1 on fewer rows: equal but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import WanTransformerBlock

from wan_pipeline.planning.transformer import CHUNK_ROWS

TEXT_TOKENS = 512
"""Of what cross-attention reads these are the text's, behind those of an image; diffusers has the number fixed too."""
HEADS = 8
"""Heads of attention at a time."""

Rotary = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class _Times:
    """What the blocks are told of the time. The tokens of TI2V have each their own, but there are only two of them."""

    values: torch.Tensor
    """(distinct times, 6, width)."""
    of_token: torch.Tensor | None = None
    """(batch, tokens), indices; None where all have the first one's."""


@contextmanager
def chunked(transformer: torch.nn.Module, tokens: int, kept: int = 0, *, compiled: bool = False) -> Iterator[None]:
    """Within the block the feed-forward layers compute at most `tokens` at a time; 0 changes nothing.

    The first `kept` blocks leave their input as it is, for a cache that looks at it. `compiled`: what is not a product
    or attention is compiled. VACE's further blocks and its output stay as they are.
    """
    blocks = [block for block in transformer.modules() if type(block) is WanTransformerBlock] if tokens else []
    pieces = _Pieces(compiled)
    before = {module: module.__dict__.get("forward") for module in (*blocks, transformer)}
    try:
        for number, block in enumerate(blocks):
            block.forward = MethodType(_block(tokens, pieces, keeps_input=number < kept), block)
        if blocks and type(transformer) is WanTransformer3DModel:
            transformer.forward = MethodType(_forward, transformer)
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop("forward", None)
            if forward is not None:  # a library's hook, or a compiled one
                module.__dict__["forward"] = forward


class _Pieces:
    """What is done with each row by itself. Compiled, each is one kernel."""

    def __init__(self, compiled: bool) -> None:
        make = torch.compile if compiled else _as_it_is
        self.normal, self.added, self.rotated = make(_normal), make(_added), make(_rotated)


def _block(tokens: int, pieces: _Pieces, *, keeps_input: bool) -> Any:
    """The forward of a WanTransformerBlock."""

    def forward(
        block: Any, hidden: torch.Tensor, context: torch.Tensor, times: _Times | torch.Tensor, rotary: Rotary
    ) -> torch.Tensor:
        mine = times if isinstance(times, _Times) else _Times(times)
        if keeps_input:
            hidden = hidden.clone()
        _self_attention(block, hidden, mine, rotary, tokens, pieces)
        _cross_attention(block, hidden, context)
        _feed_forward(block, hidden, mine, tokens, pieces)
        return hidden

    return forward


def _forward(
    model: Any,
    hidden_states: torch.Tensor,
    timestep: torch.Tensor,
    encoder_hidden_states: torch.Tensor,
    encoder_hidden_states_image: torch.Tensor | None = None,
    return_dict: bool = True,
    attention_kwargs: dict[str, Any] | None = None,  # LoRA scales of peft, which are not for us
) -> Any:
    """That of a WanTransformer3DModel."""
    rotary = model.rope(hidden_states)
    grid = [side // patch for side, patch in zip(hidden_states.shape[2:], model.config.patch_size, strict=True)]
    hidden = model.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()
    of_token = None
    if timestep.ndim == 2:
        timestep, of_token = torch.unique(timestep, return_inverse=True)
    time, times, text, image = model.condition_embedder(timestep, encoder_hidden_states, encoder_hidden_states_image)
    context = text if image is None else torch.concat([image, text], dim=1)
    mine = _Times(times.unflatten(1, (6, -1)), of_token)
    for block in model.blocks:
        hidden = block(hidden, context, mine, rotary)
    output = _unpatched(model, _head(model, hidden, time, of_token), grid)
    return Transformer2DModelOutput(sample=output) if return_dict else (output,)


def _self_attention(
    block: Any, hidden: torch.Tensor, times: _Times, rotary: Rotary, tokens: int, pieces: _Pieces
) -> None:
    attn, rows = block.attn1, _parts(hidden.shape[1], CHUNK_ROWS)
    normal = torch.empty_like(hidden)
    for part in rows:
        shift, scale, _ = _modulation(block, times, part, 0)
        normal[:, part] = pieces.normal(block.norm1, hidden[:, part], scale, shift)
    key, value = attn.to_k(normal), attn.to_v(normal)
    query = normal
    for part in _parts(hidden.shape[1], tokens):
        query[:, part] = attn.to_q(normal[:, part])
    for part in rows:
        cos, sin = rotary[0][:, part, :, 0::2], rotary[1][:, part, :, 1::2]
        query[:, part] = pieces.rotated(attn.norm_q, query[:, part], attn.heads, cos, sin)
        key[:, part] = pieces.rotated(attn.norm_k, key[:, part], attn.heads, cos, sin)
    _attend(attn, query, key, value, query)
    del key, value, normal
    attended = attn.to_out[1](attn.to_out[0](query))
    del query
    for part in rows:
        gate = _modulation(block, times, part, 0)[2]
        hidden[:, part] = pieces.added(hidden[:, part], attended[:, part], gate)


def _cross_attention(block: Any, hidden: torch.Tensor, context: torch.Tensor) -> None:
    attn, rows = block.attn2, _parts(hidden.shape[1], CHUNK_ROWS)
    query = torch.empty_like(hidden)
    for part in rows:
        query[:, part] = block.norm2(hidden[:, part].float())
    query = attn.to_q(query)
    for part in rows:
        query[:, part] = attn.norm_q(query[:, part])
    beside = context.shape[1] - TEXT_TOKENS if attn.add_k_proj is not None else 0
    text, image = context[:, beside:], context[:, :beside]
    attended = torch.empty_like(query)
    _attend(attn, query, attn.norm_k(attn.to_k(text)), attn.to_v(text), attended)
    if attn.add_k_proj is not None:
        _attend(attn, query, attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image), query)
        attended += query
    del query
    hidden += attn.to_out[1](attn.to_out[0](attended))


def _feed_forward(block: Any, hidden: torch.Tensor, times: _Times, tokens: int, pieces: _Pieces) -> None:
    for large in _parts(hidden.shape[1], tokens):
        normal = torch.empty_like(hidden[:, large])
        rows = _parts(normal.shape[1], CHUNK_ROWS)
        for part in rows:
            shift, scale, _ = _modulation(block, times, _within(large, part), 3)
            normal[:, part] = pieces.normal(block.norm3, hidden[:, _within(large, part)], scale, shift)
        made = block.ffn(normal)
        del normal
        for part in rows:
            here = _within(large, part)
            gate = _modulation(block, times, here, 3)[2]
            hidden[:, here] = pieces.added(hidden[:, here], made[:, part], gate)


def _attend(attn: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, target: torch.Tensor) -> None:
    """Some heads at a time into `target`, which may be `query`."""
    by_head = [tensor.view(*tensor.shape[:2], attn.heads, -1) for tensor in (query, key, value, target)]
    for part in _parts(attn.heads, HEADS):
        some = [tensor[:, :, part] for tensor in by_head]
        some[3].copy_(dispatch_attention_fn(*some[:3], attn_mask=None, backend=attn.processor._attention_backend))


def _normal(norm: Any, rows: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(shift, norm(rows.float()), 1 + scale)


def _added(rows: torch.Tensor, made: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(rows.float(), made.float(), gate)


def _rotated(norm: Any, rows: torch.Tensor, heads: int, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    even, odd = norm(rows).unflatten(2, (heads, -1, 2)).unbind(-1)
    turned = torch.stack((torch.addcmul(even * cos, odd, sin, value=-1), torch.addcmul(even * sin, odd, cos)), dim=-1)
    return turned.flatten(2)


def _as_it_is(function: Any) -> Any:
    return function


def _modulation(block: Any, times: _Times, part: slice, first: int) -> tuple[torch.Tensor, ...]:
    """Shift, scale and gate: of self-attention from the first of six on, of the feed-forward from the fourth."""
    three = (block.scale_shift_table + times.values.float())[:, first : first + 3]
    if times.of_token is None:
        return tuple(three.chunk(3, dim=1))
    found: tuple[torch.Tensor, ...] = three[times.of_token[:, part]].unbind(2)
    return found


def _head(model: Any, hidden: torch.Tensor, time: torch.Tensor, of_token: torch.Tensor | None) -> torch.Tensor:
    pieces = []
    both = model.scale_shift_table + time.unsqueeze(1)
    for part in _parts(hidden.shape[1], CHUNK_ROWS):
        mine = both.chunk(2, dim=1) if of_token is None else both[of_token[:, part]].unbind(2)
        normal = model.norm_out(hidden[:, part].float()) * (1 + mine[1]) + mine[0]
        pieces.append(model.proj_out(normal.type_as(hidden)))
    return torch.cat(pieces, dim=1)


def _unpatched(model: Any, rows: torch.Tensor, grid: list[int]) -> torch.Tensor:
    pieces = rows.reshape(rows.shape[0], *grid, *model.config.patch_size, -1)
    return pieces.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def _parts(length: int, most: int) -> list[slice]:
    return [slice(start, min(start + most, length)) for start in range(0, length, most)]


def _within(large: slice, part: slice) -> slice:
    return slice(large.start + part.start, large.start + part.stop)
