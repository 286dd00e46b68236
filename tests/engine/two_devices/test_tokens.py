"""Half of the tokens on each of two devices, which are both the CPU here: one device's output but for rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel, WanVACETransformer3DModel

from tests.engine.memory.test_block_streaming import make
from tests.engine.memory.test_quantize import inputs
from tests.engine.two_devices.conftest import EXPERTS
from tests.support import tiny
from tests.support.faults.shortage import no_room_for
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.engine.attention import split_heads
from wan_pipeline.engine.device.placement import CPU
from wan_pipeline.engine.engine import Engine, Rendered
from wan_pipeline.engine.lora.adapters import LowRank, applied
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.two_devices.tokens import split_tokens
from wan_pipeline.engine.two_devices.twin import Twin, copy_to
from wan_pipeline.errors import Cancelled, OutOfMemory
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.precision import Precision
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks

TOKENS = 18
ALONE, SPLIT = "resident,int8,chunk=7", "resident,int8,chunk=7,split=2"


def call(model: Any, **changes: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model(**inputs() | changes, return_dict=False)[0]
    return made


@contextmanager
def split(model: Any, chunk: int = 0, adapters: Any = (), *, fused: bool = False) -> Iterator[Any]:
    """The copy on the second device."""
    copy = copy_to(model, CPU)
    with ExitStack() as stack:
        for transformer in (model, copy):
            stack.enter_context(applied(transformer, list(adapters)))
            stack.enter_context(chunked(transformer, chunk, fused=fused, whole_head=True))
        stack.enter_context(split_tokens((model,), CPU, Twin(CPU, (copy,))))
        yield copy


def differs(model: Any, chunk: int = 0, *, fused: bool = False, **changes: Any) -> float:
    """From one device's output, by its largest difference; the output itself reaches about 2."""
    wanted = call(model, **changes)
    with split(model, chunk, fused=fused):
        first, second = call(model, **changes), call(model, **changes)
    assert first.equal(second) and call(model, **changes).equal(wanted), "nothing is left of it"
    assert not any("forward" in vars(module) or module._forward_hooks for module in model.modules())
    assert not any(isinstance(getattr(module, "processor", None), split_heads.SplitHeads) for module in model.modules())
    return float((first - wanted).abs().max())


@pytest.mark.parametrize(("chunk", "fused"), [(0, False), (5, False), (5, True)])
@pytest.mark.parametrize("width", [6, 2, 1])
def test_any_number_of_tokens(chunk: int, fused: bool, width: int) -> None:
    hidden = torch.randn(1, 48, 1 if width == 1 else 3, 2 * width, 6, generator=torch.Generator().manual_seed(1))
    assert differs(make(), chunk, fused=fused, hidden_states=hidden) < 1e-5


@pytest.mark.parametrize("chunk", [0, 5])
def test_per_token_timestep_embeddings(chunk: int) -> None:
    times = torch.full((1, TOKENS), 500.0)
    times[:, :6] = 0
    assert differs(make(), chunk, timestep=times) < 1e-5


@pytest.mark.parametrize("chunk", [0, 5])
def test_with_an_image_beside_the_text(chunk: int) -> None:
    model = make(cross_attn_norm=False, image_dim=32, added_kv_proj_dim=48)
    text, image = torch.randn(1, 512, 32), torch.randn(1, 9, 32)
    assert differs(model, chunk, encoder_hidden_states=text, encoder_hidden_states_image=image) < 1e-5


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT8_COMPUTE, Precision.FP8])
def test_quantized_with_an_adapter(precision: Precision) -> None:
    model = make(precision)
    torch.manual_seed(3)
    adapter = {"blocks.1.attn1.to_k": [LowRank({Role.DOWN: torch.randn(2, 48), Role.UP: torch.randn(48, 2)})]}
    with applied(model, [adapter]):
        wanted = call(model)
    with split(model, 7, [adapter]):
        assert call(model).allclose(wanted, atol=1e-4)


def test_control_blocks_are_split_too() -> None:
    torch.manual_seed(0)
    shape = tiny._shape(16, 16, None) | {"vace_layers": [0, 1], "vace_in_channels": 96}
    model = WanVACETransformer3DModel(**shape).eval().requires_grad_(False)
    hidden, control = torch.randn(1, 16, 3, 4, 6), torch.randn(1, 96, 3, 4, 6)
    assert differs(model, hidden_states=hidden, control_hidden_states=control) < 1e-5


def test_heads_in_uneven_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_heads, "GROUP", 2)
    torch.manual_seed(0)
    shape = tiny._shape(48, 48, None) | {"num_attention_heads": 5, "attention_head_dim": 12}
    model = WanTransformer3DModel(**shape).eval().requires_grad_(False)
    assert max(differs(model), differs(model, 5)) < 1e-5


def test_each_device_computes_its_own_tokens_alone() -> None:
    model, rows = make(layers=2), []
    with split(model) as copy:
        for transformer in (model, copy):
            for block in transformer.blocks:
                block.ffn.register_forward_pre_hook(lambda _, args: rows.append(args[0].shape[1]))
        call(model, hidden_states=torch.zeros(1, 48, 1, 2, 10))
    assert sorted(rows) == [2, 2, 3, 3]


@pytest.mark.parametrize("failing", ["first", "second"])
@pytest.mark.parametrize("place", [lambda model: model.blocks[1].norm1, lambda model: model.condition_embedder])
def test_an_error_of_either_ends_both(failing: str, place: Callable[[Any], torch.nn.Module]) -> None:
    model = make(layers=3)

    def fail(module: torch.nn.Module, given: object) -> None:
        raise ValueError(f"the {failing} device is gone")

    with split(model) as copy, pytest.raises(ValueError, match=f"the {failing} device is gone"):
        place(model if failing == "first" else copy).register_forward_pre_hook(fail)
        call(model)


def request(**changes: Any) -> GenerationRequest:
    own = {"model": EXPERTS, "num_inference_steps": 4, "num_frames": 5, "width": 96, "height": 64}
    return make_request(**own | {"styled_prompt": "the red ball", "guidance_scale": 1.0} | changes)


def made(engine: Engine, plan: str, **changes: Any) -> Rendered:
    return engine.render(request(**changes), Recorder(), plan=plan)


def test_a_clip_says_that_its_tokens_were_split_and_comes_out_the_same_again(engine: Engine) -> None:
    glow = {"loras": (LoraChoice("glow", 0.8),)}
    alone, both = made(engine, f"{ALONE},lora=merged", **glow), made(engine, f"{SPLIT},lora=merged", **glow)
    assert both.provenance.plan == f"{ALONE},lora=merged,split=2"
    assert not any("One device" in warning for warning in both.warnings)
    assert np.abs(both.frames.astype(int) - alone.frames.astype(int)).max() <= 2
    assert made(engine, both.provenance.plan, **glow).sha256 == both.sha256
    guided = {"guidance_scale": 4.0}
    both, alone = made(engine, SPLIT, **guided), made(engine, ALONE, **guided)
    assert np.abs(both.frames.astype(int) - alone.frames.astype(int)).max() <= 2


def test_what_ends_a_clip_leaves_the_engine_as_it_was(engine: Engine) -> None:
    wanted = made(engine, SPLIT)
    with no_room_for(torch.nn.Conv3d), pytest.raises(OutOfMemory) as caught:
        made(engine, SPLIT)
    assert caught.value.smaller_plan == ALONE
    with pytest.raises(Cancelled):
        engine.render(request(), Recorder((Stage.DENOISING, 1)), plan=SPLIT)
    assert made(engine, SPLIT).sha256 == wanted.sha256


def test_without_a_second_device_the_clip_says_so(engine: Engine, settings: Settings) -> None:
    with WorkspaceLocks(settings.workspace).worker(1):
        alone = made(engine, SPLIT)
        now = engine.provenance(request(), Recorder(), SPLIT)
    assert alone.provenance.plan == now.plan == ALONE
    note = "One device computed all tokens, so the bits are others, because no second one like it is free."
    assert note in alone.warnings
    then = Provenance(EXPERTS, plan=SPLIT)
    assert then.differences(now) == (f"Memory plan: {SPLIT} then, {ALONE} now.",)


def test_a_step_cache_keeps_the_clip_on_one_device(engine: Engine) -> None:
    assert any("a step cache" in warning for warning in made(engine, SPLIT, first_block_cache=0.1).warnings)
