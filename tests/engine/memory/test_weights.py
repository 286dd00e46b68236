"""The file of quantized weights, which several workers of one workspace may want at once."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from diffusers import WanTransformer3DModel

from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.engine.memory.weights import load_transformer
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.planning.memory_plan import read_plan


def test_workers_that_start_together_quantize_a_model_once(settings, caplog: pytest.LogCaptureFixture) -> None:
    """And map the same file: a second one would double what it takes of disk and memory."""
    model, plan, place = ModelLibrary(settings).find("demo"), read_plan("streamed,int8"), Placement(CPU, torch.float32)
    together = Barrier(2)

    def load(_: int) -> torch.nn.Module:
        together.wait()
        return load_transformer(model, "transformer", WanTransformer3DModel, plan, place, settings.cache / "quantized")

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(load, range(2)))
    assert sum(record.message.startswith("Quantizing") for record in caplog.records) == 1
    assert not any(parameter.is_meta for module in loaded for parameter in module.parameters())
