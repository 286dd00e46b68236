"""The page in a real browser, on the real app with the tiny model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.support.axe import Look
from tests.browser.support.form import FORECAST, fill, generate, make_short, panel
from tests.browser.support.visitor import TEST_SECONDS, Visitor
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.requests.request import GenerationRequest, LoraChoice

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

STAGE_IS_BELOW_THE_HEAD = """() => {
  const top = document.getElementById("stage").getBoundingClientRect().top;
  const head = document.getElementById("header").getBoundingClientRect().bottom;
  return top >= head - 1 && top < innerHeight * 0.4;
}"""
PLAYING = "() => { const v = document.querySelector('#view video'); return v && !v.error && v.currentTime > 0.2 }"


def test_the_first_click_makes_a_clip_that_plays(visitor: Visitor) -> None:
    page = visitor.open()
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value(re.compile("red ball"))
    expect(panel(page).get_by_label("Natural")).to_be_checked()
    expect(page.locator(".estimate:visible")).to_contain_text("About")
    generate(page)
    expect(page.locator("#view .progress")).to_be_visible()
    page.wait_for_function(PLAYING)
    expect(page.locator("#view .facts")).to_contain_text("Seed")
    expect(page.locator("#recent .tile.done img").first).to_be_visible()
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url) if "predict" in request.url else None)
    page.wait_for_timeout(2500)
    assert len(polls) <= 1, "an idle page looks seldom"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"


@pytest.mark.soak
def test_an_image_moves_on_control_enter_and_hands_on_its_last_frame(visitor: Visitor) -> None:
    page = visitor.open()
    page.get_by_role("tab", name="Image to video").click()
    make_short(page)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/?job=*")
    page.wait_for_function(PLAYING)
    first = panel(page).locator(".first-frame img").get_attribute("src")
    page.get_by_role("button", name="Use last frame as image").click()
    expect(panel(page).locator(".first-frame img")).not_to_have_attribute("src", str(first))
    expect(panel(page).get_by_label("Seed", exact=True)).to_have_value("")


def reuse(visitor: Visitor, workspace: Path, request: GenerationRequest) -> Page:
    """A fresh page that shows a cancelled job, its settings taken over."""
    queue = OpenQueue(workspace / "studio.sqlite3")
    job_id = queue.editor.submit(request)
    queue.editor.cancel(job_id)
    page = visitor.open(f"?job={job_id}")
    page.get_by_role("button", name="Reuse settings").click()
    expect(panel(page).get_by_label("Seed", exact=True)).to_have_value("42")
    return page


@pytest.mark.soak
def test_settings_of_another_model_come_back(visitor: Visitor, workspace: Path) -> None:
    request = make_request(model="wan2.2-ti2v-5b", width=1280, height=704, num_frames=121, fps=24)
    visitor.forgive_an_estimate_that_met_other_sizes()
    page = reuse(visitor, workspace, request)
    expect(panel(page).get_by_label("1280 × 704")).to_be_checked()
    expect(panel(page).get_by_label("range slider for Length in seconds")).to_have_attribute("max", "6.5")
    expect(page.locator(FORECAST)).to_be_visible()


@pytest.mark.soak
def test_a_length_between_the_sliders_steps_comes_back(visitor: Visitor, workspace: Path) -> None:
    """3 s at 10 frames a second are made as 33 frames: 3.2 s, and the slider ends at 3."""
    page = reuse(visitor, workspace, make_request(fps=10, num_frames=33))
    expect(panel(page).get_by_label("number input for Length in seconds")).to_have_value("3")
    expect(page.locator(".estimate:visible")).to_contain_text("About")


@pytest.mark.soak
def test_settings_with_a_lora_that_is_gone_get_a_sentence(visitor: Visitor, workspace: Path) -> None:
    page = reuse(visitor, workspace, make_request(loras=(LoraChoice("gone"),)))
    generate(page)
    expect(page.locator(".notice:visible")).to_contain_text("There is no LoRA 'gone'")


@pytest.mark.soak
def test_settings_come_back(visitor: Visitor, workspace: Path) -> None:
    page = visitor.open()
    make_short(page)
    fill(page, Seed="1234", Guidance="2.5")
    panel(page).get_by_role("button", name="Product").click()
    expect(panel(page).get_by_label("Macro")).to_be_attached()
    expect(panel(page).locator(".style-cards label:visible")).to_have_count(3)  # and the chosen one
    panel(page).get_by_role("button", name="Film", exact=True).click()
    expect(panel(page).locator(".style-cards label:visible")).to_contain_text(["Natural", "Anamorphic"])
    panel(page).get_by_role("button", name="Basic", exact=True).click()
    panel(page).get_by_label("Noir").check()
    generate(page)
    page.wait_for_url("**/?job=*")
    expect(page.locator("#view .facts")).to_contain_text("Noir")
    fill(page, Seed="", Guidance="", Prompt="something else")
    panel(page).get_by_label("Comic").check()
    page.get_by_role("button", name="Reuse settings").click()
    expect(panel(page).get_by_label("Seed", exact=True)).to_have_value("1234")
    expect(panel(page).get_by_label("Guidance", exact=True)).to_have_value("2.5")
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value(re.compile("red ball"))
    expect(panel(page).get_by_label("Noir")).to_be_checked()
    clip = next((workspace / "clips").glob("*_seed1234_*.mp4"))
    clip.unlink()
    page.get_by_role("button", name="Use last frame as image").click()
    expect(page.locator(".notice:visible")).to_contain_text("it may have been moved, deleted or damaged")


@pytest.mark.soak
def test_a_job_outlives_its_tab_and_can_be_cancelled(visitor: Visitor) -> None:
    page = visitor.open()
    panel(page).get_by_label("Custom").check()
    panel(page).get_by_label("number input for Length in seconds").fill("3")
    fill(page, Prompt="A long story", Width="384", Height="384", Steps="190")
    generate(page)
    expect(page.locator("#view .progress .count")).to_contain_text("/190")
    page.reload()
    expect(page.locator("#view .words")).to_have_text("A long story")
    expect(page.locator("#view .progress")).to_be_visible()
    page.close()
    again = visitor.open()
    expect(again.locator("#view .words")).to_have_text("A long story")
    again.get_by_role("button", name="Cancel").click()
    expect(again.locator("#view")).to_contain_text("Cancelled")
    expect(again.get_by_role("button", name="Cancel")).to_be_hidden()


@pytest.mark.soak
def test_answers_that_are_lost_leave_nothing_wrong_on_the_page(visitor: Visitor) -> None:
    """Of the stage's polls: that after Generate, with which the page begins to poll, and the one that tells the end."""
    answers: list[bool] = []

    def lose_some(route: Route) -> None:
        if '"view":' not in (route.request.post_data or ""):
            return route.continue_()
        answer = route.fetch()
        answers.append("facts" in answer.text())
        is_lost = len(answers) == 1 or (answers[-1] and sum(answers) == 1)
        return route.fulfill(json={"data": []}) if is_lost else route.fulfill(response=answer)

    page = visitor.open()
    make_short(page)
    fill(page, Prompt="A red ball")
    page.route("**/run/predict**", lose_some)
    generate(page)
    page.wait_for_url("**/?job=*")
    expect(page.locator("#view .words")).to_have_text("A red ball")
    expect(page.locator("#view .facts")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    assert sum(answers) > 1


@pytest.mark.soak
def test_two_tabs_follow_their_own_jobs(visitor: Visitor) -> None:
    one, two = visitor.open(), visitor.open()
    for page, prompt in ((one, "A ball in the first tab"), (two, "A box in the second tab")):
        make_short(page)
        fill(page, Prompt=prompt)
        generate(page)
    for page, prompt in ((one, "A ball in the first tab"), (two, "A box in the second tab")):
        expect(page.locator("#view .facts")).to_be_visible()
        expect(page.locator("#view .words")).to_have_text(prompt)
    one.reload()  # its own clip may have been done, and its polling over, before the second was asked for
    expect(one.locator("#view .words")).to_have_text("A ball in the first tab")
    one.locator('#recent .tile.done[title="A box in the second tab"]').first.click()
    expect(one.locator("#view .words")).to_have_text("A box in the second tab")


@pytest.mark.soak
def test_dark_stays_dark(visitor: Visitor) -> None:
    page = visitor.open()
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("body")).to_have_class(re.compile("dark"))
    page.reload()
    page.locator(".estimate:visible").wait_for()
    expect(page.locator("body")).to_have_class(re.compile("dark"))


@pytest.mark.soak
def test_04_a_phone_shows_the_stage_below_the_head_and_a_prompt_is_text_and_never_markup(visitor: Visitor) -> None:
    prompt = '<img src=x onerror="window.pwned=1"> ${window.pwned=1} {{pwned}} <script>window.pwned=1</script> "\'><b>'
    page = visitor.open()
    Look.PHONE.put_on(page)
    expect(page.get_by_text("Open a clip")).to_be_in_viewport(ratio=1)
    make_short(page)
    fill(page, Prompt=prompt)
    generate(page)
    page.wait_for_url("**/?job=*")
    page.wait_for_function(STAGE_IS_BELOW_THE_HEAD)
    expect(page.locator("#view .facts")).to_be_visible()
    expect(page.locator("#view .words")).to_have_text(prompt)
    page.get_by_role("tab", name="Queue").click()
    for shelf in page.locator("#queue-shelves [role=radio]").all():
        expect(shelf).to_be_in_viewport(ratio=1)
    page.get_by_role("tab", name="Create").click()
    assert page.evaluate("window.pwned") is None
    assert page.locator("#view .words *, #recent b").count() == 0


def test_only_clips_are_served(visitor: Visitor, workspace: Path) -> None:
    page = visitor.open()
    for path in (workspace / "studio.sqlite3", workspace / "logs" / "worker.log", Path(__file__)):
        assert path.is_file()
        assert page.request.get(f"{visitor.address}gradio_api/file={path}").status == 403
    clip = next((workspace / "clips").glob("*.mp4"))
    assert page.request.get(f"{visitor.address}gradio_api/file={clip}").status == 200
