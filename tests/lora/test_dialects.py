"""Every dialect with every kind: all keys are applied, as in the weights that the formulas give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel

from tests.engine.lora.test_lora_cases import INPUTS, MODEL
from tests.support import tiny
from tests.support.files import lora_files
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.settings import Settings

IMAGE_MODEL = "wan2.1-i2v-14b-480p"
IMAGE_INPUTS = {
    **INPUTS,
    "hidden_states": torch.linspace(-1, 1, 36 * 2 * 4 * 4).reshape(1, 36, 2, 4, 4),
    "encoder_hidden_states_image": torch.linspace(-1, 1, 5 * 32).reshape(1, 5, 32),
}


@pytest.mark.parametrize("kind", lora_files.KINDS)
def test_all_dialects_of_a_kind(settings: Settings, tmp_path: Path, kind: str) -> None:
    tiny.write_wan21_text(settings.models / MODEL)
    all_dialects(ModelLibrary(settings).find(MODEL), tmp_path / "file.safetensors", kind, INPUTS)


@pytest.mark.parametrize("kind", ["LoRA with differences (`diff`, `diff_b`)", "LoKr"])
def test_all_dialects_for_image_to_video(settings: Settings, tmp_path: Path, kind: str) -> None:
    """With `norm_k_img` and `img_emb`."""
    tiny.write_wan21_image(settings.models / IMAGE_MODEL)
    keys = all_dialects(ModelLibrary(settings).find(IMAGE_MODEL), tmp_path / "file.safetensors", kind, IMAGE_INPUTS)
    parts = {"k_img", "v_img", "proj.1", "proj.3"} | ({"norm_k_img", "proj.0", "proj.4"} if "diff" in kind else set())
    found = {key.removeprefix("dit.").rpartition(".")[0] for key in keys}
    assert all(any(name.endswith(f".{part}") for name in found) for part in parts)
    assert any(name.startswith("img_emb.") for name in found)


@torch.inference_mode()
def all_dialects(model: InstalledModel, path: Path, kind: str, inputs: dict[str, torch.Tensor]) -> set[str]:
    """Returns the keys of the last dialect, which are the authors'."""
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    fused = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    made = lora_files.make(transformer, lora_files.KINDS[kind])
    lora_files.fuse(fused, lora_files.KINDS[kind], made)
    plain, wanted = transformer(**inputs).sample, fused(**inputs).sample
    assert float((wanted - plain).abs().max()) > 1e-2
    for dialect in lora_files.DIALECTS:
        count = lora_files.write(path, dialect, made, lora_files.KINDS[kind])
        adapter = match_adapter(path, model)
        assert sum(len(change.all_keys) for change in adapter.changes) == count and adapter.warnings == (), dialect
        with applied(transformer, [read_weights(adapter, AdapterHome(torch.device("cpu"), torch.float32))]):
            assert torch.allclose(transformer(**inputs).sample, wanted, atol=2e-4, rtol=1e-3), dialect
    assert torch.equal(transformer(**inputs).sample, plain)
    return {key for change in adapter.changes for key in change.all_keys}
