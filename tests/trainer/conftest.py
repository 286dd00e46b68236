"""What trainings on a tiny model share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wan_pipeline.settings import Settings


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of two shapes. Read only."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 256, (6, 10, 3), dtype=np.uint8)
        size = (320, 192) if number % 3 else (192, 320)
        Image.fromarray(noise).resize(size).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a red ball at night {number}")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_demo: Path) -> Settings:
    """One workspace for all, so that latents and texts are computed once; each training has a name of its own."""
    folder = tmp_path_factory.mktemp("studio")
    settings = Settings(folder / "workspace", loras=folder / "loras", models=folder, demo_checkpoint=tiny_demo)
    settings.make_folders()
    return settings
