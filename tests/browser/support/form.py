"""The form of the Create room, as a user fills it in."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

FORECAST = ".estimate:visible:not(.lacking)"
"""The estimate of a clip that can be made. Whether it fits into memory depends on the machine."""


DROP = """([hex, name]) => {
    const bytes = Uint8Array.from(hex.match(/../g), pair => parseInt(pair, 16));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    document.body.dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true}));
}"""


def panel(page: Page) -> Locator:
    """The form that is shown."""
    return page.locator("#tabs [role=tabpanel]:visible")


def fill(page: Page, **values: str) -> None:
    """Fill fields by label, opening Advanced where needed."""
    for label, value in values.items():
        box = panel(page).get_by_label(label, exact=True)
        if not box.is_visible():
            panel(page).get_by_role("button", name="Advanced").click()
        box.fill(value)


def make_short(page: Page) -> None:
    panel(page).get_by_label("number input for Length in seconds").fill("0.5")
    fill(page, Steps="2")


def drop(page: Page, content: bytes, name: str) -> None:
    """Drop a file somewhere on the page."""
    page.evaluate(DROP, [content.hex(), name])


def generate(page: Page) -> None:
    panel(page).get_by_role("button", name="Generate").click()


def model_choices(page: Page) -> Locator:
    """Open the list of models and give its options."""
    page.get_by_role("tab", name="Create").click()
    panel(page).get_by_label("Model").click()
    return page.get_by_role("option")
