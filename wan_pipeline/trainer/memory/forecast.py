"""What a training takes: memory and seconds of a step by each plan, before anything is loaded. No torch.

The constants were measured with benchmarks/train.py on an H100 with torch 2.11, at the real sizes with random weights.
Activations are counted in units of one (tokens, width) tensor in 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.machine import GIB, Machine
from wan_pipeline.planning.transformer import DEQUANTIZED_BYTES, RING_BLOCKS, block_bytes, outer_bytes
from wan_pipeline.trainer.memory.plan import TrainingPlan

BLOCK_UNITS, FEED_FORWARD_UNITS = 30.0, 4.0
"""What the backward pass of a block holds: the first, plus the second times feed_forward / width."""
TOKEN_TIMESTEP_UNITS = 40.0
"""Further units with per-token timestep embeddings (TI2V): six modulations of fp32 for each token."""
FACTOR_TENSORS, MOMENTS = 2, 2
"""Of each factor: its value and its gradient, and two moments."""
MOMENT_IN_8_BITS = 1 + 4 / 256
"""Bytes: a byte, and of each block of 256 the largest in fp32."""
FIXED_BYTES = 0.4 * GIB
"""Contexts of libraries and what the allocator cannot use."""

MATMUL_PASSES, ATTENTION_PASSES = 3.0, 4.5
"""Of a step, in units of a forward: forward, forward again, and the backward of inputs alone; that of attention costs
two and a half forwards."""
POINTWISE_UNITS = 310.0
"""(tokens, width) tensors in 16 bits that a block reads or writes in a step outside its matrix products."""
DEQUANTIZED_TRAFFIC = 7.0
"""Bytes read or written for each weight and pass when it is dequantized."""
OPTIMIZER_BYTES = 600.0
"""Bytes read or written for each trained number and step: casts, clipping, Adam."""
MEMORY_SPEED = 2.0e12
"""Bytes a second of the device's own memory."""
LAUNCH_SECONDS = 11.5e-3
"""Of a block and step, in which the program queues its operations: a small batch computes in less."""
CPU_PASSES = 7.5
"""Of a step on a CPU, in units of a forward: with all activations kept, and 1.3 times as many without."""


@dataclass(frozen=True)
class Work:
    """What of a model and a batch decides memory and time."""

    facts: MemoryFacts
    tokens: int
    """Of the whole batch."""
    examples: int
    """In the batch."""
    rank: int
    text_tokens: int
    averages: bool = False
    """Whether the mean of the factors is kept too, in fp32."""
    moments_in_8_bits: bool = False


@dataclass(frozen=True)
class TrainingForecast:
    """What one plan is expected to take."""

    plan: TrainingPlan
    bytes: float
    """Peak memory of the device, or of the machine where there is none."""
    host_bytes: float
    """Of the machine's memory."""
    step_seconds: float


def factor_count(work: Work) -> float:
    """Trained numbers of one expert: of each of a block's ten or twelve linear layers, the rank times its inputs and
    outputs.
    """
    width, inner = work.facts.width, work.facts.feed_forward
    square = 10 if work.facts.reads_images else 8
    per_block = work.rank * (square * 2 * width + 2 * (width + inner))
    return float(per_block * work.facts.blocks)


def forecast(work: Work, plan: TrainingPlan, machine: Machine | None = None) -> TrainingForecast:
    """Memory, and on a known machine the seconds, of a step by this plan."""
    facts = work.facts
    unit = 2.0 * work.tokens * facts.width * (2 if plan.precision is Precision.FP32 else 1)
    blocks = facts.blocks * block_bytes(facts, plan.precision)
    on_device = blocks if not plan.buffers else plan.buffers * block_bytes(facts, plan.precision)
    weights = on_device + outer_bytes(facts) if plan.buffers else facts.experts * (on_device + outer_bytes(facts))
    factors = factor_count(work) * _factor_bytes(work, plan)
    activations = _activation_units(work, plan) * unit
    dequantized = DEQUANTIZED_BYTES * facts.width * facts.feed_forward if plan.precision.is_quantized else 0.0
    stored = facts.blocks * unit if plan.recomputes else 0.0
    device = weights + factors + activations + dequantized + FIXED_BYTES + (0.0 if plan.inputs_on_host else stored)
    host = (facts.experts * blocks if plan.buffers else 0.0) + (stored if plan.inputs_on_host else 0.0)
    host += (facts.experts - 1) * factors  # of two experts only the one whose turn it is has them on the device
    return TrainingForecast(plan, device, host, _step_seconds(work, plan, machine) if machine else 0.0)


def _factor_bytes(work: Work, plan: TrainingPlan) -> float:
    """Of each trained number: its value, gradient, moments and mean."""
    each = 2 if plan.small_factors else 4
    moment = MOMENT_IN_8_BITS if work.moments_in_8_bits else each
    return FACTOR_TENSORS * each + MOMENTS * moment + (4 if work.averages else 0)


def candidates() -> Iterator[TrainingPlan]:
    """Every plan for an accelerator, streamed ones with the fewest blocks on the device.

    Blocks in bf16 are not streamed: the machine's memory would have to hold twice as much, for 5 % of the time.
    """
    for buffers, precision in ((0, Precision.BF16), (0, Precision.INT8), (RING_BLOCKS, Precision.INT8)):
        for on_host, small in ((False, False), (True, False), (False, True), (True, True)):
            yield TrainingPlan(precision, buffers, True, on_host, small)


def fitted(work: Work, plan: TrainingPlan, limit: float) -> TrainingPlan:
    """A streamed plan with as many blocks on the device as `limit` bytes allow; any other plan as it is."""
    spare = limit - forecast(work, plan).bytes
    if not plan.buffers or spare < 0:
        return plan
    more = int(spare // block_bytes(work.facts, plan.precision))
    return replace(plan, buffers=min(plan.buffers + more, work.facts.blocks))


def _activation_units(work: Work, plan: TrainingPlan) -> float:
    facts = work.facts
    units = BLOCK_UNITS + FEED_FORWARD_UNITS * facts.feed_forward / facts.width
    units += TOKEN_TIMESTEP_UNITS if facts.expands_timesteps else 0.0
    return units if plan.recomputes else units * facts.blocks


def _step_seconds(work: Work, plan: TrainingPlan, machine: Machine) -> float:
    facts = work.facts
    of_image = 2 * facts.width**2 if facts.reads_images else 0  # keys and values of the image's few tokens alone
    matmul = 2.0 * (facts.block_params - of_image) * facts.blocks * work.tokens / machine.matmul_speed
    attended = work.tokens / work.examples + work.text_tokens
    attention = 4.0 * work.tokens * attended * facts.width * facts.blocks / machine.attention_speed
    if not machine.vram:
        return CPU_PASSES * (1.3 if plan.recomputes else 1.0) * (matmul + attention)
    pointwise = POINTWISE_UNITS * 2.0 * work.tokens * facts.width * facts.blocks / MEMORY_SPEED
    optimizer = OPTIMIZER_BYTES * factor_count(work) / MEMORY_SPEED
    compute = MATMUL_PASSES * matmul + ATTENTION_PASSES * attention + pointwise + optimizer
    seconds = max(compute, LAUNCH_SECONDS * facts.blocks)
    if plan.precision.is_quantized:
        seconds += MATMUL_PASSES * DEQUANTIZED_TRAFFIC * facts.block_params * facts.blocks / MEMORY_SPEED
    streamed = facts.blocks - plan.buffers if plan.buffers else 0
    return max(seconds, 2 * streamed * block_bytes(facts, plan.precision) / machine.copy_speed)
