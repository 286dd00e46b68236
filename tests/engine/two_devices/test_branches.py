"""A guidance branch on each of two devices, which are both the CPU here: the bits of one device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch.nn.modules.module import register_module_forward_pre_hook

from tests.engine.two_devices.conftest import EXPERTS
from tests.support.faults.shortage import no_room_for
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.device.placement import CPU
from wan_pipeline.engine.engine import Engine, Rendered
from wan_pipeline.engine.memory.inner_tensors import named_tensors
from wan_pipeline.engine.two_devices.twin import copied, copy_to
from wan_pipeline.errors import Cancelled, GenerationError, OutOfMemory
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.planning.hardware import load_hardware
from wan_pipeline.planning.memory_plan import read_plan
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks, is_held

PAIRED = "resident,int8,chunk=7,branches=2"
INT8_BUT_ONE = "resident,int8-compute,chunk=7,fused,exact=attn2.to_q"


def request(**changes: object) -> GenerationRequest:
    own = {"model": EXPERTS, "num_inference_steps": 4, "num_frames": 5, "width": 96, "height": 64}
    return make_request(**{**own, "styled_prompt": "the red ball", "guidance_scale": 4.0, **changes})


def made(engine: Engine, plan: str, **changes: object) -> Rendered:
    return engine.render(request(**changes), Recorder(), plan=plan)


def passes(engine: Engine, **changes: object) -> tuple[int, int]:
    """Passes of the loaded transformers, and of copies of them."""
    loaded = engine._holder.loaded
    assert loaded is not None
    originals = [block for model in loaded.denoiser.transformers for block in model.blocks]
    own: list[torch.nn.Module] = []
    others: list[torch.nn.Module] = []

    def count(module: torch.nn.Module, inputs: object) -> None:
        if isinstance(module, WanTransformerBlock):
            (own if module in originals else others).append(module)

    hook = register_module_forward_pre_hook(count)
    try:
        made(engine, PAIRED, **changes)
    finally:
        hook.remove()
    blocks = len(loaded.denoiser.transformer.blocks)
    return len(own) // blocks, len(others) // blocks


@pytest.mark.parametrize("plan", ["resident,fp32", "resident,int8,chunk=7,lora=merged", INT8_BUT_ONE])
def test_two_devices_give_the_bits_of_one(engine: Engine, plan: str) -> None:
    glow = {"loras": (LoraChoice("glow", 0.8, schedule=Schedule.parse("0:1,1:0.2")),)} if "merged" in plan else {}
    one, two = made(engine, plan, **glow), made(engine, f"{plan},branches=2", **glow)
    assert two.sha256 == one.sha256 and two.provenance.plan == f"{plan},branches=2"
    assert made(engine, plan, **glow, guidance_scale=1.0).sha256 != one.sha256


def test_the_page_is_told_of_a_second_device_that_is_free(engine: Engine, settings: Settings) -> None:
    stored = load_hardware(settings.cache)
    assert stored is not None and stored.second_free > 0


def test_steps_without_guidance_use_the_first_alone(engine: Engine) -> None:
    made(engine, PAIRED)
    assert passes(engine) == (4, 4)
    part = {"guidance_interval": (0.0, 0.9)}
    own, others = passes(engine, **part)
    assert own == 4 and others == len(request(**part).guided_steps) < 4
    assert passes(engine, guidance_scale=1.0) == (4, 0)


def test_an_error_of_the_second_device_ends_the_clip_and_nothing_is_left(engine: Engine) -> None:
    wanted = made(engine, PAIRED)
    loaded = engine._holder.loaded
    assert loaded is not None
    originals = {block for model in loaded.denoiser.transformers for block in model.modules()}

    def fail(module: torch.nn.Module, inputs: object) -> None:
        if type(module) is WanTransformerBlock and module not in originals:
            raise ValueError("the second device is gone")

    hook = register_module_forward_pre_hook(fail)
    with pytest.raises(ValueError, match="the second device is gone"):
        made(engine, PAIRED)
    hook.remove()
    with no_room_for(WanTransformerBlock), pytest.raises(OutOfMemory) as caught:
        made(engine, PAIRED)
    assert caught.value.smaller_plan == "resident,int8,chunk=7"
    with pytest.raises(Cancelled):
        engine.render(request(), Recorder((Stage.DENOISING, 1)), plan=PAIRED)
    assert not any("forward" in vars(module) for module in originals)
    assert not is_held(WorkspaceLocks(engine._settings.workspace).device(1))
    assert made(engine, PAIRED).sha256 == wanted.sha256


def test_a_lora_is_removed_exactly_from_both(engine: Engine, settings: Settings) -> None:
    made(engine, "resident,int8,chunk=7")
    loaded = engine._holder.loaded
    assert loaded is not None
    model = loaded.denoiser.transformer
    before = copy_to(model, CPU)
    with copied((model,), [], read_plan(PAIRED), CPU) as twin:
        made(engine, "resident,int8,chunk=7,branches=2", loras=(LoraChoice("glow", 0.8),))
        for left in (model, twin.transformers[0]):
            for (_, _, tensor), (_, _, was) in zip(named_tensors(left), named_tensors(before), strict=True):
                assert torch.equal(tensor, was) and tensor is not was
    assert not any(module._forward_hooks for module in model.modules())
    assert not list(named_tensors(twin.transformers[0])), "the second device has its memory back"


def test_what_has_no_second_device_says_so(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    with WorkspaceLocks(settings.workspace).worker(1):
        alone = made(engine, PAIRED)
    assert alone.provenance.plan == "resident,int8,chunk=7"
    assert any("because no second one like it is free" in warning for warning in alone.warnings)
    assert any("a step cache" in warning for warning in made(engine, PAIRED, first_block_cache=0.1).warnings)
    for plan in ("streamed,int8,chunk=7,branches=2", "resident,fp32,compiled,branches=2"):
        with pytest.raises(GenerationError, match="needs a resident plan without compiled blocks"):
            made(engine, plan)
