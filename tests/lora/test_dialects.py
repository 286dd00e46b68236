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
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.settings import Settings


@pytest.mark.parametrize("kind", lora_files.KINDS)
@torch.inference_mode()
def test_all_dialects_of_a_kind(settings: Settings, tmp_path: Path, kind: str) -> None:
    tiny.write_wan21_text(settings.models / MODEL)
    model = ModelLibrary(settings).find(MODEL)
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    fused = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    made = lora_files.make(transformer, lora_files.KINDS[kind])
    lora_files.fuse(fused, lora_files.KINDS[kind], made)
    plain, wanted = transformer(**INPUTS).sample, fused(**INPUTS).sample
    assert float((wanted - plain).abs().max()) > 1e-2
    for dialect in lora_files.DIALECTS:
        path = tmp_path / "file.safetensors"
        count = lora_files.write(path, dialect, made, lora_files.KINDS[kind])
        adapter = match_adapter(path, model)
        assert sum(len(change.all_keys) for change in adapter.changes) == count and adapter.warnings == (), dialect
        with applied(transformer, [read_weights(adapter, AdapterHome(torch.device("cpu"), torch.float32))]):
            assert torch.allclose(transformer(**INPUTS).sample, wanted, atol=2e-4, rtol=1e-3), dialect
    assert torch.equal(transformer(**INPUTS).sample, plain)
