"""The LoRAs room and the LoRA rows of the form in a real browser, on the real app."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.support.form import FORECAST, drop, fill, generate, make_short, panel
from tests.browser.support.visitor import TEST_SECONDS, Visitor
from tests.browser.test_strangers import TUNNEL, ask
from tests.support import adapters
from tests.support.queues import OpenQueue
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.roles import Role
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.storage.database import Database

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

CHOSEN = (LoraChoice("wash", -0.5), LoraChoice("brush", 0.8, schedule=Schedule.parse("0:0, 0.3:1")))


def rows(page: Page) -> Locator:
    return panel(page).locator(".lora-row")


def card(page: Page, name: str) -> Locator:
    return page.locator(f".lora-card[data-clip='{name}']")


def test_a_file_is_dropped_found_used_ordered_weighted_and_comes_back(visitor: Visitor, workspace: Path) -> None:
    new = adapters.write(workspace / "brush.safetensors", metadata={"modelspec.trigger_phrase": "ohwx brush"})
    adapters.write(workspace.parent / "loras" / "wash.safetensors", seed=6)
    page = visitor.open_room("LoRAs", ".lora-card")
    drop(page, new.read_bytes(), new.name)
    expect(page.locator(".toast:visible")).to_contain_text("brush is in the folder")
    page.get_by_placeholder("Search names").fill("brush")
    expect(card(page, "wash")).to_have_count(0)
    expect(card(page, "brush")).to_contain_text("20 of 20 keys apply to")
    card(page, "brush").get_by_role("button", name="ohwx brush").click()
    card(page, "brush").get_by_role("button", name="Use").click()
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value(re.compile("ohwx brush$"))
    expect(rows(page)).to_contain_text(["brush"])

    panel(page).get_by_role("button", name="LoRAs").click()
    panel(page).get_by_label("Add a LoRA").fill("WA")
    panel(page).get_by_role("button", name="Add wash").click()
    expect(rows(page)).to_contain_text(["brush", "wash"])
    panel(page).get_by_role("button", name="Move wash up").press("Enter")
    expect(rows(page)).to_contain_text(["wash", "brush"])
    expect(panel(page).get_by_role("button", name="Move wash up")).to_be_focused()
    rows(page).nth(1).locator(".lora-grip").drag_to(rows(page).nth(0), target_position={"x": 40, "y": 4})
    expect(rows(page)).to_contain_text(["brush", "wash"])
    panel(page).get_by_role("button", name="Move brush down").press("Enter")
    expect(rows(page)).to_contain_text(["wash", "brush"])
    make_short(page)
    fill(page, **{"Weight of wash": "-0,5", "Weight of brush": "0.8", "Over the steps, brush": "0:0, 0.3:1"})
    expect(rows(page).nth(1).locator("polyline")).to_have_attribute("points", re.compile("^0,.* 64,"))
    generate(page)  # at once: what was just typed counts
    page.wait_for_url("**/?job=*")
    expect(page.locator("#view .facts")).to_contain_text("wash -0.5, brush 0.8 over 0:0, 0.3:1")
    assert OpenQueue(workspace / "studio.sqlite3").jobs.recent(1)[0].request.loras == CHOSEN

    panel(page).get_by_role("button", name="Remove wash").click()
    panel(page).get_by_label("Use brush").uncheck()
    expect(rows(page)).to_have_count(1)
    page.wait_for_function("() => /brush.*false/.test(localStorage.getItem('wan-studio-form-text-to-video'))")
    visitor.reload(page)
    expect(panel(page).get_by_label("Use brush")).not_to_be_checked()
    page.get_by_role("button", name="Reuse settings").click()
    expect(rows(page)).to_contain_text(["wash", "brush"])
    expect(panel(page).get_by_label("Weight of wash")).to_have_value("-0.5")
    _type_without_effect(page)
    expect(page.locator(FORECAST)).to_be_visible()
    page.get_by_role("tab", name="LoRAs").click()
    expect(card(page, "wash").locator("img")).to_be_visible()


@pytest.mark.soak
def test_a_lora_that_does_not_fit_is_greyed_with_the_reason_and_stands_at_its_row(
    visitor: Visitor, workspace: Path
) -> None:
    path = adapters.write(workspace.parent / "loras" / "soon gone.safetensors")
    page = visitor.open()
    panel(page).get_by_role("button", name="LoRAs").click()
    panel(page).get_by_label("Add a LoRA").fill("soon")
    panel(page).get_by_role("button", name="Add soon gone").click()
    expect(rows(page)).to_contain_text("keys apply to")
    path.write_bytes(b"nothing")
    page.get_by_role("tab", name="Queue").click()
    page.get_by_role("tab", name="Create").click()
    expect(panel(page).locator(".lora-row.misfit")).to_contain_text("LoRA 'soon gone' cannot be read")
    generate(page)
    expect(rows(page).locator(".notice")).to_contain_text("LoRA 'soon gone' cannot be read")
    path.unlink()


def _type_without_effect(page: Page) -> None:
    """What was typed into rows is gone once the same clip's settings are taken over again."""
    over, curve = panel(page).get_by_label("Over the steps, brush"), rows(page).nth(1).locator("polyline")
    expect(over).to_have_value("0:0, 0.3:1")
    points = str(curve.get_attribute("points"))
    fill(page, **{"Weight of wash": "0.3", "Over the steps, brush": "0:1, 1:0"})
    panel(page).get_by_label("Use wash").uncheck()
    expect(curve).not_to_have_attribute("points", points)
    page.get_by_role("button", name="Reuse settings").click()
    expect(panel(page).get_by_label("Weight of wash")).to_have_value("-0.5")
    expect(panel(page).get_by_label("Use wash")).to_be_checked()
    expect(over).to_have_value("0:0, 0.3:1")
    expect(curve).to_have_attribute("points", points)


@pytest.mark.soak
def test_the_picture_beside_a_file_is_on_its_card_and_for_the_owner_alone(
    visitor: Visitor, workspace: Path, address: str
) -> None:
    keys, path = Keys(Database(workspace / "studio.sqlite3")), workspace.parent / "loras" / "pictured.safetensors"
    adapters.write(path)
    Image.effect_noise((1000, 600), 80).convert("RGB").save(path.with_suffix(".png"))
    page = visitor.open_room("LoRAs", ".lora-card")
    picture = card(page, "pictured").get_by_role("img", name="Picture of pictured")
    picture.scroll_into_view_if_needed()
    page.wait_for_function("picture => picture.naturalWidth === 400", arg=picture.element_handle())
    served = f"/{picture.get_attribute('src')}"
    assert ask(address, served)[0].status == 200
    assert ask(address, served, host=TUNNEL)[0].status == 401
    for role in (Role.VIEW, Role.MAKE):
        secret, key = keys.create(role)
        assert ask(address, served, host=TUNNEL, authorization=f"Bearer {secret}")[0].status == 404
        keys.revoke(key.id)
    for file in (path, path.with_suffix(".png")):
        file.unlink()
