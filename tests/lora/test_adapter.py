"""LoRA files told by their headers: what fits is laid out, what does not is a sentence."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import adapters
from tests.support.hostile import BAD_JSON, BAD_VALUES, short
from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.lora.reading.header import MAX_HEADER_BYTES
from wan_pipeline.models.library import ModelLibrary


@pytest.fixture
def model(settings):
    return ModelLibrary(settings).find("demo")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "style.safetensors"


@pytest.mark.parametrize("dialect", adapters.DIALECTS)
def test_every_dialect_fits(model, path, dialect):
    adapters.write(path, dialect, alpha=2.0)
    adapter = match_adapter(path, model)
    assert {change.target for change in adapter.changes} == adapters.SHAPES.keys() and adapter.skipped == ()
    assert all(change.rank == adapters.RANK and change.alpha_key for change in adapter.changes)


def test_what_fits_nothing_is_kept_in_mind(model, path):
    adapters.write(
        path, **{"transformer.blocks.7.attn1.to_q.lora_A.weight": torch.zeros(4, 48), "blocks.0.diff": torch.zeros(1)}
    )
    adapter = match_adapter(path, model)
    assert adapter.skipped == ("blocks.0.diff", "transformer.blocks.7.attn1.to_q.lora_A.weight")
    assert adapter.warnings == ("LoRA 'style': left out keys that match nothing: blocks.0.diff and 1 more.",)


def refused(path, model, words):
    with pytest.raises(LoraError, match=words) as caught:
        match_adapter(path, model)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_lora_for_another_kind_of_model(model, path):
    save_file({"unet.down_blocks.0.attentions.0.to_q.lora_A.weight": torch.zeros(4, 320)}, path)
    refused(path, model, "fits nothing in Demo .* none of its 1 keys")


def test_an_empty_file(model, path):
    save_file({}, path)
    refused(path, model, "fits nothing")


@pytest.mark.parametrize(
    ("down", "up"),
    [((4, 64), (48, 4)), ((4, 48), (64, 4)), ((4, 48), (48, 8)), ((4, 48, 1), (48, 4)), ((0, 48), (48, 0))],
)
def test_matrices_of_another_shape(model, path, down, up):
    name = "transformer.blocks.0.attn1.to_q"
    save_file({f"{name}.lora_A.weight": torch.zeros(down), f"{name}.lora_B.weight": torch.zeros(up)}, path)
    refused(path, model, "another size|has the shape")


def test_half_a_pair(model, path):
    save_file({"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.zeros(4, 48)}, path)
    refused(path, model, "only one of the two matrices of blocks.0.attn1.to_q")


def test_whole_numbers(model, path):
    name = "transformer.blocks.0.attn1.to_q"
    tensors = {f"{name}.lora_A.weight": torch.zeros(4, 48), f"{name}.lora_B.weight": torch.zeros(48, 4)}
    save_file({key: tensor.to(torch.int8) for key, tensor in tensors.items()}, path)
    refused(path, model, "I8 numbers")


def test_an_alpha_that_is_not_one_number(model, path):
    adapters.write(path, "kohya", **{"lora_unet_blocks_1_ffn_2.alpha": torch.zeros(2)})
    refused(path, model, "not one number")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("transformer.blocks.0.attn1.to_k.oft_blocks", "does not fit"),
        ("transformer.blocks.0.attn1.to_k.rescale", "does not fit"),
        ("blocks.0.attn1.to_k.boft_r", "is of the kind BOFT, which is not supported"),
        ("blocks.0.attn1.to_k.oft_R.weight", "does not fit"),
        ("blocks.0.attn1.to_k.ia3_l", "does not fit"),
        ("blocks.0.attn1.to_k.on_input", "does not fit"),
        ("transformer.blocks.0.attn1.to_k.dora_scale", "without the matrices beside it"),
        ("transformer.blocks.0.attn1.to_k.lokr_w1", "does not fit"),
        ("x.a1.weight", "is of the kind GLoRA, which is not supported"),
    ],
)
def test_what_cannot_be_applied_is_named(model, path, key, words):
    adapters.write(path, **{key: torch.ones(1)})
    refused(path, model, words)


def test_boft_as_lycoris_writes_it_is_named(model, path):
    adapters.write(path, **{"transformer.blocks.0.attn1.to_k.oft_blocks": torch.ones(2, 6, 8, 8)})
    refused(path, model, "is of the kind BOFT, which is not supported")


@pytest.mark.parametrize("key", ["../../evil", "a/b", "a\\b", "a\nb", "x" * 400])
def test_unsafe_names(model, path, key):
    adapters.write(path, **{key: torch.zeros(1)})
    refused(path, model, "unsafe key")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file(model, path, keep):
    adapters.write(path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, model, "cannot be read")


def test_a_header_that_is_too_long_is_not_read(model, path):
    path.write_bytes((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
    with path.open("r+b") as file:
        file.truncate(MAX_HEADER_BYTES + 100)
    refused(path, model, "more than the 4,194,304 allowed")


def test_too_many_tensors(model, path):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({str(number): empty for number in range(20_001)}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    refused(path, model, "20,001 tensors")


def test_something_else_with_the_suffix(model, path):
    path.write_bytes(b"\x80\x02}q\x00." * 1000)
    refused(path, model, "cannot be read")


def test_the_alpha_in_diffusers_metadata_counts(model, path):
    adapters.write(path)
    metadata = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 16, "transformer.r": 4})}
    save_file(load_file(path), path, metadata=metadata)
    assert {change.alpha for change in match_adapter(path, model).changes} == {16.0}


def test_alpha_of_single_modules_and_the_root_of_the_rank(model, path):
    adapters.write(path)
    config = {
        "transformer.lora_alpha": 8,
        "transformer.use_rslora": True,
        "transformer.alpha_pattern": {"blocks.0.attn1.to_q": 2},
    }
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": json.dumps(config)})
    changes = {change.target: change for change in match_adapter(path, model).changes}
    assert changes["blocks.0.attn1.to_q"].alpha == 2 and changes["proj_out"].alpha == 8
    assert changes["proj_out"].scale_divisor == 2  # the root of rank 4


def test_a_dora_without_magnitudes_is_refused(model, path):
    adapters.write(path)
    config = json.dumps({"transformer.use_dora": True})
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": config})
    refused(path, model, "holds no magnitudes")


NUMBERS = (None, -1, 0, 1.5, 1e300)
"""Any finite number is an alpha."""


@pytest.mark.parametrize(
    "config",
    [
        *(text.decode("utf-8", "replace") for name, text in BAD_JSON.items() if name not in ("not UTF-8", "zeros")),
        *(
            json.dumps({"transformer.lora_alpha": value})
            for value in BAD_VALUES
            if value not in (None, -1, 0, 1.5, 1e300)
        ),
    ],
    ids=short,
)
def test_metadata_that_cannot_be_read(model, path, config):
    adapters.write(path)
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": config})
    refused(path, model, "unreadable metadata")


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_hostile_header(model, path, text):
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(LoraError, match="cannot be read"):
        match_adapter(path, model)
