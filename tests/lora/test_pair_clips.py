"""Clips with a LoRA for each expert: what diffusers makes, whatever the plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from tests.support import adapters
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.loading.schedulers import make_scheduler
from wan_pipeline.engine.text import EmbeddingCache, embed
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.registry import WAN22_T2V_A14B
from wan_pipeline.requests.request import LoraChoice


def test_both_halves_by_their_own_names_and_weights_lack_nothing(settings, model, pair):
    plain = make_request(model=WAN22_T2V_A14B.id, width=64, height=64, num_frames=5, guidance_scale_2=3.0)
    both = replace(plain, loras=(LoraChoice(pair[0].stem, 3), LoraChoice(pair[1].stem, 1.5)))
    with Engine(settings) as engine:
        assert "worked without it" not in str(engine.render(both, Recorder()).warnings)
        assert "worked without it" in str(engine.render(replace(both, loras=both.loras[:1]), Recorder()).warnings)


def test_a_file_for_both_experts_works_with_each_half_on_its_own(library, settings, model, pair):
    """Keys of `transformer.` and `transformer_2.` in one file: the frames of the pair."""
    high, low = (load_file(path) for path in pair)
    authors = {theirs: ours for ours, theirs in adapters.AUTHORS.items()}
    both = dict(high)
    for key, value in low.items():
        module, _, matrix = key.removeprefix("diffusion_model.").partition(".lora_")
        both[f"transformer_2.{authors.get(module, module)}.lora_{matrix}"] = value
    save_file(both, settings.loras / "both.safetensors")
    first, second = match_adapters(library.find("both"), model)
    assert (first.experts, second.experts, first.warnings, second.warnings) == ((0,), (1,), (), ())
    request = make_request(model=WAN22_T2V_A14B.id, width=64, height=64, num_frames=5, guidance_scale_2=3.0)
    with Engine(settings) as engine:
        hashes = {
            engine.render(replace(request, loras=(LoraChoice(name, 0.5),)), Recorder()).sha256
            for name in ("fast", "both")
        }
    assert len(hashes) == 1


def test_the_clip_is_what_diffusers_makes_with_each_half_on_its_expert(settings, model, pair):
    plain = make_request(
        model=WAN22_T2V_A14B.id, width=64, height=64, num_frames=5, guidance_scale_2=3.0, styled_prompt="the red ball"
    )
    request = replace(plain, loras=(LoraChoice("fast", 0.5),))
    with Engine(settings) as engine:
        before = engine.render(plain, Recorder())
        clip = engine.render(request, Recorder())
        after = engine.render(plain, Recorder())
        halves = [
            engine.render(replace(plain, loras=(LoraChoice(path.stem, 0.5),)), Recorder()).sha256 for path in pair
        ]
    assert np.abs(clip.frames - _stock(settings, request, pair) * 255.0).max() <= 1.01
    assert before.sha256 == after.sha256
    assert len({clip.sha256, before.sha256, *halves}) == 4
    assert clip.provenance.loras.keys() == {"fast_high_noise", "fast_low_noise"}
    assert len(set(clip.provenance.loras.values())) == 2 and "LoRA" not in str(clip.warnings)


def test_a_single_file_works_on_both_experts_and_leaves_both(settings, model, pair):
    plain = make_request(
        model=WAN22_T2V_A14B.id, width=64, height=64, num_frames=5, guidance_scale_2=3.0, styled_prompt="the red ball"
    )
    adapters.write_half(settings.loras / "style.safetensors", seed=1)
    request = replace(plain, loras=(LoraChoice("Style", 0.5),))
    with Engine(settings) as engine:
        before = engine.render(plain, Recorder()).sha256
        clip = engine.render(request, Recorder())
        assert engine.render(plain, Recorder()).sha256 == before != clip.sha256
    assert np.abs(clip.frames - _stock(settings, request, (pair[0], pair[0])) * 255.0).max() <= 1.01
    assert clip.provenance.loras.keys() == {"Style"}


def test_a_pair_on_streamed_experts_makes_the_same_frames(settings, model, pair):
    request = make_request(
        model=WAN22_T2V_A14B.id,
        width=64,
        height=64,
        num_frames=5,
        guidance_scale_2=3.0,
        loras=(LoraChoice("fast", 0.5),),
    )
    with Engine(settings) as engine:
        frames = {
            engine.render(request, Recorder(), plan=f"{residency},fp32").sha256
            for residency in ("resident", "offload", "streamed")
        }
    assert len(frames) == 1


def _stock(settings, request, files) -> np.ndarray:
    """What diffusers and peft make of it at weight 0.5."""
    model = ModelLibrary(settings).find(WAN22_T2V_A14B.id)
    with torch.inference_mode():
        texts = embed(
            model,
            ["the red ball", ""],
            EmbeddingCache(settings.cache / "stock"),
            Placement(torch.device("cpu"), torch.float32),
        )
    pipeline = WanPipeline.from_pretrained(model.folder, torch_dtype=torch.float32)
    for transformer, path in zip((pipeline.transformer, pipeline.transformer_2), files, strict=True):
        keys = {key: key.removeprefix("diffusion_model.").removeprefix("transformer.") for key in load_file(path)}
        modules = {theirs: ours for ours, theirs in adapters.AUTHORS.items()}
        tensors = {}
        for key, value in load_file(path).items():
            module, _, matrix = keys[key].partition(".lora_")
            tensors[f"transformer.{modules.get(module, module)}.lora_{matrix}"] = value
        transformer.load_lora_adapter(tensors, prefix="transformer")
        transformer.set_adapters(["default_0"], [0.5])
    pipeline.scheduler = make_scheduler(request.scheduler, pipeline.scheduler.config, request.flow_shift)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        prompt_embeds=texts[0],
        negative_prompt_embeds=texts[1],
        width=64,
        height=64,
        num_frames=5,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        guidance_scale_2=3.0,
        generator=torch.Generator().manual_seed(request.seed),
    ).frames[0]
