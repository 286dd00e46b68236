"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before any test imports torch
from wan_pipeline.settings import Settings


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model in the demo's layout. Read only: copy it before you change it."""
    from tests import tiny  # imports torch, which tests of light modules do without

    return tiny.write_demo(tmp_path_factory.mktemp("models") / "demo")


@pytest.fixture
def settings(tmp_path: Path, tiny_demo: Path) -> Settings:
    """A studio of its own in a temporary folder, with the tiny model as `demo`."""
    settings = Settings(
        workspace=tmp_path / "workspace",
        loras=tmp_path / "loras",
        models=tmp_path / "models",
        demo_checkpoint=tiny_demo,
    )
    for folder in (settings.loras, settings.models):
        folder.mkdir()
    settings.make_folders()
    return settings
