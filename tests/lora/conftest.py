"""A model of two experts, and a pair of LoRAs for them."""

from __future__ import annotations

import pytest

from tests.support import adapters, tiny
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.registry import WAN22_T2V_A14B


@pytest.fixture
def model(settings):
    tiny.write_experts_text(settings.models / WAN22_T2V_A14B.id)
    return ModelLibrary(settings).find(WAN22_T2V_A14B.id)


@pytest.fixture
def library(settings):
    return LoraLibrary(settings.loras)


@pytest.fixture
def pair(settings):
    """The files of the choice `fast`."""
    high = adapters.write_half(settings.loras / "fast_high_noise.safetensors", seed=1)
    return high, adapters.write_half(settings.loras / "fast_low_noise.safetensors", "diffusion-model", seed=2)
