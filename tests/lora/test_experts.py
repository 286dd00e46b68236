"""Which expert a LoRA is for: by its metadata, its name, or what a person said."""

from __future__ import annotations

import json

import pytest

from tests.support import adapters
from wan_pipeline.errors import StorageError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.experts import Expert, RememberedExperts, expert_by_metadata
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.registry import WAN22_T2V_A14B
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.storage.hashes import FileHashes
from wan_pipeline.studio import Studio


def test_what_a_person_says_of_a_files_expert_is_remembered_by_its_hash(settings, model):
    library, path = LoraLibrary.of(settings), adapters.write_half(settings.loras / "style.safetensors")
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
    file, hashes, path = (
        tmp_path / "experts.json",
        FileHashes(tmp_path / "hashes"),
        adapters.write_half(tmp_path / "a.safetensors"),
    )
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
    adapters.write_half(settings.loras / "style.safetensors")
    found = match_adapters(LoraLibrary.of(settings).find("style"), model, (3.0, 1.5))
    assert [(adapter.experts, adapter.weight) for adapter in found] == [((0,), 3.0), ((1,), 1.5)]
    with Studio(settings) as studio:
        request = studio.requests.check(Draft("a boat", model=WAN22_T2V_A14B.id, loras=(LoraChoice("style"),)))
    assert any("'style' does not say which expert it is for" in note for note in request.notes)


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
