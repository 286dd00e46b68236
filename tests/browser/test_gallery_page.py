"""The gallery in a real browser, on the real app with the tiny model."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.support.axe import Auditor, Look
from tests.browser.support.filled import adopt
from tests.browser.support.form import drop, panel
from tests.browser.support.visitor import TEST_SECONDS, WAIT_SECONDS, Visitor
from tests.clips.test_sound import tone
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.jobs.job import JobState
from wan_pipeline.requests.presets import load_presets
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.storage.database import Database

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

PROMPTS = {"plain": "a plain ball", "noir": "a dark ball", "markup": "<img src=x onerror=\"window.pwned=1\"> 'box'"}
DRAW_AGAIN = "() => { document.querySelector('.sheet').dataset.drawnAt = '1'; }"
"""As Gradio does it with HTML that bears another mark."""
TIMES = "() => [...document.querySelectorAll('.compare video')].map(video => video.currentTime)"


@pytest.fixture(scope="module")
def made(workspace: Path, address: str) -> dict[str, str]:
    """Three small clips that the app has made, their job ids by name."""
    queue = OpenQueue(workspace / "studio.sqlite3")
    shape = {"num_frames": 17, "num_inference_steps": 1}
    noir = {"preset": "noir", "styled_prompt": load_presets(REPOSITORY / "presets")[0]["noir"].styled(PROMPTS["noir"])}
    ids = {
        name: queue.editor.submit(
            make_request(**{"prompt": prompt, "styled_prompt": prompt, "seed": seed, **shape, **style})
        )
        for (name, prompt), seed, style in zip(PROMPTS.items(), (11, 12, 13), ({}, noir, {}), strict=True)
    }
    deadline = time.monotonic() + WAIT_SECONDS
    while any(queue.jobs.job(job_id).state is not JobState.DONE for job_id in ids.values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return ids


@pytest.fixture
def clips(made: dict[str, str], workspace: Path) -> Iterator[dict[str, str]]:
    """Those clips. What a test makes of them is undone, so that the tests may run in any order."""
    yield made
    gallery = Gallery(Database(workspace / "studio.sqlite3"), workspace / "clips")
    gallery.unbin([clip.id for clip in gallery.existing(made.values()) if clip.is_binned])
    for clip_id in made.values():
        gallery.star(clip_id, False)
        gallery.note(clip_id, "")


@pytest.fixture
def own_clip(workspace: Path, address: str) -> Iterator[str]:
    """The prompt of a clip that one test has for itself. It and what was made of it are deleted afterwards."""
    queue, prompt = OpenQueue(workspace / "studio.sqlite3"), "a ball of this test alone"
    queue.editor.pause_queue()
    adopt(queue, workspace / "clips", make_request(prompt=prompt, styled_prompt=prompt, seed=14))
    queue.editor.resume_queue()
    yield prompt
    gallery = Gallery(Database(workspace / "studio.sqlite3"), workspace / "clips")
    gallery.bin([clip.id for clip in gallery.page(GalleryQuery(text=prompt), 0, 10).items])
    gallery.empty_bin()


def open_gallery(visitor: Visitor) -> Page:
    return visitor.open_room("Gallery", ".clip")


def tile(page: Page, prompt: str) -> Locator:
    return page.locator(".clip", has=page.get_by_text(prompt, exact=True))


def open_sheet(page: Page, prompt: str) -> Locator:
    tile(page, prompt).locator(".poster").click()
    sheet = page.get_by_role("dialog")
    expect(sheet.locator(".prompt")).to_have_text(prompt)
    return sheet


def test_clips_are_found_starred_noted_and_binned(visitor: Visitor, clips: dict[str, str]) -> None:
    page = open_gallery(visitor)
    expect(tile(page, PROMPTS["markup"]).locator("img")).to_be_visible()
    assert page.evaluate("window.pwned") is None
    page.get_by_placeholder("Search prompts and notes").fill("DARK ball")
    expect(page.locator(".clip .title")).to_have_text([PROMPTS["noir"]])
    page.locator(".clip").hover()
    page.get_by_role("button", name="Star", exact=True).click()
    expect(page.locator(".clip [data-act=star]")).to_have_attribute("aria-pressed", "true")
    sheet = open_sheet(page, PROMPTS["noir"])
    expect(sheet.locator("video")).to_have_count(1)
    sheet.get_by_label("Note").fill("for the </textarea><b>credits")
    sheet.get_by_label("Note").press("Tab")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_placeholder("Search prompts and notes").fill("credits")
    expect(page.locator(".clip .title")).to_have_text([PROMPTS["noir"]])
    expect(open_sheet(page, PROMPTS["noir"]).get_by_label("Note")).to_have_value("for the </textarea><b>credits")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".nothing")).to_contain_text("Nothing found")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".clip .title")).to_have_text([PROMPTS["noir"]])
    page.get_by_placeholder("Search prompts and notes").fill("")
    page.get_by_label("Starred").check()
    expect(page.locator(".clip .title")).to_have_text([PROMPTS["noir"]])


@pytest.mark.soak
def test_what_was_typed_for_a_clip_is_not_shown_with_the_next(visitor: Visitor, clips: dict[str, str]) -> None:
    page = open_gallery(visitor)
    sheet = open_sheet(page, PROMPTS["plain"])
    sheet.locator("summary", has_text="Sound").click()
    gain, loudness = sheet.locator("[name=gain]"), sheet.locator("[name=loudness]").first
    gain.fill("-6")
    loudness.select_option("-23")
    note = sheet.get_by_label("Note")
    note.press_sequentially("of the plain one")
    page.evaluate(DRAW_AGAIN)
    expect(note).to_have_value("of the plain one")  # not sent yet, and the same clip
    expect(gain).to_have_value("")
    gain.fill("-6")
    loudness.select_option("-23")
    sheet.get_by_role("button", name="Newer clip").click()
    expect(sheet.locator(".prompt")).to_have_text(PROMPTS["noir"])
    expect(note).to_have_value("")
    for field in (gain, loudness):
        expect(field).to_have_value("")
    sheet.get_by_role("button", name="Older clip").click()
    expect(note).to_have_value("of the plain one")


@pytest.mark.soak
def test_two_clips_play_as_one(visitor: Visitor, clips: dict[str, str]) -> None:
    page = open_gallery(visitor)
    for name in ("plain", "noir"):
        tile(page, PROMPTS[name]).hover()
        tile(page, PROMPTS[name]).get_by_role("button", name="Choose").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    view = page.get_by_role("dialog", name="Compare two clips")
    expect(view.locator("tr")).to_have_text(
        [re.compile("Prompt.*plain.*dark"), re.compile("Stylenone.*Noir"), re.compile("Seed1112")]
    )
    page.wait_for_function(f"() => ({TIMES})().every(time => time > 0.1)")
    view.locator("[data-scrub]").fill("500")
    page.wait_for_function(f"() => ({TIMES})().every(time => Math.abs(time - 0.53) < 0.03)")
    expect(view.locator("[data-play]")).not_to_have_class(re.compile("playing"))
    view.locator("[data-play]").click()
    expect(view.locator("[data-play]")).to_have_class(re.compile("playing"))
    page.wait_for_function(f"() => {{ const [a, b] = ({TIMES})(); return a !== 0.53 && Math.abs(a - b) < 0.1; }}")
    page.keyboard.press("Escape")
    expect(view).to_have_count(0)


@pytest.mark.soak
def test_a_clip_gives_its_settings_back(visitor: Visitor, clips: dict[str, str]) -> None:
    page = open_gallery(visitor)
    open_sheet(page, PROMPTS["noir"]).get_by_role("button", name="Reuse settings").click()
    expect(panel(page).get_by_label("Seed", exact=True)).to_have_value("12")
    expect(panel(page).get_by_label("Noir")).to_be_checked()
    page.get_by_role("tab", name="Gallery").click()
    open_sheet(page, PROMPTS["plain"]).get_by_role("button", name="Vary seed").click()
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value(PROMPTS["plain"])
    expect(panel(page).get_by_label("Seed", exact=True)).to_have_value("")
    page.get_by_role("tab", name="Gallery").click()
    open_sheet(page, PROMPTS["plain"]).get_by_role("button", name="Use last frame").click()
    expect(panel(page).get_by_label("What happens")).to_have_value(PROMPTS["plain"])
    expect(panel(page).locator(".first-frame img")).to_be_visible()


@pytest.mark.soak
def test_a_dropped_clip_fills_the_form(
    visitor: Visitor, clips: dict[str, str], workspace: Path, tmp_path: Path
) -> None:
    clip = OpenQueue(workspace / "studio.sqlite3").jobs.job(clips["noir"]).clip
    page = visitor.open()
    drop(page, clip.read_bytes(), "from a friend.mp4")
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value(PROMPTS["noir"])
    expect(panel(page).get_by_label("Seed", exact=True)).to_have_value("12")
    drop(page, b"no clip at all", "broken.mp4")
    expect(page.locator(".notice:visible")).to_contain_text("broken.mp4")


@pytest.mark.soak
def test_a_copy_to_share_tells_nothing_and_verifying_tells_all(visitor: Visitor, clips: dict[str, str]) -> None:
    page = open_gallery(visitor)
    sheet = open_sheet(page, PROMPTS["plain"])
    with page.expect_download() as shared:
        sheet.get_by_role("button", name="Share copy").click()
    assert b"plain ball" not in Path(shared.value.path()).read_bytes()
    assert "plain" not in shared.value.suggested_filename
    sheet.get_by_role("button", name="Verify").click()
    expect(page.locator("#report .notice.good").filter(has_text="Identical")).to_be_visible()
    expect(sheet.get_by_role("button", name="Open folder")).to_be_visible()


@pytest.mark.soak
def test_the_bin_asks_before_it_is_emptied(visitor: Visitor, own_clip: str, workspace: Path) -> None:
    page = open_gallery(visitor)
    open_sheet(page, own_clip).get_by_role("button", name="Delete").click()
    expect(tile(page, own_clip)).to_have_count(0)
    page.get_by_label("Bin").check()
    expect(tile(page, own_clip)).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Empty the bin").click()
    expect(tile(page, own_clip)).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Empty the bin").click()
    expect(page.locator(".nothing")).to_contain_text("The bin is empty")
    assert list((workspace / "clips" / "bin").iterdir()) == []


@pytest.mark.soak
def test_an_export_is_followed_though_the_answer_to_its_click_is_lost(visitor: Visitor, own_clip: str) -> None:
    """With that answer went the start of the page's timer."""
    page = open_gallery(visitor)
    sheet = open_sheet(page, own_clip)
    sheet.locator("summary", has_text="Export").click()

    def lose_the_click(route: Route) -> None:
        if '"act":"export"' not in (route.request.post_data or ""):
            return route.continue_()
        route.fetch()
        return route.fulfill(json={"data": []})

    page.route("**/run/predict**", lose_the_click)
    with page.expect_download() as download:
        sheet.get_by_role("button", name="GIF").click()
    assert download.value.suggested_filename.endswith(".gif")
    expect(page.locator("#exported")).to_contain_text("is being saved")


@pytest.mark.soak
def test_a_sound_file_goes_under_a_clip(visitor: Visitor, own_clip: str, tmp_path: Path) -> None:
    page = open_gallery(visitor)
    sheet = open_sheet(page, own_clip)
    expect(sheet.get_by_role("img", name="Waveform")).to_have_count(0)
    sheet.locator("summary", has_text="Sound").click()
    form = sheet.get_by_role("group", name="Add a sound file")
    form.get_by_role("button", name="Make a clip with this sound").click()
    expect(page.get_by_role("alert")).to_contain_text("No sound file was chosen")
    with page.expect_response(lambda answer: "upload" in answer.url):
        form.get_by_label("Sound file").set_input_files(tone(tmp_path / "rain.wav", 1))
    form.get_by_label("Fade in").fill("0.2")
    form.get_by_label("Loudness").select_option("-23")
    form.get_by_role("button", name="Make a clip with this sound").click()
    expect(sheet.get_by_role("img", name="Waveform of rain.wav")).to_be_visible()
    expect(sheet.get_by_role("row", name="Sound rain.wav")).to_contain_text("LUFS")
    sheet.locator("summary", has_text="Upscale and smooth").click()
    sheet.locator("summary", has_text="Sound").click()
    auditor = Auditor([Look.LIGHT])
    auditor.look(page, "sheet with sound", ".sheet")
    assert not auditor.found, auditor.found
