"""What trainings on a tiny model share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files.pictures import write_pictures
from tests.support.trainings import STEPS, Watcher
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.trainer.progress import TrainingProgress
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.trained import Trained


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of two shapes. Read only."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_demo: Path) -> Settings:
    """One workspace for all, so that latents and texts are computed once; each training has a name of its own."""
    folder = tmp_path_factory.mktemp("studio")
    settings = Settings(folder / "workspace", loras=folder / "loras", models=folder, demo_checkpoint=tiny_demo)
    settings.make_folders()
    Database.create(settings.database)
    return settings


@pytest.fixture(scope="module")
def request_of(pictures: Path) -> TrainingRequest:
    return TrainingRequest(pictures, "look", steps=STEPS, rank=2)


@pytest.fixture(scope="module")
def whole(request_of: TrainingRequest, settings: Settings) -> tuple[Trained, list[TrainingProgress]]:
    """A training in one go, and what it told."""
    from wan_pipeline.trainer.run import train  # imports torch, which tests of light modules do without

    watcher = Watcher()
    return train(request_of, settings, watcher), watcher.told
