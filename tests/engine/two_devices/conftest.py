"""A tiny model of two experts with a LoRA, and an engine whose second device is the CPU too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.support import adapters, tiny
from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.settings import Settings

SECOND = Placement(CPU, torch.float32)
EXPERTS = "wan2.2-t2v-a14b"


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("two")
    names = ("workspace", "loras", "models")
    settings = Settings(**{name: folder / name for name in names}, demo_checkpoint=folder / "demo")
    settings.loras.mkdir()
    settings.make_folders()
    tiny.write_experts_text(settings.models / EXPERTS)
    adapters.write(settings.loras / "glow.safetensors", but="proj_out")
    return replace(settings, checkpoint_seconds=0.0)


@pytest.fixture(scope="package")
def engine(settings: Settings) -> Engine:
    return Engine(settings, second=SECOND)
