"""The numbers of a LoRA file are looked at once, before anything is queued."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.lora.reading.values import ValueReader
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.weights import read_header
from wan_pipeline.settings import Settings

MODULE = "blocks.0.attn1.to_q"


@pytest.fixture
def model(settings: Settings) -> InstalledModel:
    return ModelLibrary(settings).find("demo")


def saved(path: Path, model: InstalledModel, down: float, up: float, dtype: torch.dtype = torch.float32) -> Path:
    outputs, inputs = model.tensors("transformer")[f"{MODULE}.weight"].shape
    tensors = {
        f"{MODULE}.lora_A.weight": torch.full((2, inputs), down, dtype=dtype),
        f"{MODULE}.lora_B.weight": torch.full((outputs, 2), up, dtype=dtype),
    }
    save_file(tensors, path)
    return path


def test_a_file_that_changes_nothing_is_refused_by_name(tmp_path: Path, model: InstalledModel) -> None:
    with pytest.raises(LoraError, match=r"LoRA 'empty' changes nothing: .*lora_[AB]\.weight"):
        match_adapter(saved(tmp_path / "empty.safetensors", model, 1, 0), model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_is_no_number_is_refused_by_name(tmp_path: Path, model: InstalledModel, dtype: torch.dtype) -> None:
    with pytest.raises(LoraError, match=r"not numbers, in blocks\.0\.attn1\.to_q\.lora_B\.weight"):
        match_adapter(saved(tmp_path / "a.safetensors", model, 1, float("inf"), dtype), model)


@pytest.mark.parametrize("alpha", [float("inf"), float("nan")])
def test_an_alpha_that_is_no_number_is_refused_by_name(tmp_path: Path, model: InstalledModel, alpha: float) -> None:
    path = saved(tmp_path / "a.safetensors", model, 1, 1)
    save_file({**load_file(path), f"{MODULE}.alpha": torch.tensor(alpha)}, path)
    with pytest.raises(LoraError, match=r"not numbers, in blocks\.0\.attn1\.to_q\.alpha;"):
        match_adapter(path, model)


def test_a_file_is_read_once_while_it_stays_as_it_is(tmp_path: Path, model: InstalledModel) -> None:
    path, reader = saved(tmp_path / "a.safetensors", model, 1, 1), ValueReader()
    first = reader.read(path, read_header(path))
    assert reader.read(path, read_header(path)) is first
    saved(path, model, 1, 0)
    os.utime(path, ns=(0, 0))
    assert f"{MODULE}.lora_B.weight" in reader.read(path, read_header(path)).zeros


def test_a_library_remembers_for_all_that_ask(tmp_path: Path) -> None:
    assert isinstance(LoraLibrary(tmp_path).values, ValueReader)
