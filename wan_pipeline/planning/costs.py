"""What each stage of a clip needs, by each way of doing it: arithmetic alone, no torch and no device.

The constants were measured on an H100 with torch 2.11 and random weights at the real sizes; `benchmarks/gpu.py`
measures them again beside the forecasts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency

GIB = 2**30
WORKSPACE = 0.05 * GIB
"""On the device, for what the allocator cannot fill."""
TEXT_WORK = 0.48 * GIB
"""Of the text encoder, beside its weights."""
PROCESS = 3.0 * GIB
"""Of the machine's memory, for the process itself with its libraries."""
SLOTS = 2

BLOCK_UNITS, FEED_FORWARD_UNITS = 10.5, 2.6
"""Activations of the transformer's width that a block holds at its height in the libraries' own way: these, and these
times the feed-forward's share of the width."""
TIMES_UNITS = 17.5
"""More where each token has a time of its own, in the libraries' own way."""
CHUNKED_UNITS = 4.45
"""The same computed in parts: the tokens themselves, query, key, value, and some heads' attention."""
CHUNKED_REST = 0.25 * GIB
"""And what does not grow with the clip: some rows in fp32, and the full weight of a layer."""
TIMES_ROW = 60.0
"""Bytes for each row and number of the width, where each token has a time of its own."""
CACHE_UNITS = 7.0
"""More with a first-block cache: what two blocks were given, and for each condition what it keeps."""
CHUNK_ROWS = 4096
CHUNK_COST = 1.03
STREAM_COST = 1.01
"""Of a pass whose blocks all stream, where copying is hidden."""
FULL_WEIGHT_BYTES = 4.0
"""For each weight of the largest layer, while it is made of a quantized one."""

DECODE_BYTES = {"fp32": (28.4e3, 33.5e3), "bf16": (15.3e3, 17.2e3)}
"""The VAE of Wan 2.1 takes these for each pixel of what it decodes in one piece: of a whole frame, and of a tile."""
DECODE_2_2, ENCODE_2_2, ENCODE_TILE_2_2 = 1.32, 0.46, 2.4
"""The VAE of Wan 2.2 takes so many times as much, and so many times as much when it encodes."""
ENCODE_BYTES = 22.5e3
ENCODE_TILE_BYTES, ENCODE_VIDEO_BYTES = 1.2 * GIB, 30.0
"""In fp32 and tiles: the tile, and for each pixel of the video."""
TILE_OVERLAP = 64
SMALL_TILE = 0.34
"""A tile of 256 pixels takes so much longer than its pixels do in a whole frame."""


@dataclass(frozen=True)
class Geometry:
    """Of one clip. `passes` of a transformer: steps, twice with guidance."""

    width: int
    height: int
    num_frames: int
    passes: int
    encodes: bool = False
    """Whether the VAE has to read images or videos first."""
    caches: bool = False
    """First-block cache: what it keeps are activations, of two conditions."""

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Machine:
    """Bytes free now, and speeds in units a second. A device of 0 bytes is none: the CPU computes."""

    vram: float
    ram: float
    disk_speed: float = 1.0e9
    copy_speed: float = 12e9
    """From pinned memory to the device."""
    matmul_speed: float = 60e12
    attention_speed: float = 60e12
    decode_speed: float = 1.5e6
    """Pixels of the clip a second, decoded in fp32 and in one piece."""


def without_device(ram: float) -> Machine:
    """The CPU computes; the speeds are those of two cores."""
    return Machine(0.0, ram, matmul_speed=0.1e12, attention_speed=0.1e12, decode_speed=0.8e6)


REFERENCE = Machine(80e9, 120e9, 2e9, 54e9, matmul_speed=620e12, attention_speed=530e12, decode_speed=9.8e6)
"""The H100 of the measurements, at the rates that whole passes reach there."""


@dataclass(frozen=True)
class StageCost:
    """Bytes on the device and in the machine's memory, and seconds, of one stage done one way."""

    vram: float
    ram: float
    seconds: float


def text_cost(facts: MemoryFacts, machine: Machine, text: str) -> StageCost:
    """The encoder is in bf16, mapped from its file: what the device holds takes no memory of the machine's."""
    size, table = 2 * facts.text_params, 2 * facts.text_table_params
    read = size / machine.disk_speed
    match text if machine.vram else "cpu":
        case "device":
            return StageCost(size + TEXT_WORK, 0.0, read + 0.1)
        case "streamed":
            slots = SLOTS * (size - table) / facts.text_layers
            return StageCost(slots + TEXT_WORK, table, read + 2 * (size - table) / machine.copy_speed)
    return StageCost(0.0, size if machine.vram else 2 * size, read + 20 * size / 11.4e9)


def denoising_cost(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> StageCost:
    """On a CPU all is in its own memory, in fp32 but for what is quantized."""
    facts, weights = spec.memory, transformer_bytes(spec.memory, plan.precision)
    active = activation_bytes(facts, tokens(spec, clip), plan) + WORKSPACE
    active += 2.0 * CACHE_UNITS * tokens(spec, clip) * facts.width if clip.caches else 0.0
    passes = clip.passes * pass_seconds(spec, clip, machine, plan)
    if not machine.vram:
        return StageCost(0.0, weights + 2 * active, passes)
    block = block_bytes(facts, plan.precision)
    match plan.residency:
        case Residency.RESIDENT:
            return StageCost(weights + active + 4 * (facts.vae_params + facts.image_encoder_params), block, passes)
        case Residency.OFFLOAD:
            moving = weights / (machine.copy_speed / 4)  # not from pinned memory
            return StageCost(weights / facts.experts + active, weights, passes + moving)
    slots = 0 if plan.blocks >= facts.blocks else SLOTS
    around = around_bytes(facts) * facts.experts
    in_memory = block * facts.blocks * (facts.experts - plan.disk) * 1.1  # pinned pieces come in powers of two
    staging = SLOTS * block if plan.disk else 0.0
    return StageCost(active + around + (plan.blocks + slots) * block, in_memory + staging, passes)


def loading_seconds(spec: ModelSpec, machine: Machine, plan: MemoryPlan) -> float:
    return transformer_bytes(spec.memory, plan.precision) / machine.disk_speed + 1.0


def encoding_cost(facts: MemoryFacts, clip: Geometry, machine: Machine, encode: str) -> StageCost:
    """Of what is given, in fp32. It comes before the blocks do, but what is around them is there."""
    pixels = clip.pixels * (1 if facts.expands_timesteps else clip.num_frames)  # TI2V reads the first image alone
    seconds = 0.4 * pixels / machine.decode_speed
    video = 12.0 * pixels
    if encode == "whole":
        need = ENCODE_BYTES * _vae_share(facts, ENCODE_2_2) * clip.pixels + video
    else:
        tile = ENCODE_TILE_BYTES * _vae_share(facts, ENCODE_TILE_2_2)
        need, seconds = tile + ENCODE_VIDEO_BYTES * pixels, 2.0 * seconds
    need += 4 * facts.vae_params + WORKSPACE
    around = around_bytes(facts) * facts.experts
    return StageCost(need + around, 0.0, seconds) if machine.vram else StageCost(0.0, need, seconds)


def decoding_cost(facts: MemoryFacts, clip: Geometry, machine: Machine, plan: MemoryPlan) -> StageCost:
    """The frames themselves go to the machine's memory at once."""
    whole = not plan.tile or plan.tile >= max(clip.width, clip.height)
    sides = [side if whole else min(side, plan.tile) for side in (clip.width, clip.height)]
    need = math.prod(sides) * DECODE_BYTES[plan.vae][0 if whole else 1] * _vae_share(facts, DECODE_2_2)
    need += facts.vae_params * (4 if plan.vae == "fp32" else 2) + WORKSPACE
    pixels = clip.pixels * clip.num_frames
    again = 1.0
    if not whole:
        again = _tiles(clip, plan.tile) * math.prod(sides) / clip.pixels * (1 + SMALL_TILE * (256 / plan.tile) ** 2)
    seconds = again * pixels / machine.decode_speed * (0.65 if plan.vae == "bf16" else 1.0)
    frames = (3 if whole else 15) * pixels
    return StageCost(need, frames, seconds) if machine.vram else StageCost(0.0, need + frames, seconds)


def block_bytes(facts: MemoryFacts, precision: Precision) -> float:
    return facts.block_params * precision.bytes_per_weight


def around_bytes(facts: MemoryFacts) -> float:
    """Of one expert, what is not in its blocks; some of it is in fp32."""
    return 2.2 * facts.around_params


def transformer_bytes(facts: MemoryFacts, precision: Precision) -> float:
    """Of all experts."""
    wide = 2.0 if precision is Precision.FP32 else 1.0
    return facts.experts * (facts.blocks * block_bytes(facts, precision) + wide * around_bytes(facts))


def activation_bytes(facts: MemoryFacts, count: int, plan: MemoryPlan) -> float:
    """At the height of a block, beside the weights, in 16 bits."""
    unit = 2.0 * count * facts.width
    share = facts.feed_forward / facts.width
    if not plan.chunk:
        times = TIMES_UNITS * unit if facts.expands_timesteps else 0.0
        made = FULL_WEIGHT_BYTES * facts.width * facts.feed_forward if plan.precision.is_quantized else 0.0
        return (BLOCK_UNITS + FEED_FORWARD_UNITS * share) * unit + times + made
    if facts.control_layers:  # VACE's own blocks are computed in the libraries' way, and each leaves a hint
        return (facts.control_layers + BLOCK_UNITS + FEED_FORWARD_UNITS * share) * unit + CHUNKED_REST
    part = min(plan.chunk / max(count, 1), 1.0)
    feed_forward = 1 + part * (2 * share + 2)
    times = TIMES_ROW * min(CHUNK_ROWS, count) * facts.width if facts.expands_timesteps else 0.0
    return max(CHUNKED_UNITS, feed_forward) * unit + times + CHUNKED_REST


def chunk_tokens(facts: MemoryFacts, count: int) -> int:
    """As many tokens at a time as make the feed-forward layers no higher than attention."""
    share = (CHUNKED_UNITS - 1) / (2 * facts.feed_forward / facts.width + 2)
    return math.ceil(count / math.ceil(1 / share))


def pass_seconds(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> float:
    """Computing hides copying where it takes longer. With two experts about half of the passes are each one's."""
    facts = spec.memory
    compute = compute_seconds(spec, clip, machine) * (1.02 if plan.precision.is_quantized else 1.0)
    compute *= (CHUNK_COST if plan.chunk else 1.0) * (0.85 if plan.compiled else 1.0)
    if plan.residency is not Residency.STREAMED:
        return compute
    moving = facts.blocks - min(plan.blocks, facts.blocks)
    coming = moving * block_bytes(facts, plan.precision)
    from_ram, from_disk = max(compute, coming / machine.copy_speed), max(compute, coming / machine.disk_speed)
    share = plan.disk / facts.experts
    return (1 + (STREAM_COST - 1) * moving / facts.blocks) * (share * from_disk + (1 - share) * from_ram)


def compute_seconds(spec: ModelSpec, clip: Geometry, machine: Machine) -> float:
    """Of one pass of one transformer: operations over the rates of matrix products and of attention."""
    matmul, attention = operations(spec, clip)
    return matmul / machine.matmul_speed + attention / machine.attention_speed


def operations(spec: ModelSpec, clip: Geometry) -> tuple[float, float]:
    """Of one pass: those of matrix products, and those of attention."""
    facts, count = spec.memory, tokens(spec, clip)
    matmul = 2.0 * facts.block_params * facts.blocks * count
    return matmul, 4.0 * count * (count + spec.max_sequence_length) * facts.width * facts.blocks


def tokens(spec: ModelSpec, clip: Geometry) -> int:
    return spec.latent_tokens(clip.width, clip.height, clip.num_frames)


def _tiles(clip: Geometry, tile: int) -> int:
    overlap = min(TILE_OVERLAP, tile // 2)
    counts = (math.ceil((side - overlap) / (tile - overlap)) for side in (clip.width, clip.height))
    return math.prod(max(count, 1) for count in counts)


def _vae_share(facts: MemoryFacts, of_2_2: float) -> float:
    """Of what the VAE of Wan 2.1 takes; smaller ones count by their size."""
    return of_2_2 if facts.vae_params > 300e6 else min(facts.vae_params / 127e6, 1.0)
