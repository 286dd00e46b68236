"""SeedVR2's transformers, of 3B and of 7B parameters: their tensors have the names of the published files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import torch
from torch.nn import functional

from wan_pipeline.engine.network_files.shapes import MOST_LAYERS, count_layers
from wan_pipeline.engine.upscaler.seedvr.attention import CHUNK, EPSILON, Pair, WindowAttention
from wan_pipeline.engine.upscaler.seedvr.rope import CountedPositions, RelativePositions
from wan_pipeline.engine.upscaler.seedvr.vae import LATENT_CHANNELS

INPUT_CHANNELS = 2 * LATENT_CHANNELS + 1
"""Noise, the latents of the clip, and a one that says they are there."""
PATCH = 2
"""Latents along each side of a token."""
SINUSOIDS = 256
LEAST_HEAD = 12
"""Channels of a head that can have positions on three axes."""
TIME = 1000.0
"""The one step begins at pure noise."""
LAYERS = ("attn", "mlp")
PARTS = ("shift", "scale", "gate")
FREQUENCIES = ".attn.rope.rope.freqs"
"""End of the names of constants in the published file, which are computed here instead."""


class Kind(Enum):
    """The authors' two transformers differ in more than their size."""

    SMALL = "3B"
    """Positions of the text too, gated feed-forwards, a norm at the end, and a last block that leaves the text."""
    LARGE = "7B"
    """None of these."""


@dataclass(frozen=True)
class Shape:
    """What tells one transformer of this kind from another."""

    width: int
    heads: int
    head: int
    hidden: int
    layers: int
    own_layers: int
    """The first ones, which have weights of their own for the text."""
    text_width: int
    kind: Kind = Kind.SMALL


PUBLISHED = {
    Kind.SMALL: Shape(2560, 20, 128, 6912, 32, 10, 5120),
    Kind.LARGE: Shape(3072, 24, 128, 12288, 36, 36, 5120, Kind.LARGE),
}


class Transformer(torch.nn.Module):
    """Predicts from noise and the latents of a clip what has to be taken off the noise."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.vid_in = _Projection(INPUT_CHANNELS * PATCH**2, shape.width)
        self.txt_in = torch.nn.Linear(shape.text_width, shape.width)
        self.emb_in = TimeEmbedding(shape.width)
        self.blocks = torch.nn.ModuleList(Block(shape, number) for number in range(shape.layers))
        self.has_norm = shape.kind is Kind.SMALL
        if self.has_norm:
            self.vid_out_norm = torch.nn.RMSNorm(shape.width, EPSILON)
            self.vid_out_ada = Modulation(shape.width, ("out",), PARTS[:2])
        self.vid_out = _Projection(shape.width, LATENT_CHANNELS * PATCH**2)

    def forward(self, latents: torch.Tensor, text: torch.Tensor, tick: Callable[[], None]) -> torch.Tensor:
        """(t, h, w, 33) and the text's (n, channels) -> (t, h, w, 16). `tick` is called after each block."""
        video, text = self.vid_in.proj(_patched(latents)), self.txt_in(text)
        embedding = self.emb_in(video)
        for block in self.blocks:
            text = block(video, text, embedding)
            tick()
        ends = [self._end(rows, embedding[0]) for rows in _chunks(video)]
        return _unpatched(torch.cat(ends).view(*video.shape[:3], -1))

    def _end(self, rows: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """From tokens to latents. The authors' code takes the embedding from a cache, where it is the first layer's."""
        if self.has_norm:
            rows = self.vid_out_ada.enter(self.vid_out_norm(rows), embedding, "out")
        made: torch.Tensor = self.vid_out.proj(rows)
        return made


class Block(torch.nn.Module):
    """Attention and a feed-forward, each between modulations; it changes the video's tokens in place."""

    def __init__(self, shape: Shape, number: int) -> None:
        super().__init__()
        is_small, shared = shape.kind is Kind.SMALL, number >= shape.own_layers
        self.leaves_text = is_small and number == shape.layers - 1
        positions = (CountedPositions if is_small else RelativePositions)(shape.head)
        feed_forward = GatedFeedForward if is_small else FeedForward
        self.attn = WindowAttention(
            shape.width, shape.heads, shape.head, positions, shared=shared, shifted=number % 2 == 1
        )
        self.mlp = Pair(lambda: feed_forward(shape.width, shape.hidden), shared, self.leaves_text)
        self.ada = Pair(lambda: Modulation(shape.width, LAYERS, PARTS), shared, self.leaves_text)

    def forward(self, video: torch.Tensor, text: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Change `video`, (t, h, w, channels); return the text's tokens."""
        attention, feed_forward = embedding
        ada, entered = self.ada.video, torch.empty_like(video)
        for rows, into in zip(_chunks(video), _chunks(entered), strict=True):
            into.copy_(ada.enter(_normed(rows), attention, "attn"))
        told = _normed(text) if self.leaves_text else self.ada.text.enter(_normed(text), attention, "attn")
        told = self.attn(entered, told)
        for rows, seen in zip(_chunks(video), _chunks(entered), strict=True):
            rows.add_(ada.leave(seen, attention, "attn"))
            rows.add_(ada.leave(self.mlp.video(ada.enter(_normed(rows), feed_forward, "mlp")), feed_forward, "mlp"))
        if self.leaves_text:
            return text
        ada = self.ada.text
        text = text + ada.leave(told, attention, "attn")
        made = self.mlp.text(ada.enter(_normed(text), feed_forward, "mlp"))
        return text + ada.leave(made, feed_forward, "mlp")


class Modulation(torch.nn.Module):
    """Shift, scale and gate of layers: learned values, to which those of the time are added."""

    def __init__(self, width: int, layers: tuple[str, ...], parts: tuple[str, ...]) -> None:
        super().__init__()
        for name in (f"{layer}_{part}" for layer in layers for part in parts):
            self.register_parameter(name, torch.nn.Parameter(torch.empty(width)))

    def enter(self, rows: torch.Tensor, embedding: torch.Tensor, layer: str) -> torch.Tensor:
        """Scale and shift what a layer is given. `embedding` has the layer's three parts."""
        shift: torch.Tensor = embedding[0] + getattr(self, f"{layer}_shift")
        scale: torch.Tensor = embedding[1] + getattr(self, f"{layer}_scale")
        return rows * scale + shift

    def leave(self, rows: torch.Tensor, embedding: torch.Tensor, layer: str) -> torch.Tensor:
        """Weigh what a layer gives."""
        gate: torch.Tensor = embedding[2] + getattr(self, f"{layer}_gate")
        return rows * gate


class FeedForward(torch.nn.Module):
    """Two layers around a GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj_in, self.proj_out = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.proj_out(functional.gelu(self.proj_in(rows), approximate="tanh"))
        return made


class GatedFeedForward(torch.nn.Module):
    """SwiGLU: Shazeer, "GLU Variants Improve Transformer", 2020."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj_in_gate, self.proj_in = (torch.nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.proj_out = torch.nn.Linear(hidden, width, bias=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.proj_out(functional.silu(self.proj_in_gate(rows)) * self.proj_in(rows))
        return made


class TimeEmbedding(torch.nn.Module):
    """The modulations' values at the one time there is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj_in = torch.nn.Linear(SINUSOIDS, width)
        self.proj_hid = torch.nn.Linear(width, width)
        self.proj_out = torch.nn.Linear(width, len(LAYERS) * len(PARTS) * width)

    def forward(self, like: torch.Tensor) -> torch.Tensor:
        """(layers, parts, channels), in the dtype and on the device of `like`."""
        half = SINUSOIDS // 2
        angles = TIME * torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
        values = torch.cat((angles.sin(), angles.cos())).to(like)
        values = functional.silu(self.proj_hid(functional.silu(self.proj_in(values))))
        made: torch.Tensor = self.proj_out(values).view(-1, len(LAYERS), len(PARTS)).permute(1, 2, 0)
        return made


class _Projection(torch.nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = torch.nn.Linear(inputs, outputs)


def shape_of(tensors: Mapping[str, tuple[int, ...]]) -> Shape | None:
    """What a file's tensors, by their shapes, may fit; None if they are of another kind."""
    own = count_layers(tensors, "blocks.{}.attn.norm_q.vid.weight")
    layers = own + sum(f"blocks.{number}.attn.norm_q.all.weight" in tensors for number in range(own, MOST_LAYERS))
    stream = "vid" if own else "all"
    kind = Kind.SMALL if f"blocks.0.mlp.{stream}.proj_in_gate.weight" in tensors else Kind.LARGE
    try:
        (head,) = tensors[f"blocks.0.attn.norm_q.{stream}.weight"]
        inner, width = tensors[f"blocks.0.attn.proj_qkv.{stream}.weight"]
        hidden, _ = tensors[f"blocks.0.mlp.{stream}.proj_in.weight"]
        _, text_width = tensors["txt_in.weight"]
    except (KeyError, ValueError):
        return None
    if not 1 <= layers <= MOST_LAYERS or head < LEAST_HEAD or inner % (3 * head) or not inner:
        return None
    return Shape(width, inner // (3 * head), head, hidden, layers, own, text_width, kind)


def _normed(rows: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(rows, rows.shape[-1:], eps=EPSILON)


def _chunks(video: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Views of all tokens, some at a time."""
    return torch.split(video.view(-1, video.shape[-1]), CHUNK)


def _patched(latents: torch.Tensor) -> torch.Tensor:
    """(t, h, w, c) -> (t, h / 2, w / 2, 4 c)."""
    time, height, width, channels = latents.shape
    parts = latents.view(time, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    return parts.transpose(2, 3).flatten(3)


def _unpatched(tokens: torch.Tensor) -> torch.Tensor:
    """(t, h, w, 4 c) -> (t, 2 h, 2 w, c)."""
    time, height, width, channels = tokens.shape
    parts = tokens.view(time, height, width, PATCH, PATCH, channels // PATCH**2)
    return parts.transpose(2, 3).reshape(time, height * PATCH, width * PATCH, -1)
