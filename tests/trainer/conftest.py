"""What trainings on a tiny model share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files.pictures import write_pictures
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database


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
