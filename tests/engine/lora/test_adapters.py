"""Adapters: they change the clip as peft does, alike in every dialect, and leave no trace."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import adapters
from tests.support.observers import Recorder
from tests.support.requests import make_request
from tests.support.soak import first_only
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.loading.load import load_denoiser, quiet_libraries
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.errors import Cancelled, LoraError
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import LoraChoice

HOME = AdapterHome(torch.device("cpu"), torch.float32)


def small(*loras: LoraChoice, **changes):
    return make_request(width=64, height=64, num_frames=5, num_inference_steps=2, loras=loras, **changes)


@pytest.fixture
def engine(settings):
    with Engine(settings) as engine:
        yield engine


@pytest.fixture
def style(settings):
    return adapters.write(settings.loras / "style.safetensors")


def sha(engine, *loras: LoraChoice) -> str:
    return engine.render(small(*loras), Recorder()).sha256


def test_an_adapter_changes_the_clip_and_leaves_no_trace(engine, style):
    plain = sha(engine)
    styled = sha(engine, LoraChoice("style"))
    assert styled != plain
    assert sha(engine) == plain
    assert sha(engine, LoraChoice("Style")) == styled


@pytest.mark.soak
def test_all_dialects_make_the_same_clip(engine, settings, style):
    wanted = sha(engine, LoraChoice("style"))
    for dialect in adapters.DIALECTS:
        for alpha in (None, 2.0):
            adapters.write(settings.loras / "other.safetensors", dialect, alpha)
            assert sha(engine, LoraChoice("other")) == wanted, (dialect, alpha)


def test_the_weight_scales_the_effect(engine, style):
    shas = [sha(engine, LoraChoice("style", weight)) for weight in (-1.0, 0.0, 0.5, 1.0)]
    assert len(set(shas)) == 4
    assert shas[1] == sha(engine)


def test_several_adapters_work_together(engine, settings, style):
    adapters.write(settings.loras / "again.safetensors", "kohya")
    both = sha(engine, LoraChoice("style", 0.5), LoraChoice("again", 0.25))
    assert both not in {sha(engine, LoraChoice("style", 0.5)), sha(engine, LoraChoice("again", 0.25)), sha(engine)}


@torch.inference_mode()
def test_computes_what_peft_does(settings, style):
    quiet_libraries()
    model = ModelLibrary(settings).find("demo")
    transformer = load_denoiser(model, torch.device("cpu"), torch.float32).transformer
    inputs = {
        "hidden_states": torch.randn(1, 48, 2, 4, 4),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(1, 8, 32),
    }
    plain = transformer(**inputs).sample
    layers = read_weights(match_adapter(style, model), HOME)
    with applied(transformer, [layers]):
        ours = transformer(**inputs).sample
    assert torch.equal(transformer(**inputs).sample, plain)
    transformer.load_lora_adapter(load_file(style), prefix="transformer")
    theirs = transformer(**inputs).sample
    assert float((theirs - plain).abs().max()) > 0.1
    assert torch.allclose(ours, theirs, atol=1e-5)


@torch.inference_mode()
def test_a_difference_of_the_bias_is_added_by_the_weight(settings):
    module, change = "blocks.0.attn1.to_q", torch.linspace(-1, 1, 48)
    path = adapters.write(
        settings.loras / "distilled.safetensors", **{"diffusion_model.blocks.0.self_attn.q.diff_b": change}
    )
    adapter = match_adapter(path, ModelLibrary(settings).find("demo"), 0.5)
    assert adapter.skipped == ()
    layer = torch.nn.Linear(48, 48)
    root = torch.nn.Module()
    root.register_module("q", layer)
    low_rank = read_weights(adapter, HOME)[module]
    inputs = torch.randn(3, 48)
    plain = layer(inputs)
    with applied(root, [{"q": low_rank}]):
        changed = layer(inputs)
    down, up = adapters.matrices()[module]
    assert torch.allclose(changed, plain + 0.5 * (inputs @ down.T @ up.T + change), atol=1e-5)


@pytest.mark.soak
def test_works_in_the_accelerators_types(settings, style):
    """bf16 with some layers kept in fp32, as on a GPU."""
    with Engine(settings, Placement(torch.device("cpu"), torch.bfloat16)) as engine:
        plain, styled = sha(engine), sha(engine, LoraChoice("style"))
        assert styled != plain and sha(engine) == plain


@pytest.mark.soak
def test_cancelled_with_an_adapter_leaves_no_trace(engine, style):
    plain = sha(engine)
    with pytest.raises(Cancelled):
        engine.render(small(LoraChoice("style")), Recorder(stop_at=(Stage.DENOISING, 1)))
    assert sha(engine) == plain


def test_left_out_keys_are_told(engine, settings):
    adapters.write(
        settings.loras / "partly.safetensors", **{"transformer.blocks.9.ffn.net.2.lora_A.weight": torch.zeros(4, 4)}
    )
    clip = engine.render(small(LoraChoice("partly")), Recorder())
    assert clip.warnings == (
        "LoRA 'partly': left out keys that match nothing: transformer.blocks.9.ffn.net.2.lora_A.weight.",
    )


@pytest.mark.parametrize("value", first_only([math.nan, math.inf]))
@pytest.mark.parametrize("suffix", ["lora_A.weight", "lora_B.weight", "alpha", "diff_b"])
def test_values_that_are_not_numbers_are_refused(engine, settings, value, suffix):
    bias = {"transformer.blocks.0.attn1.to_q.diff_b": torch.zeros(48)}
    path = adapters.write(settings.loras / "bad.safetensors", alpha=2.0, **bias)
    tensors = load_file(path)
    tensors[f"transformer.blocks.0.attn1.to_q.{suffix}"].view(-1)[0] = value
    save_file(tensors, path)
    plain = sha(engine)
    with pytest.raises(LoraError, match="not numbers"):
        sha(engine, LoraChoice("bad"))
    assert sha(engine) == plain


def test_an_unfit_adapter_is_refused_before_anything_loads(engine, settings):
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(4, 4)}, settings.loras / "unfit.safetensors")
    for name, words in (("unfit", "fits nothing"), ("absent", "There is no LoRA 'absent'")):
        observer = Recorder()
        with pytest.raises(LoraError, match=words):
            engine.render(small(LoraChoice(name)), observer)
        assert observer.reports == []
