"""axe-core over a page, in each of its looks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = "([part, options]) => axe.run(part ?? document, {...options, resultTypes: ['violations']})"
CONTRAST = "color-contrast"
IS_DARK = "dark => !document.querySelector('.gradio-container') || document.body.classList.contains('dark') === dark"
OVERFLOWS = "() => document.documentElement.scrollWidth > innerWidth"


class Look(Enum):
    """Width, height and colours of the page."""

    LIGHT = (1440, 900, "light")
    DARK = (1440, 900, "dark")
    PHONE = (390, 844, "light")

    def put_on(self, page: Page) -> None:
        width, height, colours = self.value
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=colours)
        page.wait_for_function(IS_DARK, arg=self is Look.DARK)


class Auditor:
    """Runs axe-core over what is shown in these looks, and collects what it finds."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.found: list[str] = []
        self._looks = looks
        self._script = Axe().axe_script

    def look(self, page: Page, place: str, part: str | None = None, *, narrows: bool = True) -> None:
        """Audit the page, or only the element `part`, which may go when the page `narrows`. It is light again after.

        Dark differs in its colours alone, so only their contrast is looked at there; and a phone in its layout alone,
        so their contrast, which takes axe the longest, is not.
        """
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(self._script)
        for look in self._looks:
            if look is Look.PHONE and not narrows:
                continue
            look.put_on(page)
            violations = page.evaluate(RUN, [part, _options(look)])["violations"]
            self.found += [line for each in violations for line in _lines(each, f"{place}, {look.name.lower()}")]
            if page.evaluate(OVERFLOWS):
                self.found.append(f"{place}, {look.name.lower()}: the page is wider than the window")
        if self._looks[-1] is not Look.LIGHT:
            Look.LIGHT.put_on(page)


def _options(look: Look) -> dict[str, Any]:
    """What axe looks at."""
    match look:
        case Look.LIGHT:
            return {"runOnly": {"type": "tag", "values": TAGS}}
        case Look.DARK:
            return {"runOnly": {"type": "rule", "values": [CONTRAST]}}
        case Look.PHONE:
            return {"runOnly": {"type": "tag", "values": TAGS}, "rules": {CONTRAST: {"enabled": False}}}


def _lines(violation: dict[str, Any], place: str) -> list[str]:
    """One line for each element: rule, element, help, and what axe says of it."""
    return [
        f"{place}: {violation['id']} at {' '.join(map(str, node['target']))}: {violation['help']}. "
        f"{node['failureSummary']}".replace("\n", " ")
        for node in violation["nodes"]
    ]
