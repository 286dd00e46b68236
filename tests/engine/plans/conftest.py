"""A studio with all families for each file, an engine, and another workspace for those that write into it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.support import adapters
from tests.support.models.families import WRITERS, Place
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.inputs.images import ingest
from wan_pipeline.clips.inputs.videos import ingest_video
from wan_pipeline.engine.engine import Engine
from wan_pipeline.settings import Settings


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("plans")
    names = ("workspace", "loras", "models")
    settings = Settings(**{name: folder / name for name in names}, demo_checkpoint=folder / "models" / "demo")
    for path in (settings.loras, settings.models):
        path.mkdir()
    settings.make_folders()
    for model, write in WRITERS.items():
        write(settings.models / model)
    adapters.write(settings.loras / "glow.safetensors")
    pictures = []
    for name, red in (("a", 30), ("b", 220)):
        pixels = np.random.default_rng(red).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        pictures.append(ingest(folder / f"{name}.png", settings.inputs).sha256)
    encode(np.random.default_rng(1).integers(0, 256, (8, 64, 96, 3), dtype=np.uint8), 16, folder / "c.mp4", None)
    return Place(settings, (pictures[0], pictures[1]), ingest_video(folder / "c.mp4", settings.inputs))


@pytest.fixture(scope="module")
def engine(place):
    with Engine(replace(place.settings, checkpoint_seconds=0.0)) as engine:
        yield engine


@pytest.fixture
def own(place, tmp_path) -> Place:
    """The same models, another workspace."""
    settings = replace(place.settings, workspace=tmp_path / "workspace", checkpoint_seconds=0.0)
    settings.make_folders()
    for path in place.settings.inputs.iterdir():
        (settings.inputs / path.name).write_bytes(path.read_bytes())
    return place._replace(settings=settings)
