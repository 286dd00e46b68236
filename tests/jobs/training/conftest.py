"""Pictures to train on, and the weights that come of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files.pictures import write_pictures
from tests.support.trainings import of
from wan_pipeline.settings import Settings


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def wanted(pictures: Path, tiny_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of the weights that the request gives when nothing comes between."""
    from wan_pipeline.progress import SilentObserver
    from wan_pipeline.trainer.run import train

    folder = tmp_path_factory.mktemp("whole")
    settings = Settings(folder / "workspace", loras=folder / "loras", models=folder, demo_checkpoint=tiny_demo)
    settings.make_folders()
    return train(of(pictures), settings, SilentObserver()).lora.sha256
