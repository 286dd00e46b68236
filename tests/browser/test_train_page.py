"""The Train room in a real browser, on the real app: from files to a LoRA in the form."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.support.form import drop, panel
from tests.browser.support.visitor import TEST_SECONDS, Visitor
from tests.support.files.pictures import write_pictures

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]


@pytest.fixture
def lora(workspace: Path, address: str) -> Iterator[Path]:
    """The LoRA that is made of a dataset of that name. Neither is left to other tests."""
    path = workspace.parent / "loras" / "cubes.safetensors"
    yield path
    path.unlink(missing_ok=True)
    shutil.rmtree(workspace / "datasets" / path.stem, ignore_errors=True)


@pytest.mark.soak
def test_from_pictures_to_the_form(visitor: Visitor, workspace: Path, lora: Path, tmp_path: Path) -> None:
    files = sorted(write_pictures(tmp_path / "files", 3).iterdir())
    page = visitor.open_room("Train", "#dataset-report :is(.nothing, .dataset-report)")
    dataset = page.get_by_role("combobox", name="Dataset", exact=True)
    dataset.fill("cubes")
    dataset.press("Enter")
    expect(page.locator("#dataset-report .nothing")).to_be_visible()
    inputs = page.locator("#dataset-upload").locator("xpath=..").locator("input[type=file]")
    inputs.first.set_input_files([str(file) for file in files if file.stem != "2"])
    expect(page.locator(".caption-card")).to_have_count(2)
    drop(page, (tmp_path / "files" / "2.png").read_bytes(), "2.png")
    expect(page.locator(".caption-card")).to_have_count(3)
    expect(page.locator(".dataset-report")).to_contain_text("3 images, 0 clips, 1 without a caption")
    expect(page.locator(".caption-card img")).to_have_count(3)

    caption = page.get_by_label("Caption of 2.png")
    caption.fill("a green ball")
    caption.press("Tab")
    expect(page.locator(".dataset-report")).not_to_contain_text("without a caption")
    page.get_by_label("Find in all captions").fill("ball")
    page.get_by_label("Replace with").fill("cube")
    page.locator("#dataset-replace").get_by_role("button", name="Replace").click()
    expect(caption).to_have_value("a green cube")

    page.get_by_label("Trigger word", exact=True).fill("ohwx")
    page.get_by_label("Steps", exact=True).locator("visible=true").fill("2")
    page.get_by_label("Prompts of samples").fill("a red ball")
    train = page.get_by_role("button", name="Train", exact=True)
    train.click()
    expect(page.locator(".train-form .notice")).to_contain_text("cannot be the name of a LoRA")
    page.get_by_label("Name of the LoRA").fill("cubes")
    train.click()
    expect(page.locator(".toast:visible")).to_contain_text("cubes is trained when the queue is idle")

    card = page.locator(".training-card").filter(has=page.get_by_role("heading", name="cubes", exact=True))
    expect(card.locator(".pill")).to_have_text("Done")
    expect(card.locator("video")).to_have_count(3)  # of the base model, of step 1, of the finished LoRA
    expect(card.locator(".checkpoints")).to_contain_text("step 1")
    card.get_by_role("button", name="Use").click()
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value(re.compile("ohwx$"))
    panel(page).get_by_role("button", name="LoRAs").click()
    expect(panel(page).locator(".lora-row")).to_contain_text(["cubes"])
    assert lora.is_file()
    page.get_by_role("tab", name="Train").click()
    card.get_by_role("button", name="Remove").click()
    expect(card).to_have_count(0)
    assert not (workspace / "training" / "cubes").exists()
