"""The Models room in a real browser, on the real app, with a Hugging Face Hub on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.support.form import FORECAST, fill, model_choices, panel
from tests.browser.support.visitor import TEST_SECONDS, Visitor
from tests.support import tiny
from tests.support.queues import OpenQueue
from tests.support.servers.hub import Faults, HubServer
from wan_pipeline.clips.encode import encode

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

VACE = "Wan 2.1 VACE 1.3B"
GATED = "Wan 2.1 Text to video 14B"
OWN = "someone/My-Own-Wan"


@pytest.fixture(scope="module")
def published(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> HubServer:
    folder = tmp_path_factory.mktemp("published")
    own = tiny.write_wan21_text(folder / "own")
    hub.publish("Wan-AI/Wan2.1-VACE-1.3B-diffusers", tiny.write_vace(folder / "vace"))
    hub.publish("Wan-AI/Wan2.1-T2V-14B-Diffusers", own)
    hub.publish(OWN, own)
    return hub


@pytest.fixture
def faults(published: HubServer) -> Iterator[Faults]:
    published.faults = Faults()
    yield published.faults
    published.faults = Faults()


def open_models(visitor: Visitor) -> Page:
    return visitor.open_room("Models", "#model-grid .model")


def card(page: Page, title: str) -> Locator:
    return page.locator(".model").filter(has=page.get_by_role("heading", name=title, exact=True))


def click(page: Page, title: str, button: str) -> None:
    card(page, title).get_by_role("button", name=button, exact=True).click()


def answer(page: Page, button: str) -> None:
    """Press a button of the open dialog."""
    page.get_by_role("dialog").get_by_role("button", name=re.compile(button)).click()


@pytest.mark.soak
def test_01_a_model_is_downloaded_and_followed_after_a_reload_then_stopped_resumed_used_verified_and_removed(
    visitor: Visitor, faults: Faults
) -> None:
    faults.chunk_bytes, faults.seconds_a_chunk = 64, 0.05  # it would take longer than this test may
    page = open_models(visitor)
    expect(card(page, VACE)).to_contain_text("about 20.0 GB to download")
    click(page, VACE, "Download")
    expect(page.get_by_role("dialog")).to_contain_text("To download")
    expect(page.get_by_role("dialog")).to_contain_text(re.compile(r"Wan2.1-VACE-1.3B-diffusers at [0-9a-f]{12}"))
    answer(page, "Not now")
    expect(page.get_by_role("dialog")).to_have_count(0)
    click(page, VACE, "Download")
    answer(page, r"Download \d+ kB")
    expect(card(page, VACE).locator("[data-rate]")).to_contain_text(re.compile("[kM]B/s"))
    expect(card(page, VACE).locator("[data-left]")).to_contain_text("left")
    expect(page).to_have_url(re.compile("room=models"))
    visitor.reload(page)  # it goes on without the page, which follows it
    expect(card(page, VACE).locator("[data-amount]")).to_contain_text("B of")
    amount = card(page, VACE).locator("[data-amount]").inner_text()
    expect(card(page, VACE).locator("[data-amount]")).not_to_have_text(amount)
    click(page, VACE, "Stop")
    expect(card(page, VACE)).to_contain_text("A download was started; what it brought is kept")
    faults.chunk_bytes, faults.seconds_a_chunk = 4096, 0.0
    click(page, VACE, "Resume")
    expect(page.get_by_role("dialog")).to_contain_text("the rest is here")
    answer(page, "Download")
    expect(page.locator(".toast")).to_contain_text(f"{VACE} is ready to use")
    expect(card(page, VACE)).to_contain_text("Ready")

    click(page, VACE, "Use")
    expect(panel(page).get_by_label("Model")).to_have_value(VACE)
    expect(panel(page).get_by_text("Reference images").first).to_be_visible()
    page.get_by_role("tab", name="Models").click()
    click(page, VACE, "Verify")
    expect(card(page, VACE)).to_contain_text("Verified: all files are intact")
    click(page, VACE, "Remove")
    answer(page, "^Remove$")
    expect(card(page, VACE)).to_contain_text("about 20.0 GB to download")
    expect(model_choices(page).first).to_be_visible()
    expect(page.get_by_role("option", name=VACE)).to_have_count(0)
    expect(panel(page).get_by_label("Model")).not_to_have_value(VACE)


@pytest.mark.soak
def test_a_repository_is_added_by_its_name(visitor: Visitor, faults: Faults) -> None:
    page = open_models(visitor)
    box = page.get_by_placeholder("owner/name")
    box.fill("someone/Misspelt")
    box.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("There is no repository 'someone/Misspelt'")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    box.fill(f"https://hub.example/{OWN}/tree/main")
    page.get_by_role("button", name="Add a repository").click()
    answer(page, r"Download \d")
    expect(box).to_have_value("")
    expect(card(page, "My-Own-Wan")).to_contain_text("Ready")
    expect(model_choices(page).filter(has_text="My-Own-Wan")).to_be_visible()
    page.get_by_role("option", name="My-Own-Wan").click()
    expect(panel(page).get_by_label("832 × 480")).to_be_checked()
    expect(page.locator(FORECAST)).to_be_visible()
    page.reload()
    expect(panel(page).get_by_label("Model")).to_have_value("My-Own-Wan")
    page.get_by_role("tab", name="Models").click()
    click(page, "My-Own-Wan", "Remove")
    answer(page, "^Remove$")
    expect(card(page, "My-Own-Wan")).to_have_count(0)
    visitor.forgive_an_estimate_that_met_other_sizes()


@pytest.mark.soak
def test_what_the_hub_refuses_is_said(visitor: Visitor, faults: Faults) -> None:
    faults.gated = True
    page = open_models(visitor)
    click(page, GATED, "Download")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("is gated: accept its terms")
    page.get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(card(page, "Wan 3.0")).to_contain_text("add its repository above")
    expect(card(page, "Wan 3.0").get_by_role("button")).to_have_count(0)


@pytest.mark.soak
def test_a_model_that_came_meanwhile_makes_a_clip_led_by_a_video(visitor: Visitor, workspace: Path) -> None:
    tiny.write_vace(workspace.parent / "models" / "wan2.1-vace-14b")
    video, picture = workspace.parent / "control.mp4", workspace.parent / "picture.png"
    encode(np.zeros((17, 128, 128, 3), np.uint8), 16, video, None)
    Image.new("RGB", (160, 128), "teal").save(picture)
    page = visitor.open()
    model_choices(page).filter(has_text="Wan 2.1 VACE 14B").click()
    form = panel(page)
    boxes = form.locator(".first-frame input[type=file]")
    for left, file in ((2, video), (1, picture)):  # these are full then
        boxes.first.set_input_files(file)
        expect(boxes).to_have_count(left)
    boxes.first.set_input_files(picture)
    expect(form.locator(".references img")).to_have_count(1)
    form.get_by_label("Custom").check()
    fill(page, Width="128", Height="128", Steps="1", Seed="7")
    form.get_by_label("number input for Length in seconds").fill("0.5")
    form.get_by_role("button", name="Generate").click()
    expect(page.locator("#view .facts")).to_contain_text("Wan 2.1 VACE 14B")
    job = OpenQueue(workspace / "studio.sqlite3").jobs.recent(1)[0]
    assert job.request.control_video and job.request.control_mask and len(job.request.reference_images) == 1
    page.get_by_role("button", name="Reuse settings").click()
    expect(form.locator(".first-frame video")).to_be_visible()
    expect(form.locator(".first-frame img").first).to_be_visible()
    first = page.url
    form.get_by_role("button", name="Generate").click()
    page.wait_for_url(lambda url: "?job=" in url and url != first)
    visitor.forgive_an_estimate_that_met_other_sizes()
