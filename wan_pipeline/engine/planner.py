"""How a clip shares the memory of a machine, and what it will need: arithmetic alone, no torch and no device.

The stages of a clip come one after another, so each is planned by itself: reading the text, denoising, decoding. For
each the quickest of the ways that fit is taken. The constants were measured on an H100 with torch 2.11 and random
weights at the real sizes; `benchmarks/gpu.py` measures them again beside the forecasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from wan_pipeline.engine.precision import Precision
from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.spec import ModelSpec

GIB = 2**30
WORKSPACE = 0.2 * GIB
"""On the device, for the libraries and for what the allocator cannot fill."""
PROCESS = 3.0 * GIB
"""Of the machine's memory, for the process itself with its libraries."""
SLOTS = 2
CHUNKS = (0, 16384, 4096)
"""Tokens computed at a time in what needs no attention; 0: all of them."""
CHUNK_COST = {0: 1.0, 16384: 1.01, 4096: 1.03}
STREAM_COST = 0.003
"""Of a pass, when all of its blocks stream and copying is hidden."""
WHOLE_UNITS = 12.3
"""Activations of the width of the transformer that a block holds at its height, computed in one piece."""
CHUNKED_UNITS = 5.0
"""The same in chunks: the tokens themselves, query, key, value, and what attention makes of them."""


@dataclass(frozen=True)
class Geometry:
    """Of one clip. `passes` of a transformer: steps, twice with guidance."""

    width: int
    height: int
    num_frames: int
    passes: int


@dataclass(frozen=True)
class Machine:
    """Bytes free now, and speeds in units a second. A device of 0 bytes is none: the CPU computes."""

    vram: float
    ram: float
    disk_speed: float = 1.0e9
    copy_speed: float = 12e9
    """From the machine's memory to the device."""
    matmul_speed: float = 60e12
    attention_speed: float = 60e12
    decode_speed: float = 12e6
    """Pixels of the clip a second, decoded in fp32 and in one piece."""


def without_device(ram: float) -> Machine:
    """The CPU computes; the speeds are those of two cores."""
    return Machine(0.0, ram, matmul_speed=0.1e12, attention_speed=0.1e12, decode_speed=0.8e6)


REFERENCE = Machine(80e9, 200e9, 2e9, 25e9, matmul_speed=487e12, attention_speed=555e12, decode_speed=9.8e6)
"""The H100 of the measurements."""


@dataclass(frozen=True)
class Forecast:
    """Bytes, and seconds by stage."""

    vram: dict[str, float]
    ram: float
    seconds: dict[str, float]

    @property
    def peak_vram(self) -> float:
        return max(self.vram.values())


@dataclass(frozen=True)
class Plan:
    """What to do, and what it will take. `reason` says, if it does not fit, what to change."""

    fits: bool
    precision: Precision
    resident_blocks: int
    """Of each expert; the others stream."""
    blocks: int
    chunk_tokens: int
    text: str
    """Where the text encoder computes: device, streamed, or cpu."""
    tiled: bool
    decode_dtype: str
    experts_on_disk: int
    """Their weights are read from the disk for each pass; the others lie in the machine's memory."""
    preview: bool
    forecast: Forecast
    reason: str = ""

    @property
    def is_streamed(self) -> bool:
        return self.resident_blocks < self.blocks

    def to_dict(self) -> dict[str, Any]:
        """For `plan --json`."""
        forecast = self.forecast
        return {
            "fits": self.fits,
            "peak_vram_gib": round(forecast.peak_vram / GIB, 2),
            "peak_ram_gib": round(forecast.ram / GIB, 2),
            "seconds": round(sum(forecast.seconds.values()), 1),
            "quantization": self.precision.value,
            "resident_blocks": self.resident_blocks,
            "blocks": self.blocks,
            "streamed": self.is_streamed,
            "chunk_tokens": self.chunk_tokens,
            "text_encoder": self.text,
            "vae_tiled": self.tiled,
            "vae_dtype": self.decode_dtype,
            "experts_on_disk": self.experts_on_disk,
            "preview": self.preview,
            "stages": {
                name: {"vram_gib": round(forecast.vram[name] / GIB, 2), "seconds": round(forecast.seconds[name], 1)}
                for name in forecast.seconds
            },
            "reason": self.reason,
        }


@dataclass(frozen=True)
class _Way:
    """One way to do a stage: what it takes of each kind, and which settings of a Plan it means."""

    vram: float
    ram: float
    seconds: float
    settings: dict[str, Any]


def make_plan(spec: ModelSpec, clip: Geometry, machine: Machine, precision: Precision | None = None) -> Plan:
    """The quickest plan within the machine's free memory; if none fits, the smallest, with `fits` False.

    Without a `precision` it is bf16 where nothing has to stream for it, else int8.
    """
    wished = [precision] if precision else [Precision.BF16, Precision.INT8]
    plans = [_plan(spec, clip, machine, wish) for wish in wished]
    for plan in plans:
        if plan.fits and (precision or not (plan.precision is Precision.BF16 and plan.is_streamed)):
            return plan
    return plans[-1]


def scaled(clip: Geometry, share: float, multiple: int) -> Geometry:
    """The same shape with that share of the pixels, on the grid."""
    sides = (max(multiple, int(side * math.sqrt(share)) // multiple * multiple) for side in (clip.width, clip.height))
    width, height = sides
    return replace(clip, width=width, height=height)


def _plan(spec: ModelSpec, clip: Geometry, machine: Machine, precision: Precision) -> Plan:
    ways = {
        "text": list(_text_ways(spec.memory, machine)),
        "denoising": list(_denoising_ways(spec, clip, machine, precision)),
        "decoding": list(_decoding_ways(spec.memory, clip, machine)),
    }
    chosen = {stage: _quickest(stage_ways, machine) for stage, stage_ways in ways.items()}
    forecast = Forecast(
        {stage: way.vram for stage, way in chosen.items()},
        PROCESS + max(way.ram for way in chosen.values()),
        {stage: way.seconds for stage, way in chosen.items()},
    )
    reason = _reason(chosen, machine, forecast)
    settings: dict[str, Any] = {}
    for way in chosen.values():
        settings |= way.settings
    return Plan(
        fits=not reason,
        precision=precision,
        blocks=spec.memory.blocks,
        preview=True,  # two small matrices on the CPU: it takes nothing of the device
        forecast=forecast,
        reason=reason,
        **settings,
    )


def _quickest(ways: Iterable[_Way], machine: Machine) -> _Way:
    """Of the ways that fit; where none does, the one that lacks least."""
    every = list(ways)
    fitting = [way for way in every if _lack(way, machine) == 0]
    return min(fitting, key=lambda way: way.seconds) if fitting else min(every, key=lambda way: _lack(way, machine))


def _lack(way: _Way, machine: Machine) -> float:
    return max(way.vram - machine.vram, 0.0) + max(way.ram + PROCESS - machine.ram, 0.0)


def _reason(chosen: dict[str, _Way], machine: Machine, forecast: Forecast) -> str:
    stage = max(chosen, key=lambda name: chosen[name].vram)
    if forecast.peak_vram > machine.vram:
        return (
            f"{stage.capitalize()} needs {forecast.peak_vram / GIB:.1f} GiB of the device's memory and "
            f"{machine.vram / GIB:.1f} are free; choose a smaller size or fewer frames, or close other programs."
        )
    if forecast.ram > machine.ram:
        return (
            f"It needs {forecast.ram / GIB:.1f} GiB of the machine's memory and {machine.ram / GIB:.1f} are free; "
            "close other programs or choose a smaller model."
        )
    return ""


def _text_ways(facts: MemoryFacts, machine: Machine) -> Iterable[_Way]:
    """The encoder is in bf16, mapped from its file: what the device holds takes no memory of the machine's."""
    size, table = 2 * facts.text_params, 2 * facts.text_table_params
    blocks = size - table
    read = size / machine.disk_speed
    if machine.vram:
        yield _Way(size + WORKSPACE + 0.1 * GIB, 0.0, read + 0.1, {"text": "device"})
        slots = SLOTS * blocks / facts.text_layers
        seconds = read + 2 * blocks / machine.copy_speed
        yield _Way(slots + WORKSPACE + 0.1 * GIB, table, seconds, {"text": "streamed"})
    yield _Way(0.0, size, read + 20 * size / 11.4e9, {"text": "cpu"})


def _denoising_ways(spec: ModelSpec, clip: Geometry, machine: Machine, precision: Precision) -> Iterable[_Way]:
    facts = spec.memory
    block = facts.block_params * precision.bytes_per_weight
    around = 2.4 * facts.around_params * facts.experts  # some of it is in fp32
    for chunk in CHUNKS:
        active = activation_bytes(facts, _tokens(spec, clip), chunk) + WORKSPACE
        for on_disk in range(facts.experts + 1):
            in_ram = block * facts.blocks * (facts.experts - on_disk)
            settings = {"chunk_tokens": chunk, "experts_on_disk": on_disk}
            if not machine.vram:  # the CPU computes, from its own memory, in fp32 but for what is quantized
                weights = in_ram if precision.is_quantized else 2 * in_ram
                seconds = CHUNK_COST[chunk] * clip.passes * compute_seconds(spec, clip, machine)
                if not on_disk:
                    everything = weights + 2 * (around + active)
                    yield _Way(0.0, everything, seconds, settings | {"resident_blocks": facts.blocks})
                continue
            room = machine.vram - active - around - SLOTS * block
            for resident in sorted({0, max(0, min(facts.blocks - 1, int(room // block))), facts.blocks}):
                seconds = _pass_seconds(spec, clip, machine, precision, resident, on_disk) * CHUNK_COST[chunk]
                slots = 0 if resident == facts.blocks else SLOTS
                yield _Way(
                    active + around + (resident + slots) * block,
                    _host_bytes(facts, block, in_ram, resident, on_disk),
                    clip.passes * seconds + _loading_seconds(facts, block, machine),
                    settings | {"resident_blocks": resident},
                )


def _host_bytes(facts: MemoryFacts, block: float, in_ram: float, resident: int, on_disk: int) -> float:
    """One model that is resident whole takes none; else all of what is not on the disk, and the staging of that."""
    if resident == facts.blocks and facts.experts == 1:
        return block
    return in_ram * 1.1 + (SLOTS * block if on_disk else 0)  # pinned pieces come in powers of two


def _loading_seconds(facts: MemoryFacts, block: float, machine: Machine) -> float:
    return facts.experts * facts.blocks * block * (1 / machine.disk_speed + 1 / machine.copy_speed)


def _pass_seconds(
    spec: ModelSpec, clip: Geometry, machine: Machine, precision: Precision, resident: int, on_disk: int
) -> float:
    """Computing hides copying where it takes longer. With two experts about half of the passes are each one's."""
    facts = spec.memory
    coming = (facts.blocks - resident) * facts.block_params * precision.bytes_per_weight
    compute = compute_seconds(spec, clip, machine) * (1.02 if precision.is_quantized else 1.0)
    from_ram, from_disk = max(compute, coming / machine.copy_speed), max(compute, coming / machine.disk_speed)
    share = on_disk / facts.experts
    streams = 1 + STREAM_COST * (facts.blocks - resident) / facts.blocks
    return streams * (share * from_disk + (1 - share) * from_ram)


def _decoding_ways(facts: MemoryFacts, clip: Geometry, machine: Machine) -> Iterable[_Way]:
    """In fp32, as the authors do, before bf16: which is only taken where fp32 does not fit."""
    pixels = clip.width * clip.height
    seconds = pixels * clip.num_frames / machine.decode_speed
    if not machine.vram:
        yield _Way(
            0.0, decode_bytes(facts, clip, "fp32", tiled=False), seconds, {"tiled": False, "decode_dtype": "fp32"}
        )
        yield _Way(
            0.0, decode_bytes(facts, clip, "fp32", tiled=True), 2 * seconds, {"tiled": True, "decode_dtype": "fp32"}
        )
        return
    for dtype, tiled, cost in (("fp32", False, 1.0), ("fp32", True, 1.8), ("bf16", True, 1.9)):
        settings = {"tiled": tiled, "decode_dtype": dtype}
        vram = decode_bytes(facts, clip, dtype, tiled=tiled) + max(0.0, facts.vae_params - 127e6) * 4
        yield _Way(vram, 3 * pixels * clip.num_frames, cost * seconds, settings)


def decode_bytes(facts: MemoryFacts, clip: Geometry, dtype: str, *, tiled: bool) -> float:
    """A line through what was measured at 480p and 720p with 81 frames; what a clip's length adds is its frames."""
    base, working, frame = {
        ("fp32", False): (3.35, 21.8e3, 38.0),
        ("bf16", False): (0.58, 14.1e3, 28.0),
        ("fp32", True): (2.66, 0.0, 38.0),
        ("bf16", True): (0.86, 0.0, 28.0),
    }[dtype, tiled]
    size = facts.vae_params / 127e6  # of the VAE that was measured
    return base * GIB * min(size, 1.0) + clip.width * clip.height * (working * min(size, 1.0) + frame * clip.num_frames)


def activation_bytes(facts: MemoryFacts, tokens: int, chunk: int) -> float:
    """At the height of a block, beside the weights, in 16 bits."""
    unit = 2.0 * tokens * facts.width
    times = 6 * unit if facts.expands_timesteps else 0.0  # a modulation for each token
    if not chunk or chunk >= tokens:
        feed_forward = 2 + 2 * facts.feed_forward / facts.width
        return max(WHOLE_UNITS, feed_forward) * unit + 4 * times
    part = 2.0 * chunk * (2.2 * facts.feed_forward + 8 * facts.width)
    return CHUNKED_UNITS * unit + times + part


def compute_seconds(spec: ModelSpec, clip: Geometry, machine: Machine) -> float:
    """Of one pass of one transformer: operations over the rates of matrix products and of attention."""
    facts, tokens = spec.memory, _tokens(spec, clip)
    matmul = 2.0 * facts.block_params * facts.blocks * tokens
    attention = 4.0 * tokens * (tokens + spec.max_sequence_length) * facts.width * facts.blocks
    return matmul / machine.matmul_speed + attention / machine.attention_speed


def _tokens(spec: ModelSpec, clip: Geometry) -> int:
    return spec.latent_tokens(clip.width, clip.height, clip.num_frames)
