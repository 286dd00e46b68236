"""Memory, operations and seconds of a transformer, from its sizes and the clip's.

Unless they say otherwise the constants were measured with benchmarks/gpu on an H100 with torch 2.11, at the real
sizes with random weights. Activations are counted in units of one (tokens, width) tensor in 16 bits.
"""

from __future__ import annotations

import math

from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.attention import Attention, sage_speedup
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.requests.sampling.step_cache import CacheKind

RING_BLOCKS = 2
"""Blocks in the ring buffer on the device: one computes while the next is copied."""
CHUNK_ROWS = 4096
"""Tokens at a time in the chunked forward where each row is independent: enough to keep a GPU busy."""

BLOCK_UNITS, FEED_FORWARD_UNITS = 10.5, 2.6
"""Peak activations of a block in diffusers' own forward: the first, plus the second times feed_forward / width."""
TOKEN_TIMESTEP_UNITS = 17.5
"""Further peak activations there with per-token timestep embeddings (TI2V)."""
CHUNKED_UNITS = 4.45
"""Peak activations of the chunked forward: tokens, query, key, value, and the attention of some heads."""
CHUNKED_BYTES = 0.25 * 2**30
"""Peak of the chunked forward that does not grow with the clip: rows in fp32 and one dequantized weight."""
TOKEN_TIMESTEP_BYTES = 60.0
"""Bytes per row and width of the chunked forward with per-token timestep embeddings."""
EXCHANGED_UNITS, CHUNKED_EXCHANGED_UNITS = 3.3, 5.1
"""What attention takes beside where two devices share the tokens: a part for the other device, query, key and value of
all tokens for two groups of heads, their results and those of the block before. In the stock forward most of it comes
when little else is there."""
CACHE_UNITS = {
    CacheKind.OFF: 0.0,
    CacheKind.FIRST_BLOCK: 7.0,  # two blocks' inputs, and for each branch a residual and what it is compared with
    CacheKind.MAGCACHE: 4.0,  # a residual and an input for each branch
    CacheKind.SEACACHE: 6.0,  # two residuals for each branch, the input and the output
    CacheKind.TAYLORSEER: 0.1,  # of the model's output, which has few channels
}
"""Activations that a step cache keeps (counted, not measured)."""
DEQUANTIZED_BYTES = 4.0
"""Bytes per weight of the largest layer while it is dequantized."""

CHUNKED_SECONDS, QUANTIZED_SECONDS, COMPILED_SECONDS, STREAMED_SECONDS = 1.03, 1.02, 0.85, 1.01
"""Seconds of a pass relative to diffusers' own bf16 forward. The last where every block streams and compute is slower
than copying."""
FUSED_OPERATIONS = 52e3
"""Matrix operations in 16 bits in the time that fused pointwise operations save, for each value of a block's hidden
states: against the stock forward, 13 ms of 83 at 32,760 tokens of width 5120, and 35 of 306 at 75,600."""
MOST_FUSED = 0.3
"""The largest share of a pass that they save, for small models."""
COMPILED_8_BITS_SECONDS, CHUNKED_COMPILED_8_BITS_SECONDS = 0.84, 0.90
"""Compiled, where layers compute in 8 bits: rounding is fused with what comes before it, but not in chunks."""
PINNED_OVERHEAD = 1.1
"""Pinned memory taken per byte used: torch's allocator rounds up to powers of two."""


def block_bytes(facts: MemoryFacts, precision: Precision) -> float:
    """Weights of one block."""
    return facts.block_params * precision.bytes_per_weight


def buffer_bytes(facts: MemoryFacts, clip: Geometry, precision: Precision) -> float:
    """What a streamed block takes on the device: its weights, and those of LoRAs, if they change all blocks alike."""
    return block_bytes(facts, precision) + clip.lora_bytes / facts.blocks


def outer_bytes(facts: MemoryFacts) -> float:
    """Weights of one expert outside its blocks: 16 bits, with a few layers in fp32."""
    return 2.2 * facts.outer_params


def transformer_bytes(facts: MemoryFacts, precision: Precision) -> float:
    """Weights of all experts."""
    outer = outer_bytes(facts) * (2.0 if precision is Precision.FP32 else 1.0)
    return facts.experts * (facts.blocks * block_bytes(facts, precision) + outer)


def activation_bytes(facts: MemoryFacts, tokens: int, plan: MemoryPlan) -> float:
    """Peak activations of a block beside the weights, computed in 16 bits, on each device."""
    if plan.split > 1:
        alone = activation_bytes(facts, math.ceil(tokens / 2), plan.on_one_device())
        return alone + (CHUNKED_EXCHANGED_UNITS if plan.chunk else EXCHANGED_UNITS) * 2.0 * tokens * facts.width
    unit, ratio = 2.0 * tokens * facts.width, facts.feed_forward / facts.width
    # VACE's own blocks keep the stock forward, and each leaves a hint of one unit
    stock_units = BLOCK_UNITS + FEED_FORWARD_UNITS * ratio + facts.control_layers
    if not plan.chunk:
        stock_units += TOKEN_TIMESTEP_UNITS if facts.expands_timesteps else 0.0
        dequantizes = plan.precision.is_quantized and (plan.exact or not plan.precision.computes_in_8_bits)
        weight = DEQUANTIZED_BYTES * facts.width * facts.feed_forward if dequantizes else 0.0
        return stock_units * unit + weight
    if facts.control_layers:
        return stock_units * unit + CHUNKED_BYTES
    feed_forward_units = 1 + min(plan.chunk / max(tokens, 1), 1.0) * (2 * ratio + 2)
    timesteps = TOKEN_TIMESTEP_BYTES * min(CHUNK_ROWS, tokens) * facts.width if facts.expands_timesteps else 0.0
    return max(CHUNKED_UNITS, feed_forward_units) * unit + timesteps + CHUNKED_BYTES


def cache_bytes(facts: MemoryFacts, tokens: int, cache: CacheKind) -> float:
    """Activations that a step cache keeps from step to step."""
    return CACHE_UNITS[cache] * 2.0 * tokens * facts.width


def chunk_tokens(facts: MemoryFacts, tokens: int) -> int:
    """The largest equal chunk of tokens for which the feed-forward layers peak no higher than attention."""
    share = (CHUNKED_UNITS - 1) / (2 * facts.feed_forward / facts.width + 2)
    return math.ceil(tokens / math.ceil(1 / share))


def operations(spec: ModelSpec, clip: Geometry) -> tuple[float, float]:
    """Floating-point operations of one pass: those of matrix products and those of attention."""
    facts, tokens = spec.memory, clip.tokens(spec)
    matmul = 2.0 * facts.block_params * facts.blocks * tokens
    return matmul, 4.0 * tokens * (tokens + spec.max_sequence_length) * facts.width * facts.blocks


def compute_seconds(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> float:
    """One pass in diffusers' own forward with all weights in place, in bf16 or as the plan multiplies and attends."""
    matmul, attention = operations(spec, clip)
    seconds = matmul / machine.matmul_speed
    if plan.precision is Precision.INT8_COMPUTE and machine.int8_speed:
        exact = _exact_share(spec.memory, plan)
        seconds = exact * seconds + (1 - exact) * matmul / machine.int8_speed
    attention_speed = machine.attention_speed
    if plan.attention is Attention.SAGE:
        attention_speed *= sage_speedup(machine.sage, spec.memory.head_size, clip.tokens(spec))
    return seconds + attention / attention_speed


def _exact_share(facts: MemoryFacts, plan: MemoryPlan) -> float:
    """The part of a block's parameters that multiply in 16 bits where the others do in int8."""
    of_layers = (facts.feed_forward if name.startswith("ffn.") else facts.width for name in plan.exact)
    return facts.width * sum(of_layers) / facts.block_params


def _compiled_seconds(plan: MemoryPlan) -> float:
    if not plan.precision.computes_in_8_bits:
        return COMPILED_SECONDS
    return CHUNKED_COMPILED_8_BITS_SECONDS if plan.chunk else COMPILED_8_BITS_SECONDS


def _fused_seconds(spec: ModelSpec, clip: Geometry, machine: Machine) -> float:
    """What a pass saves by fused pointwise operations, which are bound by the device's memory as its products are by
    its units: both grow alike from card to card."""
    return FUSED_OPERATIONS * clip.tokens(spec) * spec.memory.width * spec.memory.blocks / machine.matmul_speed


def pass_seconds(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> float:
    """One pass by this plan: computing, or copying the streamed blocks where that takes longer.

    Of two experts each does about half of the passes.
    """
    facts = spec.memory
    dequantizes = plan.precision.is_quantized and not plan.precision.computes_in_8_bits
    compute = compute_seconds(spec, clip, machine, plan) * (QUANTIZED_SECONDS if dequantizes else 1.0)
    if plan.fused:
        compute -= min(_fused_seconds(spec, clip, machine), MOST_FUSED * compute)
    else:
        compute *= (CHUNKED_SECONDS if plan.chunk else 1.0) * (_compiled_seconds(plan) if plan.compiled else 1.0)
    if plan.residency is not Residency.STREAMED:
        return compute
    streamed = facts.blocks - min(plan.blocks, facts.blocks)
    copied = streamed * buffer_bytes(facts, clip, plan.precision)
    from_ram, from_disk = (max(compute, copied / speed) for speed in (machine.copy_speed, machine.disk_speed))
    disk_share = plan.disk / facts.experts
    overhead = 1 + (STREAMED_SECONDS - 1) * streamed / facts.blocks
    return overhead * (disk_share * from_disk + (1 - disk_share) * from_ram)
