"""The HTML of the stage and the strip: right for every state, equal for equal jobs, and typed text stays text."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.support.pages import NAMES, NASTY, TEMPLATES, Reader, assert_harmless, make_job
from tests.support.requests import make_request
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.requests.presets import PresetKind, of_kind
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.shown import digests
from wan_pipeline.ui.create import CreateRoom, html
from wan_pipeline.ui.create.card_styles import GROUPS, OWN, THUMBNAILS, card_styles, of_group


def stage(job: Job, preview: bytes | None = None) -> str:
    return html.stage(TEMPLATES, NAMES, job, preview)


def strip(*jobs: Job, shown: str = "") -> str:
    return html.strip(TEMPLATES, jobs, shown)


def text_of(state: JobState, **changes: Any) -> str:
    return Reader(stage(make_job(state, **changes))).text


@pytest.mark.parametrize("state", list(JobState))
def test_what_was_typed_is_shown_as_text(state: JobState) -> None:
    request = replace(make_request(), prompt=NASTY, model=NASTY, preset=NASTY)
    nasty = make_job(state, id=NASTY, request=request, error=NASTY, warnings=(NASTY,))
    assert_harmless(stage(nasty))
    tile = Reader(strip(nasty, shown=NASTY))
    assert tile.attributes.count(("data-job", NASTY)) == 1 and ("title", NASTY) in tile.attributes
    assert "script" not in tile.tags and not any(name.startswith("on") for name, _ in tile.attributes)


def test_equal_jobs_give_equal_html() -> None:
    """So that a clip that plays is not sent again."""
    assert stage(make_job(JobState.DONE)) == stage(make_job(JobState.DONE))


def test_a_running_job_says_where_it_is() -> None:
    text = text_of(JobState.RUNNING)
    assert "Denoising" in text and "step 4/16" in text and "left" not in text
    assert "17 s left" in html.stage(TEMPLATES, NAMES, make_job(JobState.RUNNING), seconds_left=17.2)
    assert "Stopping" in text_of(JobState.RUNNING, cancel_requested=True)
    assert "step" not in text_of(JobState.RUNNING, total=0, eta_seconds=None)


def test_a_preview_comes_with_the_page_for_its_file_changes_all_the_time() -> None:
    page = stage(make_job(JobState.RUNNING), b"a picture")
    assert f'src="data:image/webp;base64,{b64encode(b"a picture").decode()}"' in page
    assert "preview" not in stage(make_job(JobState.RUNNING))


def test_a_finished_clip_plays_by_itself_and_tells_its_settings() -> None:
    html = stage(make_job(JobState.DONE))
    page = Reader(html)
    assert {("autoplay", None), ("muted", None), ("loop", None), ("playsinline", None)} <= set(page.attributes)
    assert str(make_request().seed) in page.text
    assert "Made in7 s" in page.text
    assert "a%20b.mp4" in html


def test_what_was_skipped_is_said() -> None:
    warning = "LoRA 'ink': 2 of 40 <keys> fit nothing."
    assert warning in text_of(JobState.DONE, warnings=(warning,))


def test_a_waiting_job_counts_those_before_it() -> None:
    assert "2 clips before it" in text_of(JobState.QUEUED)
    assert "1 clip before it" in text_of(JobState.QUEUED, jobs_ahead=1)
    assert "starts in a moment" in text_of(JobState.QUEUED, jobs_ahead=0)
    assert "2 clips before it" in text_of(JobState.INTERRUPTED)


@pytest.mark.parametrize(
    ("state", "says", "act"),
    [
        (JobState.QUEUED, "In the queue", ""),
        (JobState.RUNNING, "Denoising", ""),
        (JobState.INTERRUPTED, "its worker process ended; it goes on from its last checkpoint. 2 clips before", ""),
        (JobState.PAUSED, "until you release it", "release"),
        (JobState.DONE, "Seed", ""),
        (JobState.FAILED, "This clip failed", "retry"),
        (JobState.CANCELLED, "Nothing of this clip was saved", "retry"),
        (JobState.QUARANTINED, "Its worker process died each time", "retry"),
    ],
)
def test_02_every_state_has_its_own_stage(state: JobState, says: str, act: str) -> None:
    """Held and interrupted clips were once said to have failed, and binned ones to be gone."""
    page = Reader(stage(make_job(state)))
    assert says.lower() in page.text.lower()
    assert page.acts == ({act} if act else set())
    assert ("failed" in page.text) is (state is JobState.FAILED)


def test_02_an_interrupted_clip_says_that_memory_ran_out() -> None:
    text = text_of(JobState.INTERRUPTED, plan="tiled", plan_steps_down=1)
    assert "Memory ran out; it goes on with the smaller memory plan “tiled”" in text


def test_02_a_clip_does_not_start_in_a_moment_while_the_queue_is_paused() -> None:
    shown = html.stage(TEMPLATES, NAMES, make_job(JobState.QUEUED, jobs_ahead=0), is_paused=True)
    assert "The queue is paused" in shown and "moment" not in shown


def test_a_failure_is_an_alert_with_its_sentence() -> None:
    page = stage(make_job(JobState.FAILED, error="The disk is full; free 2 GB."))
    assert 'role="alert"' in page
    assert "The disk is full; free 2 GB." in page


def test_the_strip_marks_the_clip_on_stage() -> None:
    page = strip(make_job(JobState.DONE, id="one"), make_job(JobState.RUNNING, id="two"), shown="one")
    assert page.count("aria-current") == 1
    assert page.index('data-job="one"') < page.index("aria-current") < page.index('data-job="two"')
    assert strip() == ""


def test_a_clip_that_is_gone_says_so() -> None:
    gone = make_job(JobState.DONE, clip=None, poster=None)
    assert "This clip is gone" in stage(gone)
    assert "gone" in Reader(strip(gone)).text
    assert html.download(TEMPLATES, gone) == ""


def test_a_download_is_named_by_seed_and_job() -> None:
    assert 'download="wan-studio-42-01234567.mp4"' in html.download(TEMPLATES, make_job(JobState.DONE))


def test_18_a_new_styles_card_has_its_colours_and_its_picture(settings: Settings, tmp_path: Path) -> None:
    """Without a restart; whatever its file is called."""
    folder = tmp_path / "presets"
    (folder / "speeds").mkdir(parents=True)
    style = 'title = "Mine"\ndescription = "x"\ncolors = ["#123456", "#abcdef"]\n'
    with Studio(replace(settings, presets=folder)) as studio:
        assert ".style-cards" not in card_styles(TEMPLATES, studio)
        (folder / "mi'ne}.toml").write_text(style, encoding="utf-8")
        drawn = card_styles(TEMPLATES, studio)
        assert 'input[value="mi\\27 ne\\7d "]' in drawn and "#123456" in drawn and drawn.count("</style>") == 1
        (folder / "mi'ne}.webp").write_bytes(b"a picture")
        assert f"url(data:image/webp;base64,{b64encode(b'a picture').decode()})" in card_styles(TEMPLATES, studio)
        assert '.size-cards label:has(input[value="320x192"]) { --wide: 26px; --high: 16px; }' in drawn


def test_every_style_is_in_one_group_and_the_groups_are_buttons(studio: Studio) -> None:
    looks = of_kind(studio.presets.current(), PresetKind.LOOK)
    grouped = [name for group in GROUPS if group for name in of_group(looks, group)]
    assert sorted(grouped) == sorted(looks) and of_group(looks, OWN) == []
    studio.styles.save("Mine", Draft(model="demo", preset="noir"))
    looks = of_kind(studio.presets.current(), PresetKind.LOOK)
    assert of_group(looks, OWN) == ["mine"]
    drawn = card_styles(TEMPLATES, studio)
    hidden = ':root[data-looks="yours"] .style-cards label:not(.selected):not(:has([value="mine"])) { display: none; }'
    assert hidden in drawn and '.look-groups [data-looks="yours"]' not in drawn
    buttons = Reader(TEMPLATES.render("create/look_groups.html", groups=GROUPS))
    assert [value for name, value in buttons.attributes if name == "data-looks"] == list(GROUPS)


def test_every_style_that_ships_has_a_picture(studio: Studio) -> None:
    looks = of_kind(studio.presets.current(), PresetKind.LOOK)
    pictures = {path.stem: path.read_bytes() for path in THUMBNAILS.glob("*.webp")}
    assert pictures.keys() == looks.keys() and len(set(pictures.values())) == len(looks)
    assert max(map(len, pictures.values())) < 6000, "all of them are in the page itself"


def test_a_saved_styles_picture_is_beside_its_file_and_styles_are_sent_when_they_change(studio: Studio) -> None:
    with gr.Blocks():
        room = CreateRoom(studio, TEMPLATES, NAMES)
    drawn = card_styles(TEMPLATES, studio)
    shown = digests({"styles": drawn})
    assert drawn not in room.restyle_cards(shown).values()
    saved = studio.styles.save("Mine", Draft(model="demo", preset="noir"))
    (studio.settings.own_presets / f"{saved.id}.webp").write_bytes(b"my picture")
    assert any(b64encode(b"my picture").decode() in str(part) for part in room.restyle_cards(shown).values())


def test_11_what_the_demo_did_not_know_stands_on_the_clip_with_what_it_knows() -> None:
    job = make_job(JobState.DONE, request=make_request(prompt="a cat walks through Paris"))
    assert "'cat'" in Reader(stage(job)).text and "It knows one ball" in Reader(stage(job)).text
    assert "It knows" not in Reader(stage(make_job(JobState.DONE))).text
