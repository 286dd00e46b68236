"""A workspace with three clips to cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.requests import make_request
from wan_pipeline.engine.engine import Engine
from wan_pipeline.jobs.worker.render import Label, make_clip
from wan_pipeline.progress import SilentObserver
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_demo: Path) -> Settings:
    """A workspace with three clips of 9 frames in the project Film: two at 24 frames a second, and one at 16."""
    settings = Settings(tmp_path_factory.mktemp("a b") / "workspace", demo_checkpoint=tiny_demo)
    settings.make_folders()
    with Engine(settings) as engine:
        for number, (name, fps) in enumerate((("one", 24), ("two ü", 24), ("three", 16))):
            request = make_request(width=96, height=64, num_frames=9, fps=fps, seed=number, styled_prompt="a red ball")
            label = Label(f"{number}abcdef0" * 4, "Film")
            make_clip(engine, request, SilentObserver(), settings.clips / f"{name}.mp4", label)
    return settings


@pytest.fixture
def studio(home: Settings) -> Iterator[Studio]:
    with Studio(home) as studio:
        studio.projects.ensure("Film")
        studio.gallery.rescan()
        yield studio
