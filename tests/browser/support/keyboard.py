"""The page by keyboard alone: groups of radio buttons, and dialogs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator, Page, expect

IN_GROUP = "group => document.activeElement.type === 'radio' && document.activeElement.name === group"
FOCUSED = "() => document.activeElement.outerHTML.slice(0, 300)"
IN_DIALOG = "() => !!document.activeElement.closest('[role=dialog], dialog, #report')"


def is_one_tab_stop(page: Page, checked: Locator) -> None:
    """The arrow keys choose within the group, and Tab leaves it."""
    radio, group = page.locator(f"[id='{id_of(checked)}']"), str(checked.get_attribute("name"))
    radio.focus()
    for key, stays, is_checked in (
        ("ArrowRight", True, False),
        ("Tab", False, False),
        ("Shift+Tab", True, False),
        ("ArrowLeft", True, True),
    ):
        page.keyboard.press(key)
        assert page.evaluate(IN_GROUP, group) is stays, (key, page.evaluate(FOCUSED))
        expect(radio).to_be_checked(checked=is_checked)


def id_of(element: Locator) -> str:
    """Its id, or one that it gets: the locator may find another element later."""
    return str(element.evaluate("element => element.id ||= crypto.randomUUID()"))


@contextmanager
def opened_by_keyboard(page: Page, opener: Locator, returns_to: Locator | None = None) -> Iterator[Locator]:
    """The dialog that the button opens: the focus moves into it, stays in it, and returns to the button on Escape.

    `returns_to` is the button of the menu that `opener` is in.
    """
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.wait_for_function(IN_DIALOG)
    yield dialog
    for key in ("Shift+Tab", "Tab", "Tab"):
        page.keyboard.press(key)
        assert page.evaluate(IN_DIALOG), f"{key} left the dialog"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(returns_to or opener).to_be_focused()
