"""Which memory plan a clip gets: the fastest that fits. Pure arithmetic, without torch or a device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.attention import Attention
from wan_pipeline.planning.candidates import TOLERANCE, leanest, size, stage_candidates
from wan_pipeline.planning.forecast import PROCESS_BYTES, Forecast, forecast
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, REFERENCE, Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.requests.own_clip import own_request

SMALLER = 0.8
"""After running out of memory, the next plan may use at most this fraction of the failed plan's forecast."""


def select_plan(
    spec: ModelSpec,
    clip: Geometry,
    machine: Machine,
    precision: Precision | None = None,
    only: Residency | None = None,
    *,
    compiled: bool = False,
    attention: Attention = Attention.FASTEST,
    exact: tuple[str, ...] = (),
) -> Forecast:
    """The fastest plan within the machine's free memory; if none fits, the smallest, with a `reason`.

    Without a `precision` it is bf16 (fp32 on a CPU) if that fits without streaming, else int8. `only` allows one
    residency. Decoding in fp32 is preferred to a resident model. `exact` layers are those of a model whose precision is
    int8-compute.
    """
    forecasts: list[Forecast] = []
    how: dict[str, Any] = {"compiled": compiled, "attention": attention, "exact": exact}
    for each, residencies in _options(machine, precision):
        if only is Residency.OFFLOAD and each.is_quantized and precision is None:
            break  # accelerate cannot move quantized weights
        tried = [only] if only and machine.vram else residencies
        plans = [MemoryPlan(kind, each, **how) for kind in tried]
        forecasts = [_staged(spec, clip, machine, plan) for plan in plans]
        if fitting := [made for made in forecasts if made.fits]:
            in_fp32 = [made for made in fitting if made.plan.vae == "fp32"] or fitting
            fastest = min(made.seconds for made in in_fp32)
            return next(made for made in in_fp32 if made.seconds <= TOLERANCE * fastest)
    return forecasts[-1]


def select_smaller_plan(
    spec: ModelSpec, clip: Geometry, machine: Machine, failed: MemoryPlan, *, keeps_precision: bool
) -> MemoryPlan | None:
    """The plan to try after `failed` ran out of memory: less in some stage, more in none; None if there is none."""
    before = forecast(spec, clip, machine, failed)
    vram = min(machine.vram, SMALLER * before.peak_vram)
    ram = machine.ram if machine.vram else PROCESS_BYTES + SMALLER * (before.peak_ram - PROCESS_BYTES)
    less = replace(machine, vram=vram, ram=ram)
    keeps = keeps_precision or failed.precision.is_quantized or not machine.vram
    for only in (None, Residency.STREAMED):
        precision = failed.precision if keeps else None
        how: dict[str, Any] = {"compiled": failed.compiled, "attention": failed.attention, "exact": failed.exact}
        found = select_plan(spec, clip, less, precision, only, **how).plan
        if _is_smaller(forecast(spec, clip, machine, found), before):
            return found
    return None


def least_memory(spec: ModelSpec) -> dict[str, float]:
    """GiB of the device that the model's own clip takes at least, by kind of plan."""
    clip = Geometry.of(own_request(spec), spec)
    kinds = {
        "resident": MemoryPlan(Residency.RESIDENT),
        "offload": MemoryPlan(Residency.OFFLOAD),
        "streamed int8": MemoryPlan(Residency.STREAMED, Precision.INT8),
    }
    peaks = {name: forecast(spec, clip, REFERENCE, leanest(spec, clip, plan)).peak_vram for name, plan in kinds.items()}
    return {name: round(peak / GIB, 1) for name, peak in peaks.items()}


def _options(machine: Machine, precision: Precision | None) -> list[tuple[Precision, list[Residency]]]:
    """Precisions in order of preference, each with the residencies to compare."""
    if not machine.vram:
        return [(precision or Precision.FP32, [Residency.RESIDENT])]
    whole, streamed = [Residency.RESIDENT, Residency.OFFLOAD], [Residency.RESIDENT, Residency.STREAMED]
    if precision is None:
        return [(Precision.BF16, whole), (Precision.INT8, streamed)]
    return [(precision, streamed if precision.is_quantized else list(Residency))]


def _staged(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> Forecast:
    """The plan with each stage's best candidate. Stages run one after another, so each is chosen by itself."""
    settings: dict[str, Any] = {}
    for candidates in stage_candidates(spec, clip, machine, plan):
        best = candidates.best()
        settings |= {name: value for name, value in vars(best).items() if value != getattr(plan, name)}
    return forecast(spec, clip, machine, replace(plan, **settings))


def _is_smaller(made: Forecast, before: Forecast) -> bool:
    pairs = [(size(made.costs[stage]), size(cost)) for stage, cost in before.costs.items()]
    return all(new <= old for new, old in pairs) and any(new < old for new, old in pairs)
