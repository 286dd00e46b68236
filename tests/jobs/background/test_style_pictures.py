"""Cards of saved styles: drawn by the demo model once the queue is idle, in no app's way, and once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image

from tests.support.queues import OpenQueue
from wan_pipeline.jobs.background import style_pictures
from wan_pipeline.jobs.background.style_pictures import SIZE, StylePictures, main, missing
from wan_pipeline.jobs.launch import options_of
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio

DRAFT = Draft(model="demo", preset="noir", num_inference_steps=50)


@pytest.fixture
def app(settings: Settings) -> Iterator[None]:
    """An app is open."""
    with WorkspaceLocks(settings.workspace).app():
        yield


def draw(settings: Settings) -> None:
    main(options_of(settings))


def test_a_saved_style_gets_its_picture_beside_its_file(studio: Studio, app: None) -> None:
    saved, folder = studio.styles.save("Mine", DRAFT), studio.settings.own_presets
    (folder / "broken.toml").write_text("title = 7", encoding="utf-8")
    studio.styles.save("Painted", DRAFT)
    (folder / "painted.png").write_bytes(b"a picture of my own")
    assert [path.name for path in missing(folder)] == ["broken.webp", "mine.webp"]
    draw(studio.settings)
    assert [path.name for path in missing(folder)] == ["broken.webp"], "one that is broken holds up no other"
    with Image.open(folder / f"{saved.id}.webp") as picture:
        assert picture.size == SIZE and picture.format == "WEBP"
    assert not list(studio.settings.clips.glob("*")), "it is no clip"


@pytest.mark.soak
def test_the_queue_comes_first(studio: Studio, app: None, queue: OpenQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clip is waited for, and one that comes meanwhile stops the picture, which is drawn afterwards."""
    studio.styles.save("Mine", DRAFT)
    answers = iter([True, False, True, True, False])  # waits; starts; stops it; waits
    asked: list[bool] = []

    def will_render(self: JobReader) -> bool:
        asked.append(next(answers, False))
        return asked[-1]

    monkeypatch.setattr(JobReader, "will_render", will_render)
    monkeypatch.setattr(style_pictures, "POLL_SECONDS", 0)
    draw(studio.settings)
    assert asked[:5] == [True, False, True, True, False] and not missing(studio.settings.own_presets)


def test_it_ends_with_the_last_app(studio: Studio) -> None:
    studio.styles.save("Mine", DRAFT)
    draw(studio.settings)
    assert missing(studio.settings.own_presets)


def test_only_an_app_that_runs_the_queue_draws_and_one_process_at_a_time(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(style_pictures, "launch", lambda module, *rest: started.append(module))
    studio.styles.save("Mine", DRAFT)
    assert started == [], "a studio of the command line or of a test starts nothing"
    with WorkspaceLocks(settings.workspace).artist():
        StylePictures(settings).start()
    assert started == []
    studio._is_started = True
    try:
        studio.styles.save("More", DRAFT)
    finally:
        studio._is_started = False
    assert started == [style_pictures.MODULE]
    for path in missing(settings.own_presets):
        path.write_bytes(b"a picture")
    StylePictures(settings).start()
    assert len(started) == 1, "nothing is missing"
