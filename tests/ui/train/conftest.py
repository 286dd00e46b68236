"""A tab with a dataset of five pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files.pictures import write_pictures
from tests.ui.train.tab import Tab
from wan_pipeline.studio import Studio


@pytest.fixture
def tab(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tab:
    monkeypatch.setattr(studio.dataset_checks, "start", lambda *_: False)  # `checked` does it here
    studio.datasets.add("look", sorted(write_pictures(tmp_path / "files", 5).iterdir()))
    return Tab(studio)
