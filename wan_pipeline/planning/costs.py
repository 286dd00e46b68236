"""Memory and seconds of each stage of a clip, for one way of doing it. Pure arithmetic, without torch or a device.

Unless they say otherwise the constants were measured with benchmarks/gpu on an H100 with torch 2.11, at the real
sizes with random weights; its table puts forecasts beside new measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.planning.transformer import (
    PINNED_OVERHEAD,
    RING_BLOCKS,
    activation_bytes,
    block_bytes,
    buffer_bytes,
    cache_bytes,
    outer_bytes,
    pass_seconds,
    transformer_bytes,
)

TILE_OVERLAP = 64
"""Pixels by which neighbouring tiles of the decoder overlap; at most half of a tile."""

WORKSPACE = 0.05 * GIB
"""Device memory that the allocator loses to fragmentation."""
TEXT_ACTIVATIONS = 0.48 * GIB
"""Peak activations of the text encoder."""
TEXT_CPU_SPEED = 0.57e9
"""Bytes of bf16 text encoder weights that a CPU computes with a second."""
LOADING_SECONDS = 1.0
"""Loading beside reading the weights."""
PAGEABLE_COPY = 0.25
"""Speed of copies from memory that is not pinned, relative to pinned memory."""

DECODE_BYTES = {"fp32": (28.4e3, 33.5e3), "bf16": (15.3e3, 17.2e3)}
"""Peak bytes of the Wan 2.1 decoder per pixel of a whole frame, and per pixel of a tile."""
DECODE_BF16_SECONDS = 0.65
"""Seconds of decoding in bf16 relative to fp32."""
SMALL_TILE_SECONDS = 0.34
"""Further seconds per pixel in tiles of 256 pixels, relative to whole frames."""
ENCODE_BYTES, ENCODE_VIDEO_BYTES = 22.5e3, 12.0
"""Peak bytes of the Wan 2.1 encoder in fp32: per pixel of a whole frame, and per pixel of the video."""
ENCODE_TILE_BYTES, ENCODE_TILED_VIDEO_BYTES = 1.2 * GIB, 30.0
"""The same in tiles: of the tile, and per pixel of the video."""
ENCODE_SECONDS, ENCODE_TILED_SECONDS = 0.4, 2.0
"""Seconds of encoding relative to decoding, and of encoding in tiles relative to whole frames."""
DECODE_2_2, ENCODE_2_2, ENCODE_TILE_2_2 = 1.32, 0.46, 2.4
"""Peak bytes of the Wan 2.2 VAE relative to Wan 2.1's: decoding, encoding, and encoding in tiles."""
VAE_2_1_PARAMS, VAE_2_2_FROM = 127e6, 300e6
"""Parameters of the Wan 2.1 VAE, and those from which a VAE is taken for Wan 2.2's (705e6)."""


@dataclass(frozen=True)
class StageCost:
    """Peak bytes on the device, peak bytes in the machine's memory, and seconds of one stage."""

    vram: float
    ram: float
    seconds: float

    def beside(self, vram: float) -> StageCost:
        """The cost where others hold this much of the device meanwhile."""
        return replace(self, vram=self.vram + vram)


def text_cost(facts: MemoryFacts, machine: Machine, text: str) -> StageCost:
    """Encoding the texts in bf16, with weights mapped from their files."""
    size, table = 2 * facts.text_params, 2 * facts.text_table_params
    read = size / machine.disk_speed
    match text if machine.vram else "cpu":
        case "device":
            return StageCost(size + TEXT_ACTIVATIONS, 0.0, read + 0.1)
        case "streamed":
            ring = RING_BLOCKS * (size - table) / facts.text_layers
            return StageCost(ring + TEXT_ACTIVATIONS, table, read + 2 * (size - table) / machine.copy_speed)
    return StageCost(0.0, size if machine.vram else 2 * size, read + size / TEXT_CPU_SPEED)


def loading_cost(spec: ModelSpec, machine: Machine, plan: MemoryPlan) -> StageCost:
    """Reading the weights; what they take in memory counts in the stages that compute."""
    return StageCost(0.0, 0.0, transformer_bytes(spec.memory, plan.precision) / machine.disk_speed + LOADING_SECONDS)


def denoising_cost(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> StageCost:
    """All passes, with the weights where the plan puts them. A CPU computes in fp32 in the machine's memory."""
    facts, tokens = spec.memory, clip.tokens(spec)
    weights, loras = transformer_bytes(facts, plan.precision), clip.lora_bytes
    active = activation_bytes(facts, tokens, plan) + WORKSPACE + cache_bytes(facts, tokens, clip.cache)
    passes = clip.passes_in_a_row(plan.devices) * pass_seconds(spec, clip, machine, plan)
    if not machine.vram:
        return StageCost(0.0, weights + loras + 2 * active, passes)
    block = block_bytes(facts, plan.precision)
    match plan.residency:
        case Residency.RESIDENT:
            others = loras + 4 * (facts.vae_params + facts.image_encoder_params)
            return StageCost(weights + active + others, block, passes)
        case Residency.OFFLOAD:
            moving = weights / (PAGEABLE_COPY * machine.copy_speed)
            return StageCost(weights / facts.experts + loras + active, weights + loras, passes + moving)
    ring = RING_BLOCKS if plan.blocks < facts.blocks else 0
    on_device = facts.experts * outer_bytes(facts) + (plan.blocks + ring) * buffer_bytes(facts, clip, plan.precision)
    in_memory = (block * facts.blocks * (facts.experts - plan.disk) + loras) * PINNED_OVERHEAD
    staging = RING_BLOCKS * block if plan.disk else 0.0
    return StageCost(active + on_device, in_memory + staging, passes)


def encoding_cost(facts: MemoryFacts, clip: Geometry, machine: Machine, encode: str) -> StageCost:
    """Encoding images and videos in fp32, before any block is on the device but beside the rest of the transformer."""
    pixels = clip.pixels if facts.expands_timesteps else clip.video_pixels  # TI2V encodes the first frame alone
    seconds = ENCODE_SECONDS * pixels / machine.decode_speed
    if encode == "whole":
        peak = ENCODE_BYTES * _vae_ratio(facts, ENCODE_2_2) * clip.pixels + ENCODE_VIDEO_BYTES * pixels
    else:
        peak = ENCODE_TILE_BYTES * _vae_ratio(facts, ENCODE_TILE_2_2) + ENCODE_TILED_VIDEO_BYTES * pixels
        seconds *= ENCODE_TILED_SECONDS
    peak += 4 * facts.vae_params + WORKSPACE
    if not machine.vram:
        return StageCost(0.0, peak, seconds)
    return StageCost(peak + facts.experts * outer_bytes(facts), 0.0, seconds)


def decoding_cost(facts: MemoryFacts, clip: Geometry, machine: Machine, plan: MemoryPlan) -> StageCost:
    """Decoding frame by frame, or tile by tile; what is decoded goes to the machine's memory at once."""
    is_whole = not plan.tile or plan.tile >= max(clip.width, clip.height)
    tile_pixels = clip.pixels if is_whole else min(clip.width, plan.tile) * min(clip.height, plan.tile)
    peak = tile_pixels * DECODE_BYTES[plan.vae][0 if is_whole else 1] * _vae_ratio(facts, DECODE_2_2)
    peak += facts.vae_params * (4 if plan.vae == "fp32" else 2) + WORKSPACE
    seconds = clip.video_pixels / machine.decode_speed * (DECODE_BF16_SECONDS if plan.vae == "bf16" else 1.0)
    if not is_whole:
        seconds *= _tiles(clip, plan.tile) * tile_pixels / clip.pixels
        seconds *= 1 + SMALL_TILE_SECONDS * (256 / plan.tile) ** 2
    frames = (3 if is_whole else 15) * clip.video_pixels  # uint8 RGB, with fp32 RGB to blend tiles in
    return StageCost(peak, frames, seconds) if machine.vram else StageCost(0.0, peak + frames, seconds)


def tile_count(side: int, tile: int, overlap: int) -> int:
    """The fewest tiles that cover a side of the picture, where neighbours overlap by at most half of a tile."""
    overlap = min(overlap, tile // 2)
    return max(math.ceil((side - overlap) / (tile - overlap)), 1)


def _tiles(clip: Geometry, tile: int) -> int:
    """Tiles of one frame."""
    return math.prod(tile_count(side, tile, TILE_OVERLAP) for side in (clip.width, clip.height))


def _vae_ratio(facts: MemoryFacts, of_2_2: float) -> float:
    """Peak bytes of the model's VAE relative to Wan 2.1's; smaller VAEs count by their parameters."""
    return of_2_2 if facts.vae_params > VAE_2_2_FROM else min(facts.vae_params / VAE_2_1_PARAMS, 1.0)
