"""Take the screenshots of the README: `python docs/scripts/take_screenshots.py http://127.0.0.1:7860`.

It makes one clip in each tab of the form and twelve through the queue, some minutes on two cores. Start with an empty
workspace.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "images"
MADE = 120_000
"""Milliseconds to wait for a clip."""
SHOTS = """A white boat moves right on the sea
A purple balloon moves up in a day sky
A yellow star spins in the night sky
A pink fish circles in the sea
A blue rocket moves up over the desert
A red heart grows over the snow"""


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        light(browser, address)
        dark(browser, address)
        phone(browser, address)
        queue(browser, address)
        gallery(browser, address)
        models(browser, address)
        browser.close()


def light(browser: Browser, address: str) -> None:
    page = visit(browser, address, 1440, 900, "light")
    make(page)
    page.screenshot(path=IMAGES / "page-light.png")


def dark(browser: Browser, address: str) -> None:
    page = visit(browser, address, 1440, 900, "dark")
    page.get_by_role("tab", name="Image to video").click()
    page.get_by_role("button", name="Generate").click()
    page.locator("#view .count", has_text=re.compile(r"step ([5-9]|1\d)/16")).wait_for(timeout=MADE)
    page.screenshot(path=IMAGES / "page-dark.png")
    page.locator("#view video").wait_for(timeout=MADE)


def phone(browser: Browser, address: str) -> None:
    page = visit(browser, address, 390, 844, "light")
    page.screenshot(path=IMAGES / "page-phone.png")


def queue(browser: Browser, address: str) -> None:
    page = visit(browser, address, 1440, 900, "dark")
    page.get_by_role("tab", name="Queue").click()
    page.get_by_role("button", name="Add many clips").click()
    page.get_by_label("Prompts, one per line").fill(SHOTS)
    for style in ("Natural", "Golden hour"):
        page.locator("#add-many").get_by_label(style).check()
    page.locator("#add-many .estimate", has_text="12 clips").wait_for()
    page.get_by_role("button", name="Add to the queue").click()
    page.locator(".now .stage", has_text=re.compile(r"step ([6-9]|1\d) of 16")).wait_for(timeout=MADE)
    page.locator(".toast").wait_for(state="hidden")
    page.get_by_label("Prompts, one per line").fill("\n".join(SHOTS.splitlines()[:3]))
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / "page-queue.png")
    page.locator(".queue-words h2", has_text="The queue is empty").first.wait_for(timeout=12 * MADE)


def gallery(browser: Browser, address: str) -> None:
    page = visit(browser, address, 1440, 900, "light")
    page.get_by_role("tab", name="Gallery").click()
    page.locator(".clip").nth(11).wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / "page-gallery.png")
    for number in (0, 1):
        page.locator(".clip").nth(number).hover()
        page.locator(".clip").nth(number).get_by_role("button", name="Choose").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator(".compare .playing").wait_for()
    page.wait_for_timeout(900)
    page.screenshot(path=IMAGES / "page-compare.png")


def models(browser: Browser, address: str) -> None:
    page = visit(browser, address, 1440, 900, "light")
    page.get_by_role("tab", name="Models").click()
    page.locator(".model").first.wait_for()
    page.screenshot(path=IMAGES / "page-models.png")


def visit(browser: Browser, address: str, width: int, height: int, scheme: str) -> Page:
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page.goto(address)
    page.locator(".estimate:visible").wait_for()
    page.wait_for_timeout(1500)  # images and fonts
    return page


def make(page: Page) -> None:
    page.get_by_role("button", name="Generate").click()
    page.wait_for_url("**/?job=*")
    page.locator("#view .facts").wait_for(timeout=MADE)
    page.wait_for_timeout(800)  # somewhere in the middle of the clip


if __name__ == "__main__":
    main(sys.argv[1])
