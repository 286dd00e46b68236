"""LoRAs for the two experts of Wan 2.2 A14B: a pair is one choice, and each half works on its own expert."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from tests.support import adapters, tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.loading.schedulers import make_scheduler
from wan_pipeline.engine.lora.adapters import AdapterHome, read_weights
from wan_pipeline.engine.text import EmbeddingCache, embed
from wan_pipeline.errors import LoraError, StorageError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.experts import Expert, RememberedExperts, expert_by_metadata
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.requests import options as words
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.storage.hashes import FileHashes
from wan_pipeline.studio import Studio

MODEL = "wan2.2-t2v-a14b"


@pytest.fixture
def model(settings):
    tiny.write_experts_text(settings.models / MODEL)
    return ModelLibrary(settings).find(MODEL)


@pytest.fixture
def library(settings):
    return LoraLibrary(settings.loras)


@pytest.fixture
def pair(settings):
    """The files of the choice `fast`."""
    high = write(settings.loras / "fast_high_noise.safetensors", seed=1)
    return high, write(settings.loras / "fast_low_noise.safetensors", "diffusion-model", seed=2)


def write(path, dialect="transformer", seed=1):
    return adapters.write(path, dialect, seed=seed, but="proj_out")


def put(library: LoraLibrary, *stems: str) -> None:
    for stem in stems:
        (library.folder / f"{stem}.safetensors").touch()


@pytest.mark.parametrize(
    ("high", "low", "name"),
    [
        ("fast_high_noise", "fast_low_noise", "fast"),
        ("Fast-HIGH", "Fast-LOW", "Fast"),
        ("fast_high", "fast_low", "fast"),
        ("fast-high-noise-v2", "fast-low-noise-v2", "fast-v2"),
        ("Fast.HighNoise", "fast.lownoise", "Fast"),
        ("wan_HIGH_fp16", "wan_LOW_fp16", "wan_fp16"),
        ("w2.2_high_noise_lora_4step_1217", "w2.2_low_noise_lora_4step_1217", "w2.2_lora_4step_1217"),
        ("high_noise_model", "low_noise_model", "model"),
        ("high_noise", "low_noise", "high and low noise"),
        ("STYLE-22-H-e8", "STYLE-22-L-e8", "STYLE-22-e8"),
        ("STYLE-22-H-e8", "STYLE-22-L-e12", "STYLE-22"),
        ("style_HN", "style_LN", "style"),
        ("style_high_noise_000004500", "style_low_noise_000002000", "style"),
        ("style-hi-v1.2", "style-lo-v1.2", "style-v1.2"),
        ("水墨_高噪", "水墨_低噪", "水墨"),
        ("ink高噪声v2", "ink低噪声v2", "inkv2"),
    ],
)
def test_a_pair_is_one_choice(library, high, low, name):
    put(library, high, low, "other")
    assert library.names() == sorted([name, "other"], key=str.casefold)
    found = library.find(name.upper())
    assert (found.high.stem, found.low.stem, found.is_pair) == (high, low, True)
    assert library.files(name).keys() == {high, low}


@pytest.mark.parametrize(
    "stems",
    [
        ("fast_high_noise", "slow_low_noise"),
        ("high", "highlow"),
        ("highlands", "lowlands"),
        ("fast", "fast_high_noise", "fast_low_noise"),  # the pair's name is taken
        ("a_high_noise_low_noise", "b"),
        ("low_light", "high_light_city"),
        ("style_H_e8", "style_H_e9", "style_L_e10"),  # which of the two?
    ],
)
def test_what_is_no_clear_pair_stays_apart(library, stems):
    put(library, *stems)
    assert library.names() == sorted(stems)
    assert not any(library.find(stem).is_pair for stem in stems)


def test_a_pair_has_weights_up_to_ten(library, model, pair):
    choice = words.lora("fast=6/10")
    found = match_adapters(library.find(choice.name), model, choice.weights)
    assert [(adapter.experts, adapter.weight) for adapter in found] == [((0,), 6.0), ((1,), 10.0)]
    home = AdapterHome(torch.device("cpu"), torch.float32)
    whole, tenth = (read_weights(replace(found[1], weight=weight), home) for weight in (10.0, 1.0))
    for target, (update,) in whole.items():
        assert torch.allclose(update.up, tenth[target][0].up * 10)


def test_a_lone_half_is_for_its_expert_only(library, model, settings):
    write(settings.loras / "fast-LOW.safetensors")
    (adapter,) = match_adapters(library.find("fast-LOW"), model)
    assert adapter.experts == (1,)
    assert adapter.warnings == ("LoRA 'fast-LOW' is for the low-noise expert; the high-noise one worked without it.",)


def test_a_half_of_a_pair_can_be_had_alone(library, model, pair):
    (adapter,) = match_adapters(library.find("fast_high_noise"), model)
    assert (adapter.path, adapter.experts) == (pair[0], (0,))
    assert "the low-noise one worked without it" in adapter.warnings[0]


def test_a_word_that_only_looks_like_a_half_works_on_both(library, model, settings):
    write(settings.loras / "low-poly.safetensors")
    (adapter,) = match_adapters(library.find("low-poly"), model)
    assert (adapter.experts, adapter.warnings) == ((0, 1), ())


def test_a_style_that_begins_with_low_works_on_both(library, model, settings):
    write(settings.loras / "LOW_POLY_style.safetensors")
    (adapter,) = match_adapters(library.find("LOW_POLY_style"), model)
    assert (adapter.experts, adapter.warnings) == ((0, 1), ())


def test_a_letter_is_a_half_where_the_other_half_is_there(library, model, settings):
    write(settings.loras / "STYLE-22-H-e8.safetensors")
    (alone,) = match_adapters(library.find("STYLE-22-H-e8"), model)
    write(settings.loras / "STYLE-22-L-e8.safetensors")
    (high,) = match_adapters(library.find("STYLE-22-H-e8"), model)
    (low,) = match_adapters(library.find("STYLE-22-L-e8"), model)
    assert (alone.experts, high.experts, low.experts) == ((0, 1), (0,), (1,))


def test_both_halves_by_their_own_names_and_weights_lack_nothing(settings, model, pair):
    plain = make_request(model=MODEL, width=64, height=64, num_frames=5, guidance_scale_2=3.0)
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
    request = make_request(model=MODEL, width=64, height=64, num_frames=5, guidance_scale_2=3.0)
    with Engine(settings) as engine:
        hashes = {
            engine.render(replace(request, loras=(LoraChoice(name, 0.5),)), Recorder()).sha256
            for name in ("fast", "both")
        }
    assert len(hashes) == 1


def test_a_model_of_one_expert_takes_no_pair_but_any_half(library, settings, pair):
    demo = ModelLibrary(settings).find("demo")
    with pytest.raises(LoraError, match=r"'fast' is a pair .* by its own name: fast_high_noise or fast_low_noise\.$"):
        match_adapters(library.find("fast"), demo)
    (adapter,) = match_adapters(library.find("fast_low_noise"), demo)
    assert (adapter.experts, adapter.warnings) == ((0,), ())


def test_an_unfit_half_is_named(library, model, pair):
    pair[1].write_bytes(b"nothing")
    with pytest.raises(LoraError, match="'fast_low_noise' cannot be read"):
        match_adapters(library.find("fast"), model)


def test_the_clip_is_what_diffusers_makes_with_each_half_on_its_expert(settings, model, pair):
    plain = make_request(
        model=MODEL, width=64, height=64, num_frames=5, guidance_scale_2=3.0, styled_prompt="the red ball"
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
        model=MODEL, width=64, height=64, num_frames=5, guidance_scale_2=3.0, styled_prompt="the red ball"
    )
    write(settings.loras / "style.safetensors", seed=1)
    request = replace(plain, loras=(LoraChoice("Style", 0.5),))
    with Engine(settings) as engine:
        before = engine.render(plain, Recorder()).sha256
        clip = engine.render(request, Recorder())
        assert engine.render(plain, Recorder()).sha256 == before != clip.sha256
    assert np.abs(clip.frames - _stock(settings, request, (pair[0], pair[0])) * 255.0).max() <= 1.01
    assert clip.provenance.loras.keys() == {"Style"}


def test_a_pair_on_streamed_experts_makes_the_same_frames(settings, model, pair):
    request = make_request(
        model=MODEL, width=64, height=64, num_frames=5, guidance_scale_2=3.0, loras=(LoraChoice("fast", 0.5),)
    )
    with Engine(settings) as engine:
        frames = {
            engine.render(request, Recorder(), plan=f"{residency},fp32").sha256
            for residency in ("resident", "offload", "streamed")
        }
    assert len(frames) == 1


def _stock(settings, request, files) -> np.ndarray:
    """What diffusers and peft make of it at weight 0.5."""
    model = ModelLibrary(settings).find(MODEL)
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


def test_what_a_person_says_of_a_files_expert_is_remembered_by_its_hash(settings, model):
    library, path = LoraLibrary.of(settings), write(settings.loras / "style.safetensors")
    catalog = LoraCatalog.of(settings, library)

    def experts():
        (adapter,) = match_adapters(library.find("style"), model, said=library.expert_of)
        facts = catalog.facts(library.find("style"), model)
        assert facts.asks_expert == adapter.is_by_default
        return adapter.experts, facts.experts

    assert experts() == ((0, 1), ("high", "low"))
    library.remember_expert(catalog.sha256(path), Expert.LOW)
    assert experts() == ((1,), ("low",))
    path.rename(settings.loras / "style2.safetensors")
    (moved,) = match_adapters(library.find("style2"), model, said=LoraLibrary.of(settings).expert_of)
    assert moved.experts == (1,)


def test_a_damaged_list_of_experts_is_kept(tmp_path):
    """Its good answers count, and it is not written over when it cannot be read."""
    file, hashes, path = tmp_path / "experts.json", FileHashes(tmp_path / "hashes"), write(tmp_path / "a.safetensors")
    experts, sha256 = RememberedExperts(file, hashes), hashes.sha256(path)
    file.write_text(json.dumps({sha256: "low", "of a later version": "middle", "odd": [1]}), encoding="utf-8")
    assert experts.of(path) is Expert.LOW
    experts.remember("f" * 64, Expert.BOTH)
    kept = {sha256: "low", "of a later version": "middle", "odd": [1], "f" * 64: "both"}
    assert json.loads(file.read_text(encoding="utf-8")) == kept and experts.of(path) is Expert.LOW
    file.write_text("[", encoding="utf-8")
    assert experts.of(path) is None
    with pytest.raises(StorageError, match=r"cannot be read: it is not JSON .*mend or delete it"):
        experts.remember(sha256, Expert.HIGH)
    assert file.read_text(encoding="utf-8") == "["


def test_each_expert_has_its_weight_and_a_file_that_tells_none_is_told(settings, model):
    write(settings.loras / "style.safetensors")
    found = match_adapters(LoraLibrary.of(settings).find("style"), model, (3.0, 1.5))
    assert [(adapter.experts, adapter.weight) for adapter in found] == [((0,), 3.0), ((1,), 1.5)]
    with Studio(settings) as studio:
        request = studio.requests.check(Draft("a boat", model=MODEL, loras=(LoraChoice("style"),)))
    assert any("'style' does not say which expert it is for" in note for note in request.notes)


# By metadata


@pytest.mark.parametrize(
    ("metadata", "expert"),
    [
        ({"ss_sd_model_name": "wan2.2_t2v_high_noise_14B_fp16.safetensors"}, Expert.HIGH),
        ({"base_model": "someone/Wan2.2-LowNoise"}, Expert.LOW),
        ({"ss_min_timestep": "875", "ss_max_timestep": "1000"}, Expert.HIGH),
        ({"ss_min_timestep": "0", "ss_max_timestep": "875"}, Expert.LOW),
        ({"ss_min_timestep": "0", "ss_max_timestep": "1000"}, None),
        ({"ss_min_timestep": "None", "ss_max_timestep": "None"}, None),
        ({"ss_output_name": "harbour_low_noise"}, Expert.LOW),
        ({"ss_output_name": "harbour_low_noise", "ss_dit": "/models/high_noise.safetensors"}, Expert.HIGH),
        ({"modelspec.title": "low_light and high_light"}, None),
        ({"modelspec.title": "for high_noise and low_noise"}, None),
        ({}, None),
    ],
)
def test_metadata_may_tell_the_expert(metadata, expert):
    assert expert_by_metadata(metadata) == expert


def test_metadata_comes_before_the_name_and_before_what_a_person_said(model, library, settings):
    low = {"ss_dit": "wan2.2_low_noise.safetensors"}
    path = adapters.write(settings.loras / "style.safetensors", but="proj_out", metadata=low)
    (adapter,) = match_adapters(library.find("style"), model, said=lambda path: Expert.HIGH)
    assert adapter.experts == (1,) and adapter.is_half and not adapter.is_by_default
    facts = LoraCatalog.of(settings, library)
    assert facts.facts(library.find("style")).experts == ("low",)
    assert not facts.facts(library.find("style"), model).asks_expert
    path.rename(settings.loras / "style_high_noise.safetensors")
    (adapter,) = match_adapters(library.find("style_high_noise"), model)
    assert adapter.experts == (1,)


def test_halves_that_metadata_swaps_and_halves_that_claim_the_same(model, library, settings):
    low, high = ({"ss_dit": f"wan2.2_{side}_noise.safetensors"} for side in ("low", "high"))
    for side, metadata in (("high", low), ("low", high)):
        adapters.write(settings.loras / f"fast_{side}_noise.safetensors", but="proj_out", metadata=metadata)
    first, second = match_adapters(library.find("fast"), model, (3.0, 1.5))
    assert (first.path.stem, first.experts, first.weight) == ("fast_low_noise", (0,), 3.0)
    assert (second.path.stem, second.experts, second.weight) == ("fast_high_noise", (1,), 1.5)
    adapters.write(settings.loras / "fast_low_noise.safetensors", but="proj_out", metadata=low)
    first, second = match_adapters(library.find("fast"), model)
    assert (first.path.stem, second.path.stem) == ("fast_high_noise", "fast_low_noise")
