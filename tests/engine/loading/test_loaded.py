"""A plan that the device cannot carry out is refused before anything is loaded."""

from __future__ import annotations

import pytest
import torch

from wan_pipeline.engine.loading import device_support
from wan_pipeline.engine.loading.device_support import check_device_supports
from wan_pipeline.errors import GenerationError
from wan_pipeline.planning.memory_plan import read_plan


class CompilationError(Exception):
    """As triton's, which has no other base."""


def without_a_compiler(*arguments):
    raise CompilationError("no C compiler\nand a trace")


def test_fp8_compute_needs_a_gpu_that_can_and_a_cpu_just_computes():
    check_device_supports(read_plan("resident,fp8-compute"), torch.device("cpu"))
    with pytest.raises(GenerationError, match=r"cannot compute in fp8.*choose fp8 or int8"):
        check_device_supports(read_plan("resident,fp8-compute"), torch.device("mps"))


def test_int8_compute_needs_a_gpu_that_can_with_triton_and_a_cpu_just_computes(monkeypatch):
    plan = read_plan("resident,int8-compute")
    check_device_supports(plan, torch.device("cpu"))
    with pytest.raises(GenerationError, match=r"cannot compute in int8.*choose int8 weights"):
        check_device_supports(plan, torch.device("mps"))
    monkeypatch.setattr(device_support, "has_int8_units", lambda device: True)
    with pytest.raises(GenerationError, match=r"needs the package triton .*install it or choose int8 weights"):
        check_device_supports(plan, torch.device("mps"))
    monkeypatch.setattr(device_support, "computes_int8", lambda device: True)
    monkeypatch.setattr(device_support, "quantized_rows", without_a_compiler)
    with pytest.raises(GenerationError, match=r"does not work here: no C compiler\. .*or choose int8 weights"):
        check_device_supports(plan, torch.device("meta"))


def test_offload_cannot_move_quantized_weights():
    with pytest.raises(GenerationError, match="cannot move int4 weights; choose the plan streamed"):
        check_device_supports(read_plan("offload,int4"), torch.device("cpu"))


def test_compiling_for_cuda_needs_triton(monkeypatch):
    monkeypatch.setattr(device_support, "find_spec", lambda name: None)
    with pytest.raises(GenerationError, match=r"need the package triton.*leave --compiled out"):
        check_device_supports(read_plan("resident,bf16,compiled"), torch.device("cuda"))
    check_device_supports(read_plan("resident,bf16"), torch.device("cuda"))


def test_fused_needs_the_chunked_forward_and_a_gpu_that_has_the_kernels():
    check_device_supports(read_plan("streamed,int8,chunk=10,fused"), torch.device("cpu"))
    with pytest.raises(GenerationError, match="add chunk"):
        check_device_supports(read_plan("resident,int8,fused"), torch.device("cpu"))
    with pytest.raises(GenerationError, match="leave fused out"):
        check_device_supports(read_plan("resident,int8,chunk=10,fused"), torch.device("mps"))


def test_only_layers_that_multiply_in_int8_can_be_made_exact():
    check_device_supports(read_plan("resident,int8-compute,exact=ffn.net.2"), torch.device("cpu"))
    with pytest.raises(GenerationError, match=r"exact=ffn\.net\.2 is about .*, and int8 has none; leave it out"):
        check_device_supports(read_plan("streamed,int8,exact=ffn.net.2"), torch.device("cpu"))
