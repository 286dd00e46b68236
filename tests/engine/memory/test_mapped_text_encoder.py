"""A text encoder that is mapped to be streamed is the one that the library loads, in every dtype."""

from __future__ import annotations

import pytest
import torch

from wan_pipeline.engine.loading.load import load_text_encoder
from wan_pipeline.engine.memory.weights import load_mapped_text_encoder
from wan_pipeline.models.library import ModelLibrary


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_mapped_encoder_has_the_weights_of_the_loaded_one(settings, dtype) -> None:
    """transformers leaves UMT5's `wo` in fp32 for fp16 alone; streamed prompts have to read as resident ones."""
    model = ModelLibrary(settings).find("demo")
    _, loaded = load_text_encoder(model, torch.device("cpu"), dtype)
    _, mapped = load_mapped_text_encoder(model, dtype)
    wanted, made = loaded.state_dict(), mapped.state_dict()
    assert {name: weight.dtype for name, weight in made.items()} == {name: w.dtype for name, w in wanted.items()}
    assert all(made[name].equal(weight) for name, weight in wanted.items())
