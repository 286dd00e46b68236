"""LoRAs for the two experts of Wan 2.2 A14B: a pair is one choice, and each half fits its own expert."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.support import adapters
from wan_pipeline.engine.lora.adapters import AdapterHome, read_weights
from wan_pipeline.errors import LoraError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.requests import options as words


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
        assert torch.allclose(update.tensors[Role.UP], tenth[target][0].tensors[Role.UP] * 10)


def test_a_lone_half_is_for_its_expert_only(library, model, settings):
    adapters.write_half(settings.loras / "fast-LOW.safetensors")
    (adapter,) = match_adapters(library.find("fast-LOW"), model)
    assert adapter.experts == (1,)
    assert adapter.warnings == ("LoRA 'fast-LOW' is for the low-noise expert; the high-noise one worked without it.",)


def test_a_half_of_a_pair_can_be_had_alone(library, model, pair):
    (adapter,) = match_adapters(library.find("fast_high_noise"), model)
    assert (adapter.path, adapter.experts) == (pair[0], (0,))
    assert "the low-noise one worked without it" in adapter.warnings[0]


def test_a_word_that_only_looks_like_a_half_works_on_both(library, model, settings):
    adapters.write_half(settings.loras / "low-poly.safetensors")
    (adapter,) = match_adapters(library.find("low-poly"), model)
    assert (adapter.experts, adapter.warnings) == ((0, 1), ())


def test_a_style_that_begins_with_low_works_on_both(library, model, settings):
    adapters.write_half(settings.loras / "LOW_POLY_style.safetensors")
    (adapter,) = match_adapters(library.find("LOW_POLY_style"), model)
    assert (adapter.experts, adapter.warnings) == ((0, 1), ())


def test_a_letter_is_a_half_where_the_other_half_is_there(library, model, settings):
    adapters.write_half(settings.loras / "STYLE-22-H-e8.safetensors")
    (alone,) = match_adapters(library.find("STYLE-22-H-e8"), model)
    adapters.write_half(settings.loras / "STYLE-22-L-e8.safetensors")
    (high,) = match_adapters(library.find("STYLE-22-H-e8"), model)
    (low,) = match_adapters(library.find("STYLE-22-L-e8"), model)
    assert (alone.experts, high.experts, low.experts) == ((0, 1), (0,), (1,))


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
