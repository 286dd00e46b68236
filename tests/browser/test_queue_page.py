"""The queue's page in a real browser, on the real app with the tiny model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.support.form import fill, panel
from tests.browser.support.visitor import TEST_SECONDS, Visitor
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.jobs.job import JobState

OF_STAGE = '"view":'
"""What only the stage's polls send along."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]


@pytest.fixture
def queue(workspace: Path, address: str) -> Iterator[OpenQueue]:
    """The app's queue, paused and empty; afterwards nothing waits in it and it goes on."""
    queue = OpenQueue(workspace / "studio.sqlite3")
    queue.editor.pause_queue()
    queue.editor.clear_finished()
    yield queue
    for job in queue.jobs.jobs((JobState.QUEUED, JobState.PAUSED, JobState.INTERRUPTED), limit=1000):
        queue.editor.cancel(job.id)
    queue.editor.clear_finished()
    queue.editor.resume_queue()


def open_queue(visitor: Visitor) -> Page:
    return visitor.open_room("Queue", ".queue-words.prose h2")


def rows(page: Page) -> Locator:
    return page.locator(".job-row .title")


def act(page: Page, prompt: str, label: str) -> None:
    """Press one of a row's two buttons, or an item of its menu."""
    row = page.locator(".job-row", has_text=prompt)
    if not row.get_by_role("button", name=label, exact=True).count():
        row.get_by_role("button", name="More for this clip").click()
        row.get_by_role("menuitem", name=label, exact=True).click()
        return
    row.get_by_role("button", name=label, exact=True).click()


def drag(page: Page, prompt: str, below: str) -> None:
    page.locator(".job-row", has_text=prompt).hover()
    grip = page.locator(".job-row", has_text=prompt).locator(".grip").bounding_box()
    row = page.locator(".job-row", has_text=below).bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(row["x"] + 300, row["y"] + row["height"] - 8, steps=8)
    page.mouse.up()


@pytest.mark.soak
def test_many_clips_are_said_before_they_are_added(visitor: Visitor, queue: OpenQueue) -> None:
    page = open_queue(visitor)
    expect(page.locator(".queue-words.prose")).to_contain_text("The queue is empty")
    page.get_by_role("button", name="Add many clips").click()
    page.get_by_label("Prompts, one per line").fill("a red ball\n\na <b>blue</b> fish\n")
    page.locator("#add-many").get_by_label("Noir").check()
    page.locator("#add-many").get_by_label("Pastel").check()
    page.get_by_label("With each of these seeds").fill("7, 8-9")
    expect(page.locator("#add-many .estimate")).to_contain_text("12 clips, about")
    page.get_by_role("button", name="Add to the queue").click()
    expect(page.locator(".toast")).to_contain_text("12 clips added")
    expect(rows(page)).to_have_count(12)
    expect(rows(page).last).to_have_text("a <b>blue</b> fish")
    expect(page.locator("#rooms [role=tab][data-count]")).to_have_attribute("data-count", "12")
    assert [(job.request.preset, job.request.seed) for job in queue.jobs.waiting(4)] == [
        *(("noir", seed) for seed in (7, 8, 9)),
        ("pastel", 7),
    ]
    expect(page.get_by_label("Prompts, one per line")).to_have_value("")
    page.get_by_label("Prompts, one per line").fill("a red ball")
    page.get_by_label("With each of these seeds").fill("seven")
    expect(page.locator("#add-many .estimate")).to_contain_text("'seven' cannot be read")


@pytest.mark.soak
def test_rows_change_places_and_states(visitor: Visitor, queue: OpenQueue) -> None:
    queue.editor.submit_many([(make_request(prompt=f"clip {name}"), "") for name in "abcd"])
    page = open_queue(visitor)
    expect(rows(page)).to_have_text(["clip a", "clip b", "clip c", "clip d"])
    act(page, "clip c", "To the front")
    expect(rows(page)).to_have_text(["clip c", "clip a", "clip b", "clip d"])
    act(page, "clip a", "Later")
    expect(rows(page)).to_have_text(["clip c", "clip b", "clip a", "clip d"])
    act(page, "clip d", "Earlier")
    expect(rows(page)).to_have_text(["clip c", "clip b", "clip d", "clip a"])
    drag(page, "clip c", "clip d")
    expect(rows(page)).to_have_text(["clip b", "clip d", "clip c", "clip a"])
    act(page, "clip b", "Hold")
    expect(page.locator(".job-row", has_text="clip b")).to_contain_text("Held")
    act(page, "clip d", "Queue again")
    expect(rows(page)).to_have_count(5)
    act(page, "clip a", "Cancel")
    expect(rows(page)).to_have_text(["clip b", "clip d", "clip c", "clip d"])
    page.get_by_role("radio", name="Cancelled").click()
    expect(rows(page)).to_have_text(["clip a"])
    act(page, "clip a", "History and log")
    expect(page.get_by_role("dialog")).to_contain_text("Submitted")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.soak
def test_09_an_open_menu_stays_open_when_the_list_changes(visitor: Visitor, queue: OpenQueue) -> None:
    queue.editor.submit(make_request(prompt="clip a"))
    page = open_queue(visitor)
    page.locator(".job-row", has_text="clip a").get_by_role("button", name="More for this clip").click()
    page.get_by_role("menuitem", name="History and log").focus()
    queue.editor.submit(make_request(prompt="clip b"))
    expect(rows(page)).to_have_text(["clip a", "clip b"])
    expect(page.get_by_role("menuitem", name="History and log")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Submitted")


@pytest.mark.soak
def test_01_an_open_queue_is_followed_after_a_reload(visitor: Visitor, queue: OpenQueue) -> None:
    """Its clock once stood still until the room was left and entered again."""
    queue.editor.submit(make_request(prompt="clip a"))
    page = open_queue(visitor)
    expect(rows(page)).to_have_text(["clip a"])
    visitor.reload(page)
    expect(page).to_have_url(re.compile("room=queue"))
    expect(rows(page)).to_have_text(["clip a"])
    queue.editor.submit(make_request(prompt="clip b"))
    expect(rows(page)).to_have_text(["clip a", "clip b"])
    page.get_by_role("tab", name="Create").click()
    queue.editor.submit(make_request(prompt="clip c"))
    expect(page.locator("#rooms [role=tab][data-count]")).to_have_attribute("data-count", "3")


@pytest.mark.soak
def test_only_what_is_open_is_asked_for_while_clips_wait(visitor: Visitor, queue: OpenQueue) -> None:
    """The hidden stage was drawn as often as an open one, in every room."""
    queue.editor.submit(make_request(prompt="clip a"))
    page, asked = open_queue(visitor), []
    badge = page.locator("#rooms [role=tab][data-count]")
    expect(rows(page)).to_have_text(["clip a"])
    expect(badge).to_have_attribute("data-count", "1")
    page.on("request", lambda request: asked.append(request.post_data or "") if "/run/" in request.url else None)
    times: Counter[int] = Counter()
    while max(times.values(), default=0) < 5:
        page.wait_for_timeout(500)
        times = Counter(json.loads(each)["fn_index"] for each in asked)
    assert [count for count in times.values() if count > 2] == [max(times.values())], "the others are the page's start"
    assert not any(OF_STAGE in each for each in asked)
    page.get_by_role("tab", name="Gallery").click()
    queue.editor.submit(make_request(prompt="clip b"))
    expect(badge).to_have_attribute("data-count", "2")
    assert not any(OF_STAGE in each for each in asked)
    page.get_by_role("tab", name="Create").click()
    queue.editor.submit(make_request(prompt="clip c"))
    expect(badge).to_have_attribute("data-count", "3")
    assert any(OF_STAGE in each for each in asked)


@pytest.mark.soak
def test_a_waiting_clip_is_changed_in_the_form(visitor: Visitor, queue: OpenQueue) -> None:
    job_id = queue.editor.submit(make_request(prompt="not quite right"))
    page = open_queue(visitor)
    act(page, "not quite right", "Change")
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value("not quite right")
    expect(page).not_to_have_url(re.compile("room=queue"))
    expect(panel(page).get_by_text("You are changing a clip that waits")).to_be_visible()
    fill(page, Prompt="much better", Seed="5")
    panel(page).get_by_role("button", name="Save changes").click()
    expect(rows(page)).to_have_text(["much better"])
    assert queue.jobs.job(job_id).request.seed == 5
    page.get_by_role("tab", name="Create").click()
    expect(panel(page).get_by_role("button", name="Generate")).to_be_visible()


def test_the_queue_pauses_goes_on_and_says_what_failed(visitor: Visitor, queue: OpenQueue) -> None:
    good = make_request(prompt="this one works", num_frames=5, num_inference_steps=1)
    queue.editor.submit_many([(good, ""), (make_request(prompt="this one fails", model="gone"), "")])
    page = open_queue(visitor)
    expect(page.locator(".queue-words.prose")).to_contain_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".queue-words.prose h2")).to_have_text("The queue is empty")
    page.get_by_role("radio", name="Problems").click()
    expect(page.locator(".job-row .remark.bad")).to_contain_text("gone")
    page.get_by_role("radio", name="Done").click()
    expect(page.locator(".job-row", has_text="this one works").locator("img")).to_be_visible()
    page.get_by_role("button", name="Retry failed").click()
    expect(page.locator(".toast")).to_contain_text("1 clip queued again")
    expect(page.locator(".queue-words.prose h2")).to_have_text("The queue is empty")
    page.get_by_role("button", name="Clear finished").click()
    expect(rows(page)).to_have_count(0)


@pytest.mark.soak
def test_a_list_is_looked_at_before_it_is_added(visitor: Visitor, queue: OpenQueue, tmp_path: Path) -> None:
    listed = tmp_path / "shots.csv"
    listed.write_text("prompt,seed,steps,project\none,1,4,Film\ntwo,2,many,\n<b>three</b>,3,4,\n", encoding="utf-8")
    page = open_queue(visitor)
    page.get_by_role("button", name="Add many clips").click()
    with page.expect_download() as template:
        page.get_by_role("link", name="Download a template").click()
    assert Path(template.value.path()).read_text(encoding="utf-8").startswith("prompt,")
    page.locator("#queue-upload input[type=file], input#queue-upload").or_(
        page.locator("#add-many input[type=file]")
    ).first.set_input_files(listed)
    expect(page.locator(".file-report")).to_contain_text("2 clips, about")
    expect(page.locator(".problems")).to_contain_text("Row 3, column steps: The steps 'many' is not a whole number")
    page.get_by_role("button", name="Add the good 2 clips").click()
    expect(rows(page)).to_have_text(["one", "<b>three</b>"])
    assert [job.project for job in queue.jobs.waiting(2)] == ["Film", ""]
    with page.expect_download() as exported:
        page.get_by_role("button", name="Export").click()
    lines = Path(exported.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == ["one", "<b>three</b>"]
    page.locator("#add-many input[type=file]").first.set_input_files(
        {"name": "again.jsonl", "mimeType": "text/plain", "buffer": "\n".join(lines).encode()}
    )
    page.get_by_role("button", name="Add 2 clips").click()
    expect(rows(page)).to_have_count(4)
    page.locator("#add-many input[type=file]").first.set_input_files(
        {"name": "no.csv", "mimeType": "text/csv", "buffer": b"colour\nred\n"}
    )
    expect(page.locator("#add-many .notice")).to_contain_text("unknown column 'colour'")


@pytest.mark.soak
def test_a_long_queue_comes_in_pages_and_a_reload_stays_here(visitor: Visitor, queue: OpenQueue) -> None:
    queue.editor.submit_many([(make_request(prompt=f"clip {number}"), "") for number in range(1, 71)])
    page = open_queue(visitor)
    expect(rows(page)).to_have_count(50)
    page.get_by_role("button", name="Next", exact=True).click()
    expect(rows(page)).to_have_count(20)
    expect(rows(page).last).to_have_text("clip 70")
    act(page, "clip 51", "Earlier")
    expect(rows(page).first).to_have_text("clip 50")
    page.reload()
    expect(page).to_have_url(re.compile("room=queue"))
    expect(rows(page).nth(49)).to_have_text("clip 51")
    page.locator(".job-row", has_text="clip 51").get_by_role("button", name="More for this clip").click()
    expect(page.locator(".menu:popover-open")).to_have_count(1)
    page.mouse.wheel(0, -200)
    expect(page.locator(".menu:popover-open")).to_have_count(0)
