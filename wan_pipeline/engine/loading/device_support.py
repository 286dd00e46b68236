"""Whether a device can carry out a memory plan."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from wan_pipeline.engine.attention.backends import check_attention
from wan_pipeline.engine.device.timing import first_line
from wan_pipeline.engine.fused.pointwise import has_kernels
from wan_pipeline.engine.int8.product import computes_int8, has_int8_units, quantized_rows
from wan_pipeline.engine.memory.quantized_layers import computes_fp8
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency


def check_device_supports(plan: MemoryPlan, device: torch.device) -> None:
    """Raise GenerationError for a plan that the device, or what is installed for it, cannot carry out."""
    if plan.precision is Precision.FP8_COMPUTE and device.type != "cpu" and not computes_fp8(device):
        raise GenerationError(
            "This GPU cannot compute in fp8, which needs an NVIDIA GPU from the RTX 40 series on; "
            "choose fp8 or int8 weights."
        )
    if plan.precision is Precision.INT8_COMPUTE and device.type != "cpu":
        _check_int8(device)
    if plan.exact and plan.precision is not Precision.INT8_COMPUTE:
        raise GenerationError(
            f"The plan's exact={'+'.join(plan.exact)} is about layers that else multiply in int8, and {plan.precision} "
            "has none; leave it out of the plan, or choose int8-compute."
        )
    check_attention(plan.attention, device)
    if plan.residency is Residency.OFFLOAD and plan.precision.is_quantized:
        raise GenerationError(
            f"The plan offload cannot move {plan.precision} weights; choose the plan streamed, or bf16 weights."
        )
    if not plan.devices.is_one and (plan.residency is not Residency.RESIDENT or plan.compiled):
        raise GenerationError(
            "A clip on two devices needs a resident plan without compiled blocks; leave "
            f"{'branches' if plan.branches > 1 else 'split'}=2 out of the plan."
        )
    if plan.fused:
        _check_fused(plan, device)
    if plan.compiled and device.type == "cuda" and find_spec("triton") is None:
        raise GenerationError(
            "Compiled blocks need the package triton (on Windows: triton-windows), which is not installed; "
            "install it or leave --compiled out."
        )


def _check_int8(device: torch.device) -> None:
    if not has_int8_units(device):
        raise GenerationError(
            "This device cannot compute in int8, which needs an NVIDIA GPU from the RTX 20 series on, or ROCm; "
            "choose int8 weights."
        )
    if not computes_int8(device):
        raise GenerationError(
            "Computing in int8 needs the package triton (on Windows: triton-windows), which is not installed; "
            "install it or choose int8 weights."
        )
    try:
        quantized_rows(torch.ones(1, 64, device=device))
    except Exception as error:
        raise GenerationError(
            f"Computing in int8 does not work here: {first_line(error)}. Triton needs a C compiler and the headers of "
            "Python; install them or choose int8 weights."
        ) from error


def _check_fused(plan: MemoryPlan, device: torch.device) -> None:
    if not plan.chunk or plan.compiled:
        raise GenerationError(
            "The plan's word fused is about the chunked forward that is not compiled; add chunk=8192, leave compiled "
            "out, or leave fused out."
        )
    if device.type != "cpu" and not has_kernels(device):
        raise GenerationError(
            "Fused operations need a GPU of NVIDIA or ROCm and the package triton (on Windows: triton-windows); "
            "leave fused out of the plan."
        )
