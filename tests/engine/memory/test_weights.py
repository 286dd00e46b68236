"""The file of quantized weights, which several workers of one workspace may want at once."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import torch
from diffusers import WanTransformer3DModel

from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.engine.memory.weights import load_transformer, quantized_file
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.memory_plan import read_plan
from wan_pipeline.storage.locks import only_writer


def test_a_worker_waits_for_another_that_quantizes_the_same_model(settings, caplog: pytest.LogCaptureFixture) -> None:
    """And maps what it made: a file of its own would double what the model takes of disk and memory."""
    model, plan, place = ModelLibrary(settings).find("demo"), read_plan("streamed,int8"), Placement(CPU, torch.float32)
    path = quantized_file(model, "transformer", Precision.INT8, settings.cache)
    aside = path.with_suffix(".aside")

    def load() -> torch.nn.Module:
        return load_transformer(model, "transformer", WanTransformer3DModel, plan, place, settings.cache)

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(1) as pool:
        load()
        path.rename(aside)
        with only_writer(path):
            loaded = pool.submit(load)
            assert not wait([loaded], timeout=1).done
            aside.rename(path)
        assert isinstance(loaded.result(), WanTransformer3DModel)
    assert sum(record.message.startswith("Quantizing") for record in caplog.records) == 1
