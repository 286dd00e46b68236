"""`import wan_pipeline`: the names it offers, and one clip by the short way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from PIL import Image

import wan_pipeline
from tests.support.observers import Recorder
from wan_pipeline import RequestError, Settings, errors, generate
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Stage

SMALL = {"width": 160, "height": 160, "num_frames": 5, "num_inference_steps": 2}


def test_every_name_is_there() -> None:
    for name in wan_pipeline.__all__:
        assert getattr(wan_pipeline, name).__doc__
    assert set(wan_pipeline.__all__) <= set(dir(wan_pipeline))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wan_pipeline.nothing  # noqa: B018


def test_all_errors_are_public() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert raised <= set(wan_pipeline.__all__)


def test_type_checkers_see_what_is_imported_later() -> None:
    """The imports under TYPE_CHECKING name the same modules as the table that is used at run time."""
    tree = ast.parse(Path(wan_pipeline.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.name: node.module for node in block.body for alias in node.names}
    assert imported == {name: f"wan_pipeline.{module}" for name, module in wan_pipeline._LAZY.items()}


def test_one_clip_in_this_process(settings: Settings, tmp_path: Path) -> None:
    Image.new("RGB", (160, 160), "orange").save(tmp_path / "start.png")
    observer = Recorder()
    finished = generate(
        "a red ball",
        image=str(tmp_path / "start.png"),
        output=tmp_path / "ball.mp4",
        settings=settings,
        observer=observer,
        seed=7,
        **SMALL,
    )
    assert finished.clip == tmp_path / "ball.mp4"
    assert finished.clip.is_file()
    assert (finished.request.seed, finished.request.mode) == (7, Mode.IMAGE_TO_VIDEO)
    assert observer.of(Stage.DENOISING)


def test_a_wrong_option_is_one_sentence_before_anything_is_opened(settings: Settings) -> None:
    with pytest.raises(
        RequestError, match=r"^There is no option 'frames'; choose from: model, .*num_frames, "
    ) as raised:
        generate("a red ball", settings=settings, frames=5)
    assert raised.value.field == "frames"
    assert not settings.database.exists()
