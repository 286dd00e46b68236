"""Every spelling of a module leads to that module, and nothing else does."""

from __future__ import annotations

import pytest

from tests.support.adapters import AUTHORS, DIALECTS, SHAPES
from wan_pipeline.lora.reading.keys import Spellings, split_key


def found(spellings, name):
    place = spellings.place(name)
    return place and place.target


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("module", SHAPES)
def test_every_dialect_leads_to_the_module(dialect, module):
    name, (down, up) = DIALECTS[dialect](module)
    assert split_key(f"{name}.{down}") == (name, "down")
    assert split_key(f"{name}.{up}") == (name, "up")
    assert split_key(f"{name}.alpha") == (name, "alpha")
    assert found(Spellings(SHAPES), name) == module


def test_image_projections_have_names_of_their_own():
    spellings = Spellings(["blocks.3.attn2.add_k_proj", "condition_embedder.image_embedder.ff.net.0.proj"])
    assert found(spellings, "diffusion_model.blocks.3.cross_attn.k_img") == "blocks.3.attn2.add_k_proj"
    assert found(spellings, "lora_unet_img_emb_proj_1") == "condition_embedder.image_embedder.ff.net.0.proj"


def test_two_digits_are_not_one():
    spellings = Spellings(["blocks.1.attn1.to_q", "blocks.11.attn1.to_q"])
    assert found(spellings, "lora_unet_blocks_11_self_attn_q") == "blocks.11.attn1.to_q"
    assert found(spellings, "lora_unet_blocks_111_self_attn_q") is None


@pytest.mark.parametrize("name", ["", "transformer.", "blocks.9.attn1.to_q", "vace_blocks.0.self_attn.q", "lora_unet_"])
def test_strangers_lead_nowhere(name):
    assert found(Spellings(SHAPES), name) is None


@pytest.mark.parametrize(
    "key", ["diff", "blocks.0.lora_A.bias", "x.lora_A.default.bias", "lora_A.weight", "x", "x.alpha.bias", "x.bias"]
)
def test_what_is_no_part_of_a_lora(key):
    assert split_key(key) is None


def test_all_spellings_are_distinct():
    assert len(set(AUTHORS.values())) == len(AUTHORS)
