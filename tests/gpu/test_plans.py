"""Memory plans on an accelerator: the same bits twice and wherever weights are, and known errors of each precision."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from tests.gpu.bench import Bench, psnr, write_lora
from tests.support import tiny
from tests.support.observers import Recorder
from wan_pipeline.engine.attention.sage import sage_version
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.requests.request import LoraChoice

pytestmark = pytest.mark.gpu

CHUNK = "chunk=32"
PRECISIONS = ("NATIVE", "int8", "int8-compute", "fp8", "fp8-compute", "int4")
PLANS = (
    "resident,NATIVE",
    "offload,NATIVE",
    f"streamed,NATIVE,{CHUNK},text=streamed",
    f"streamed,NATIVE,{CHUNK},disk=1",
    "resident,int8",
    f"streamed,int8,blocks=2,{CHUNK}",
    f"resident,fp8,{CHUNK}",
    f"resident,NATIVE,{CHUNK},fused",
    f"resident,int8-compute,{CHUNK},fused",
    "resident,NATIVE,tile=96",
    "resident,NATIVE,vae=bf16",
    "resident,NATIVE,text=cpu",
)


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_gives_the_same_bits_twice(bench: Bench, plan):
    bench.skip_unless_able(plan.split(",")[1])
    first = bench.render(plan).sha256
    bench.render("resident,NATIVE", bench.request(seed=1, num_inference_steps=1))
    assert bench.render(plan).sha256 == first
    with Engine(bench.settings, bench.place) as other:
        assert other.render(bench.request(), Recorder(), plan=plan.replace("NATIVE", bench.native)).sha256 == first


@pytest.mark.parametrize("fused", ["", ",fused"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_streamed_is_resident_bit_for_bit(bench: Bench, precision, fused):
    bench.skip_unless_able(precision)
    wanted = bench.render(f"resident,{precision},{CHUNK}{fused}").sha256
    for more in ("", "blocks=3,", "blocks=100,"):
        assert bench.render(f"streamed,{precision},{more}{CHUNK}{fused}").sha256 == wanted, more
    assert bench.render(f"streamed,{precision},{CHUNK},disk=1{fused}").sha256 == wanted


def test_offloaded_is_resident_bit_for_bit(bench: Bench):
    wanted = bench.render("resident,NATIVE").sha256
    assert bench.render("offload,NATIVE").sha256 == wanted


def test_streamed_text_encoder_is_the_resident_one_bit_for_bit(bench: Bench):
    wanted = bench.render("resident,NATIVE").sha256
    shutil.rmtree(bench.settings.cache / "prompts")
    assert bench.render("resident,NATIVE,text=streamed").sha256 == wanted


def test_streamed_blocks_wait_in_pinned_memory(bench: Bench):
    made = bench.render(f"streamed,int8,{CHUNK}")
    assert not any("pinned" in warning for warning in made.warnings)
    blocks = [block for model in bench.engine._holder.loaded.streamed for block in model.blocks]
    assert all(block.home_slab.is_pinned() == (bench.place.device.type == "cuda") for block in blocks)


@torch.inference_mode()
def test_chunked_is_the_stock_forward_within_rounding(bench: Bench):
    bench.render("resident,NATIVE")
    transformer = bench.engine._holder.loaded.denoiser.transformer
    device, dtype, generator = bench.place.device, bench.place.dtype, torch.Generator().manual_seed(0)
    timestep = torch.full((1, 75), 500.0)
    timestep[:, :15] = 0.0
    inputs = {
        "hidden_states": torch.randn(1, transformer.config.in_channels, 5, 6, 10, generator=generator).to(
            device, dtype
        ),
        "timestep": timestep.to(device),
        "encoder_hidden_states": torch.randn(1, 64, 192, generator=generator).to(device, dtype),
    }
    wanted = transformer(**inputs).sample.float()
    with chunked(transformer, 16):
        made = transformer(**inputs).sample.float()
    error = float((made - wanted).norm() / wanted.norm())
    bench.measured(f"error of the chunked forward, {bench.native}", error)
    assert error < (1e-5 if dtype is torch.float32 else 0.02)
    assert transformer(**inputs).sample.float().equal(wanted)


@pytest.mark.parametrize(
    ("plan", "at_least"),
    [
        ("resident,int8", 30),
        ("resident,int8-compute", 30),
        ("resident,fp8", 24),
        ("resident,fp8-compute", 18),
        ("resident,int4", 14),
        (f"resident,NATIVE,{CHUNK}", 30),
        (f"resident,NATIVE,{CHUNK},fused", 30),
        (f"resident,int8-compute,{CHUNK},fused", 30),
        ("resident,NATIVE,tile=96", 24),
        ("resident,NATIVE,vae=bf16", 34),
        ("resident,NATIVE,text=cpu", 26),
    ],
)
def test_other_arithmetic_gives_nearly_the_same_frames(bench: Bench, plan, at_least):
    bench.skip_unless_able(plan.split(",")[1])
    likeness = psnr(bench.render(plan).frames, bench.render("resident,NATIVE").frames)
    bench.measured(f"{plan.replace('NATIVE', bench.native)} against resident,{bench.native}, PSNR in dB", likeness)
    assert likeness > at_least


def test_a_lora_is_applied_alike_by_every_plan_and_leaves_no_trace(bench: Bench):
    write_lora(bench.settings.loras / "style.safetensors")
    request = bench.request(loras=(LoraChoice("style", 0.8),))
    fused = ("int8-compute", f"{CHUNK},fused")
    for precision, how in (("NATIVE", CHUNK), ("int8", CHUNK), ("int8-compute", CHUNK), fused):
        bench.skip_unless_able(precision)
        plain = bench.render(f"resident,{precision},{how}").sha256
        styled = bench.render(f"resident,{precision},{how}", request).sha256
        assert styled != plain
        assert bench.render(f"resident,{precision},{how}").sha256 == plain
        assert bench.render(f"streamed,{precision},{how}", request).sha256 == styled
        assert bench.render(f"streamed,{precision},{how}").sha256 == plain


@pytest.mark.parametrize("model", ["wan2.2-t2v-a14b", "wan2.1-vace-1.3b"])
def test_experts_and_control_blocks_stream_bit_for_bit(bench: Bench, model):
    """Tiny models with random weights."""
    write = tiny.write_experts_text if model == "wan2.2-t2v-a14b" else tiny.write_vace
    write(bench.settings.models / model)
    request = bench.request(model=model, width=96, height=64, num_frames=9, styled_prompt="the red ball")
    if bench.place.device.type == "cuda":
        fused = bench.render("resident,int8,chunk=7,fused", request).frames
        assert psnr(fused, bench.render("resident,int8,chunk=7", request).frames) > 25
    wanted = bench.render("resident,int8,chunk=7", request).sha256
    for more in ("", "blocks=1,", "disk=1,"):
        assert bench.render(f"streamed,int8,{_ordered(more)}", request).sha256 == wanted, more


def test_a_first_block_cache_streams_bit_for_bit(bench: Bench):
    request = bench.request(first_block_cache=0.2, num_inference_steps=8)
    wanted = bench.render(f"resident,int8,{CHUNK}", request).sha256
    assert bench.render(f"streamed,int8,{CHUNK}", request).sha256 == wanted
    assert bench.render(f"resident,int8,{CHUNK}", replace(request, first_block_cache=0.0)).sha256 != wanted


def test_compiled_blocks_give_nearly_the_same_frames_and_are_undone(bench: Bench):
    if bench.place.device.type != "cuda":
        pytest.skip("compiling for a CPU takes minutes; tests/engine has it")
    pytest.importorskip("triton")
    plain = bench.render("resident,NATIVE")
    compiled = bench.render("resident,NATIVE,compiled")
    likeness = psnr(compiled.frames, plain.frames)
    bench.measured(f"resident,{bench.native},compiled against resident,{bench.native}, PSNR in dB", likeness)
    assert likeness > 30
    assert bench.render("resident,NATIVE").sha256 == plain.sha256


def test_compiled_int8_products_give_nearly_the_same_frames(bench: Bench):
    if bench.place.device.type != "cuda":
        pytest.skip("compiling for a CPU takes minutes")
    bench.skip_unless_able("int8-compute")
    plain, compiled = (bench.render(f"resident,int8-compute{more}") for more in ("", ",compiled"))
    likeness = psnr(compiled.frames, plain.frames)
    bench.measured("resident,int8-compute,compiled against resident,int8-compute, PSNR in dB", likeness)
    assert likeness > 30


def test_sage_attention_streams_bit_for_bit_and_is_written_down(bench: Bench):
    if sage_version() is None or bench.place.device.type != "cuda":
        pytest.skip("SageAttention is not installed")
    made = bench.render(f"resident,int8-compute,{CHUNK},attention=sage")
    assert made.provenance.environment["attention"] == f"sage {sage_version()}"
    assert bench.render(f"streamed,int8-compute,{CHUNK},attention=sage").sha256 == made.sha256
    exact = bench.render(f"resident,int8-compute,{CHUNK}")
    likeness = psnr(made.frames, exact.frames)
    bench.measured("attention=sage against exact attention, int8-compute, PSNR in dB", likeness)
    assert 18 < likeness < 100  # version 1 counts keys too many in clips as small as this
    assert "sage" not in exact.provenance.environment["attention"]


def _ordered(more: str) -> str:
    """The plan's text in the order in which plans are written."""
    return f"chunk=7,{more.rstrip(',')}" if more.startswith("disk") else f"{more}chunk=7"
