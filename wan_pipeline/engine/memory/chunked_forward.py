"""Chunked forward: peak activations of 4.5 times the hidden states, where the stock forward takes 12 times and more.

Only attention needs all tokens at once. Norms and rotary embedding take some rows at a time, attention some heads,
the feed-forward layers some of the tokens, and results are written where the input was: what remains is the tokens,
query, key and value, and the attention of a few heads. The operations are those of diffusers 0.42.1 (the stock
forward) on fewer rows, so outputs are equal but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import WanTransformerBlock

from wan_pipeline.engine.attention.rotary import Rotary, normed_rotary
from wan_pipeline.engine.fused.block import fused_forward, fused_last_norm, suits, suits_last_norm
from wan_pipeline.engine.memory.block_parts import TEXT_TOKENS, Timesteps, attend, chunks
from wan_pipeline.engine.memory.forwards import restoring_forwards
from wan_pipeline.planning.transformer import CHUNK_ROWS


@contextmanager
def chunked(
    transformer: torch.nn.Module,
    tokens: int,
    keep_inputs: int = 0,
    *,
    compiled: bool = False,
    fused: bool = False,
    whole_head: bool = False,
) -> Iterator[None]:
    """Context manager: the transformer computes by chunked forward, `tokens` at a time in feed-forward layers.

    0 tokens leaves the stock forward. The first `keep_inputs` blocks do not write over their input, for a cache that
    compares it. `compiled` compiles the pointwise operations; `fused` computes them by our own kernels. `whole_head`
    calls the last projection once for all rows, for a cache that counts its calls and for two devices that split the
    rows; other clips keep the bits that they had. VACE's control blocks and output keep the stock forward.
    """
    blocks = [block for block in transformer.modules() if type(block) is WanTransformerBlock] if tokens else []
    pointwise = _Pointwise(compiled)
    with restoring_forwards((*blocks, transformer)):
        for number, block in enumerate(blocks):
            is_fused = fused and suits(block)
            compute = _fused(tokens) if is_fused else _chunked(tokens, pointwise)
            forward = _block_forward(compute, keeps_input=number < keep_inputs, by_rows=is_fused)
            block.forward = MethodType(forward, block)
        if blocks and type(transformer) is WanTransformer3DModel:
            head = _Head(whole_head, fused_last_norm if fused and suits_last_norm(transformer) else _last_norm)
            transformer.forward = MethodType(partial(_model_forward, head=head), transformer)
        yield


class _Pointwise:
    """The operations that treat each row by itself. Compiled, each is one kernel."""

    def __init__(self, compiled: bool) -> None:
        make = torch.compile if compiled else _unchanged
        self.modulated_norm, self.gated_sum = make(_modulated_norm), make(_gated_sum)
        self.normed_rotary = make(normed_rotary)


BlockForward = Callable[[Any, torch.Tensor, torch.Tensor, Timesteps, Rotary], None]
"""Writes a block's output over its input: (block, hidden, context, timesteps, rotary)."""


def _block_forward(compute: BlockForward, *, keeps_input: bool, by_rows: bool) -> Any:
    """The forward of a WanTransformerBlock. `by_rows` lays tokens one after the other first: VACE's are transposed."""

    def forward(
        block: Any, hidden: torch.Tensor, context: torch.Tensor, timesteps: Timesteps | torch.Tensor, rotary: Rotary
    ) -> torch.Tensor:
        if not isinstance(timesteps, Timesteps):
            timesteps = Timesteps(timesteps)
        if keeps_input:
            hidden = hidden.clone()
        if by_rows:
            hidden = hidden.contiguous()
        compute(block, hidden, context, timesteps, rotary)
        return hidden

    return forward


def _fused(tokens: int) -> BlockForward:
    return partial(fused_forward, tokens=tokens)


def _chunked(tokens: int, pointwise: _Pointwise) -> BlockForward:
    def compute(block: Any, hidden: torch.Tensor, context: torch.Tensor, timesteps: Timesteps, rotary: Rotary) -> None:
        _self_attention(block, hidden, timesteps, rotary, tokens, pointwise)
        _cross_attention(block, hidden, context)
        _feed_forward(block, hidden, timesteps, tokens, pointwise)

    return compute


def _model_forward(
    model: Any,
    hidden_states: torch.Tensor,
    timestep: torch.Tensor,
    encoder_hidden_states: torch.Tensor,
    encoder_hidden_states_image: torch.Tensor | None = None,
    return_dict: bool = True,
    attention_kwargs: dict[str, Any] | None = None,  # LoRA scales of peft, which are not used here
    *,
    head: _Head,
) -> Any:
    """The forward of a WanTransformer3DModel."""
    rotary = model.rope(hidden_states)
    grid = [side // patch for side, patch in zip(hidden_states.shape[2:], model.config.patch_size, strict=True)]
    hidden = model.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()
    of_token = None
    if timestep.ndim == 2:
        timestep, of_token = torch.unique(timestep, return_inverse=True)
    embedding, projection, text, image = model.condition_embedder(
        timestep, encoder_hidden_states, encoder_hidden_states_image
    )
    context = text if image is None else torch.concat([image, text], dim=1)
    timesteps = Timesteps(projection.unflatten(1, (6, -1)), of_token)
    for block in model.blocks:
        hidden = block(hidden, context, timesteps, rotary)
    output = _unpatchify(model, head(model, hidden, embedding, of_token), grid)
    return Transformer2DModelOutput(sample=output) if return_dict else (output,)


def _self_attention(
    block: Any, hidden: torch.Tensor, timesteps: Timesteps, rotary: Rotary, tokens: int, pointwise: _Pointwise
) -> None:
    """Add gated self-attention to `hidden`, in place."""
    attn, parts = block.attn1, chunks(hidden.shape[1], CHUNK_ROWS)
    normed = torch.empty_like(hidden)
    for rows in parts:
        shift, scale, _ = _modulation(block, timesteps, rows, 0)
        normed[:, rows] = pointwise.modulated_norm(block.norm1, hidden[:, rows], scale, shift)
    key, value = attn.to_k(normed), attn.to_v(normed)
    query = normed
    for rows in chunks(hidden.shape[1], tokens):
        query[:, rows] = attn.to_q(normed[:, rows])
    for rows in parts:
        cos, sin = rotary[0][:, rows, :, 0::2], rotary[1][:, rows, :, 1::2]
        query[:, rows] = pointwise.normed_rotary(attn.norm_q, query[:, rows], attn.heads, cos, sin)
        key[:, rows] = pointwise.normed_rotary(attn.norm_k, key[:, rows], attn.heads, cos, sin)
    attend(attn, query, key, value, query)
    del key, value, normed
    attended = attn.to_out[1](attn.to_out[0](query))
    del query
    for rows in parts:
        gate = _modulation(block, timesteps, rows, 0)[2]
        hidden[:, rows] = pointwise.gated_sum(hidden[:, rows], attended[:, rows], gate)


def _cross_attention(block: Any, hidden: torch.Tensor, context: torch.Tensor) -> None:
    """Add cross-attention to the text, and to an image's tokens if there are any, to `hidden`, in place."""
    attn, parts = block.attn2, chunks(hidden.shape[1], CHUNK_ROWS)
    query = torch.empty_like(hidden)
    for rows in parts:
        query[:, rows] = block.norm2(hidden[:, rows].float())
    query = attn.to_q(query)
    for rows in parts:
        query[:, rows] = attn.norm_q(query[:, rows])
    image_tokens = context.shape[1] - TEXT_TOKENS if attn.add_k_proj is not None else 0
    text, image = context[:, image_tokens:], context[:, :image_tokens]
    attended = torch.empty_like(query)
    attend(attn, query, attn.norm_k(attn.to_k(text)), attn.to_v(text), attended)
    if attn.add_k_proj is not None:
        attend(attn, query, attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image), query)
        attended += query
    del query
    hidden += attn.to_out[1](attn.to_out[0](attended))


def _feed_forward(block: Any, hidden: torch.Tensor, timesteps: Timesteps, tokens: int, pointwise: _Pointwise) -> None:
    """Add the gated feed-forward output to `hidden`, in place."""
    for chunk in chunks(hidden.shape[1], tokens):
        normed = torch.empty_like(hidden[:, chunk])
        parts = chunks(normed.shape[1], CHUNK_ROWS)
        for part in parts:
            rows = _within(chunk, part)
            shift, scale, _ = _modulation(block, timesteps, rows, 3)
            normed[:, part] = pointwise.modulated_norm(block.norm3, hidden[:, rows], scale, shift)
        output = block.ffn(normed)
        del normed
        for part in parts:
            rows = _within(chunk, part)
            gate = _modulation(block, timesteps, rows, 3)[2]
            hidden[:, rows] = pointwise.gated_sum(hidden[:, rows], output[:, part], gate)


def _modulated_norm(norm: Any, rows: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(shift, norm(rows.float()), 1 + scale)


def _gated_sum(rows: torch.Tensor, update: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(rows.float(), update.float(), gate)


def _unchanged(function: Any) -> Any:
    return function


def _modulation(block: Any, timesteps: Timesteps, rows: slice, first: int) -> tuple[torch.Tensor, ...]:
    """Shift, scale and gate of these rows: self-attention's are the first of the six, the feed-forward's follow."""
    three = (block.scale_shift_table + timesteps.values.float())[:, first : first + 3]
    if timesteps.of_token is None:
        return tuple(three.chunk(3, dim=1))
    of_rows: tuple[torch.Tensor, ...] = three[timesteps.of_token[:, rows]].unbind(2)
    return of_rows


@dataclass(frozen=True)
class _Head:
    """The model's last norm and projection, (batch, tokens, channels of a patch)."""

    is_whole: bool
    """Whether one product has all rows: their number decides which kernel computes it, and so the clip's last bits."""
    norm: Callable[[Any, torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]

    def __call__(
        self, model: Any, hidden: torch.Tensor, embedding: torch.Tensor, of_token: torch.Tensor | None
    ) -> torch.Tensor:
        normed = self.norm(model, hidden, embedding, of_token)
        parts = [normed] if self.is_whole else [normed[:, rows] for rows in chunks(hidden.shape[1], CHUNK_ROWS)]
        return torch.cat([model.proj_out(part) for part in parts], dim=1)


def _last_norm(
    model: Any, hidden: torch.Tensor, embedding: torch.Tensor, of_token: torch.Tensor | None
) -> torch.Tensor:
    """What the last projection takes."""
    normed, both = torch.empty_like(hidden), model.scale_shift_table + embedding.unsqueeze(1)
    for rows in chunks(hidden.shape[1], CHUNK_ROWS):
        shift, scale = both.chunk(2, dim=1) if of_token is None else both[of_token[:, rows]].unbind(2)
        normed[:, rows] = model.norm_out(hidden[:, rows].float()) * (1 + scale) + shift
    return normed


def _unpatchify(model: Any, rows: torch.Tensor, grid: list[int]) -> torch.Tensor:
    """(batch, tokens, channels of a patch) -> (batch, channels, latent frames, height, width)."""
    patches = rows.reshape(rows.shape[0], *grid, *model.config.patch_size, -1)
    return patches.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def _within(chunk: slice, part: slice) -> slice:
    """A part of a chunk, as rows of the whole."""
    return slice(chunk.start + part.start, chunk.start + part.stop)
