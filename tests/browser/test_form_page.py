"""The form in a real browser: bad input, other models, pictures, and a reload."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.support.form import FORECAST, fill, generate, panel
from tests.browser.support.visitor import TEST_SECONDS, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

BAD_INPUT = (
    ("Prompt", "", "The prompt is empty"),
    ("Prompt", "x" * 100_000, "at most 4,000 are allowed"),
    ("Seed", "-2", "Seed -2 is out of range"),
    ("Seed", "abc", "Seed 'abc' is not a whole number"),
    ("Steps", "1000", "Steps 1000 is out of range"),
    ("Guidance", "nan", "Guidance nan is out of range"),
    ("Frames per second", "60", "choose a shorter clip or fewer frames per second"),
)


def test_bad_input_gets_a_sentence_and_the_form_is_kept(visitor: Visitor) -> None:
    page = visitor.open()
    for label, value, sentence in BAD_INPUT:
        fill(page, **{label: value})
        generate(page)
        expect(panel(page).locator(".notice:visible")).to_contain_text(sentence)
        box = panel(page).get_by_label(label, exact=True)
        expect(box).to_have_value(value)
        if label != "Frames per second":  # that sentence is about the length
            expect(box).to_have_attribute("aria-invalid", "true")
        fill(page, **{label: "16"})
        expect(panel(page).locator(".notice:visible")).to_have_count(0)
        expect(page.locator(".estimate:visible")).to_contain_text("About")


@pytest.mark.soak
def test_a_custom_size_off_the_grid_gets_a_sentence(visitor: Visitor) -> None:
    page = visitor.open()
    panel(page).get_by_label("Custom").check()
    expect(panel(page).get_by_label("Width", exact=True)).to_have_value("320")
    fill(page, Width="321")
    generate(page)
    expect(panel(page).locator(".notice:visible")).to_contain_text("Width 321 is not a multiple of 32")


@pytest.mark.soak
def test_a_length_beyond_the_model_is_held_back(visitor: Visitor) -> None:
    page = visitor.open()
    number = panel(page).get_by_label("number input for Length in seconds")
    number.fill("99")
    expect(number).to_have_value("3")
    number.fill("")
    number.press_sequentially("0.1")
    number.press("Tab")
    expect(number).to_have_value("0.5")
    expect(panel(page).get_by_label("range slider for Length in seconds")).to_have_value("0.5")


@pytest.mark.soak
def test_another_model_brings_its_sizes_and_settings(visitor: Visitor) -> None:
    page = visitor.open()
    panel(page).get_by_label("Model").click()
    page.get_by_role("option", name="Wan 2.2 Text and image to video 5B").click()
    expect(panel(page).get_by_label("1280 × 704")).to_be_checked()
    panel(page).get_by_role("button", name="Advanced").click()
    expect(panel(page).get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "50")
    panel(page).get_by_label("Quick draft").check()
    expect(panel(page).get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "6")
    expect(panel(page).get_by_label("range slider for Length in seconds")).to_have_attribute("max", "6.5")


@pytest.mark.soak
def test_a_broken_image_gets_a_sentence(visitor: Visitor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    page = visitor.open()
    page.get_by_role("tab", name="Image to video").click()
    panel(page).get_by_label("Remove Image").or_(panel(page).get_by_label("Clear")).first.click()
    generate(page)
    expect(panel(page).locator(".notice:visible")).to_contain_text("There is no image yet")
    with page.expect_response("**/upload**"):
        panel(page).locator("input[type=file]").set_input_files(broken)
    at_box = panel(page).locator("[id='image-to-video-image'] .notice")
    expect(at_box).to_contain_text("broken.png")
    expect(panel(page).locator("[id='image-to-video-image'] img")).to_have_count(0)
    generate(page)
    expect(at_box).to_contain_text("There is no image yet")


@pytest.mark.soak
def test_7_the_frame_over_a_picture_is_moved_by_keys_and_pointer(visitor: Visitor, tmp_path: Path) -> None:
    Image.effect_noise((300, 400), 80).convert("RGB").save(tmp_path / "tall.png")
    page = visitor.open()
    page.get_by_role("tab", name="Image to video").click()
    panel(page).get_by_label("Remove Image").first.click()
    panel(page).locator("input[type=file]").first.set_input_files(tmp_path / "tall.png")
    frame = panel(page).get_by_role("slider", name="Part of the picture that is kept")
    expect(panel(page).get_by_text("A clip of 192 × 320 keeps 80 % of the picture")).to_be_visible()
    frame.focus()
    page.keyboard.press("ArrowRight")
    expect(frame).to_have_attribute("aria-valuetext", "55 % from the left")
    place = frame.bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + 20, place["y"] + 20)
    page.mouse.down()
    page.mouse.move(place["x"] - 400, place["y"] + 20, steps=3)
    page.mouse.up()
    expect(frame).to_have_attribute("aria-valuetext", "0 % from the left")
    expect(page.locator("[id='image-to-video-image_crop'] textarea")).to_have_value("0")
    panel(page).get_by_label("Fit with black bars").check()
    expect(panel(page).get_by_text("shows the whole picture, with black bars")).to_be_visible()
    expect(frame).to_have_count(0)


@pytest.mark.soak
def test_a_lora_that_is_none_gets_a_sentence(visitor: Visitor) -> None:
    page = visitor.open()
    panel(page).get_by_role("button", name="LoRAs").click()
    panel(page).get_by_label("Add a LoRA").fill("not_a")
    offered = panel(page).get_by_role("button", name="Add not_a_lora")
    expect(offered).to_be_disabled()
    expect(panel(page).locator(".lora-found small")).to_contain_text("LoRA 'not_a_lora' cannot be read")


@pytest.mark.soak
def test_the_form_survives_a_reload(visitor: Visitor) -> None:
    page = visitor.open()
    panel(page).get_by_label("Model").click()
    page.get_by_role("option", name="Wan 2.2 Text and image to video 5B").click()
    expect(panel(page).get_by_label("1280 × 704")).to_be_checked()
    fill(page, Prompt='kept, with "quotes" & <b>', Seed="77", Steps="9")
    panel(page).get_by_label("Pastel").check()
    expect(page.locator(FORECAST)).to_be_visible()
    page.wait_for_function("() => /pastel/.test(localStorage.getItem('wan-studio-form-text-to-video'))")
    page.reload()
    expect(panel(page).get_by_label("Prompt", exact=True)).to_have_value('kept, with "quotes" & <b>')
    expect(panel(page).get_by_label("Seed", exact=True)).to_have_value("77")
    expect(panel(page).get_by_label("Pastel")).to_be_checked()
    expect(panel(page).get_by_label("1280 × 704")).to_be_checked()
    panel(page).get_by_role("button", name="Advanced").click()
    expect(panel(page).get_by_label("Steps", exact=True)).to_have_value("9")
    visitor.forgive_an_estimate_that_met_other_sizes()
