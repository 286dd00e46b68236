"""A gallery of a folder without clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.storage.database import Database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    return tmp_path / "clips"


@pytest.fixture
def gallery(tmp_path: Path, folder: Path) -> Gallery:
    return Gallery(Database.create(tmp_path / "studio.sqlite3"), folder)
