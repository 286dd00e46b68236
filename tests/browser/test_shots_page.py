"""A film of twelve shots in a real browser: list, drafts, a grid, picks, finals, a reviewer's note, a contact sheet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.support.axe import Auditor, Look
from tests.browser.support.visitor import TEST_SECONDS, Visitor, new_profile
from tests.browser.test_projects_page import open_project
from tests.browser.test_strangers import TUNNEL
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.roles import Role
from wan_pipeline.projects.project import Profile, Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.layers import Setup
from wan_pipeline.storage.database import Database

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

SHOTS = 12
SETUP = Setup(width=160, height=160, num_frames=5, fps=8)


def pills(page: Page, status: str, count: int) -> None:
    """Wait until the head of the room counts so many shots of a status."""
    expect(page.locator("#shots-head .states")).to_contain_text(f"{count} {status}")


@pytest.mark.soak
def test_a_film_of_twelve_shots(visitor: Visitor, workspace: Path, browser: Browser, tmp_path: Path) -> None:
    film = Project("Kite", "Kite", SETUP, Profile(num_inference_steps=1), Profile(num_inference_steps=2))
    Projects(workspace / "projects").create(film)
    shots = "".join(f"1,{number * 10:03},@ball number {number}\n" for number in range(1, SHOTS + 1))
    (tmp_path / "shots.csv").write_text(f"scene,shot,description\n{shots}")
    page = visitor.open()
    open_project(page, "Kite")
    page.get_by_role("tab", name="Shots").click()
    page.locator("#shots-board .nothing").wait_for()
    page.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(tmp_path / "shots.csv")
    expect(page.locator(".shot")).to_have_count(SHOTS)

    _add_character(page)

    page.get_by_role("button", name="Draft the open shots").click()
    page.get_by_role("button", name=f"Make {SHOTS} takes").click()
    pills(page, "draft", SHOTS)

    first = page.locator(".shot").first
    first.locator(".take").first.focus()
    page.keyboard.press("a")
    page.locator(".shots-dialog textarea").fill("guidance=2,4")
    page.locator(".shots-dialog h2").click()
    page.get_by_role("button", name="Queue 2 takes").click()
    expect(first.locator(".take[data-video]")).to_have_count(3)

    first.locator(".take").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("5")
    expect(first.locator(".take").nth(1)).to_contain_text("★★★★★")
    page.keyboard.press("p")
    pills(page, "picked", 1)
    page.locator(".shot").nth(1).locator(".take").first.focus()
    page.keyboard.press("p")
    pills(page, "picked", 2)

    page.get_by_role("button", name="Finish all picked").click()
    page.get_by_role("button", name="Make 2 finals").click()
    pills(page, "final", 2)

    auditor = Auditor(list(Look))
    secret = Keys(Database(workspace / "studio.sqlite3")).create(Role.VIEW, "Kite")[0]
    _review(browser, visitor.address, secret, auditor)
    pills(page, "approved", 1)
    _answer(page, first, auditor)

    with page.expect_download() as download:
        page.get_by_role("button", name="Contact sheet").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
    _write_prompt(page)


def _answer(page: Page, shot: Locator, auditor: Auditor) -> None:
    """The owner finds the reviewer's comment with the final, sees its mark, and marks it as done."""
    shot.locator(".take").last.focus()
    page.keyboard.press("Enter")
    page.locator(".shots-dialog .review").get_by_role("button", name="frame 2").click()
    expect(page.locator(".take-view polyline")).to_have_attribute("points", re.compile(r"^0\.\d+,0\.\d+ 0\."))
    page.wait_for_function("() => document.querySelector('.take-view video').paused")
    page.get_by_role("button", name="Done", exact=True).click()
    expect(page.get_by_role("button", name="Open again")).to_be_visible()
    auditor.look(page, "the viewer of a take", "[role=dialog]")
    assert not auditor.found, "\n".join(["", *auditor.found])
    page.keyboard.press("Escape")


def _add_character(page: Page) -> None:
    """A character of the project, by keyboard."""
    page.get_by_role("button", name="Characters and places").click()
    page.get_by_label("Add one: its name").fill("ball")
    page.keyboard.press("Enter")
    page.get_by_label("What a prompt says in its place").fill("a red ball")
    page.keyboard.press("Escape")
    expect(page.locator(".shots-dialog")).to_have_count(0)


def _write_prompt(page: Page) -> None:
    """The character's chip, a richer prompt, and the one that was typed again."""
    page.get_by_role("tab", name="Create").click()
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("over green hills")
    page.locator(".cast-chip:visible", has_text="@ball").click()
    expect(prompt).to_have_value("over green hills @ball")
    page.get_by_role("button", name="Enhance prompt").locator("visible=true").click()
    expect(prompt).to_have_value(re.compile("^@ball .* over green hills$"))
    page.get_by_role("button", name="Undo").locator("visible=true").click()
    expect(prompt).to_have_value("over green hills @ball")


def _review(browser: Browser, address: str, secret: str, auditor: Auditor) -> None:
    """A reviewer on another browser notes a frame of the first shot and approves it."""
    profile = new_profile(browser)
    guest = profile.new_page()
    guest.goto(address.replace("127.0.0.1", TUNNEL) + f"?key={secret}")
    expect(guest.locator("#reel li")).to_have_count(2)
    auditor.look(guest, "the review page")
    guest.get_by_role("button", name="Review shot 1/010").click()
    expect(guest.locator("#frame-number")).to_contain_text(re.compile(r"frame \d"))
    guest.locator("#viewed").evaluate(
        "video => new Promise(done => video.readyState > 1 ? done() : video.oncanplay = done)"
    )
    guest.locator("#frame-place").fill("2")
    expect(guest.locator("#frame-number")).to_have_text("frame 2")
    box = guest.locator("#drawing").bounding_box()
    assert box is not None
    guest.mouse.move(box["x"] + 20, box["y"] + 20)
    guest.mouse.down()
    guest.mouse.move(box["x"] + 80, box["y"] + 60)
    guest.mouse.up()
    guest.get_by_label("Your comment at this frame").fill("Slower, please")
    guest.locator("#frame-form button[type=submit]").click()
    expect(guest.locator("#frame-comments")).to_contain_text("Slower, please")
    auditor.look(guest, "the review of a take", "dialog[open]")
    guest.get_by_role("button", name="Approve").click()
    expect(guest.locator("#verdict")).to_have_text("Approved")
    profile.close()
