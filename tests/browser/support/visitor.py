"""A browser with its tabs, as one user has it, and what went wrong in them."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, Response

WAIT_SECONDS = 120
"""The longest wait for anything that a page is to show, be it a clip of the tiny model or the end of a new process, on
a machine that is busy with other work. A wait ends with its event, so only a test that fails takes that long.
"""
LEFT = "Failed to fetch"
"""A tab that is reloaded or closed reports its open requests so; other failures have Chromium's own words."""
FAILED = "status of 500"
"""How Chromium's console tells of a handler that raised. Which one it was is known by the answer itself."""
TEST_SECONDS = 900
"""Ends a test that hangs. Its waits have a limit of their own."""


def new_profile(browser: Browser, headers: dict[str, str] | None = None) -> BrowserContext:
    """A browser profile whose requests carry `headers`."""
    profile = browser.new_context(
        viewport={"width": 1440, "height": 900},
        extra_http_headers=headers,
        reduced_motion="reduce",  # toasts do not vanish before a slow machine has clicked on them
    )
    profile.set_default_timeout(WAIT_SECONDS * 1000)
    return profile


class Visitor:
    """Opens pages, and collects what must not happen in them: script errors, failed requests, use of the network."""

    def __init__(self, profile: BrowserContext, address: str) -> None:
        """Visitors that follow each other may share a profile, for the scripts in its cache: nothing else is kept."""
        self.address = address
        self.complaints: list[str] = []
        self._profile = profile
        self._failed: list[int] = []
        """Events whose handlers raised, by their numbers in Gradio's configuration."""
        self._forgiven: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for page in self._profile.pages:
            page.close()
        self._forget()
        if error is None:
            complaints = [*self.complaints, *self._failed_handlers()]
            assert not complaints, complaints

    def open(self, query: str = "") -> Page:
        """A page in a new tab, once its forms answer."""
        page = self._profile.new_page()
        page.on("request", self._check_request)
        page.on("response", self._check_answer)
        page.on("pageerror", self._check_script)
        page.on("console", self._check_console)
        page.goto(self.address + query)
        page.locator(".estimate:visible").wait_for()
        return page

    def open_room(self, room: str, filled: str) -> Page:
        """A page in a new tab with another room open, once the room shows the element `filled`."""
        page = self.open()
        page.get_by_role("tab", name=room).click()
        page.locator(filled).first.wait_for()
        return page

    def reload(self, page: Page) -> None:
        """Load the page again, until Gradio has entered the first room by itself, late and behind the open one."""
        with page.expect_request(lambda request: '"value":"Create"' in (request.post_data or "")):
            page.reload()

    def forgive_an_estimate_that_met_other_sizes(self) -> None:
        """Pass over a known complaint: while the sizes of another model are on their way to the form, an estimate is
        asked for with the old size, and Gradio answers it with status 500. The page shows nothing of it and asks again.
        """
        self._forgiven.add("estimate")

    def _failed_handlers(self) -> list[str]:
        """Those that raised, by name, without the forgiven ones. Gradio counts handlers of one name."""
        if not self._failed:
            return []
        events = self._profile.request.get(f"{self.address}config").json()["dependencies"]
        names = {event["id"]: re.sub(r"_\d+$", "", event["api_name"]) for event in events}
        return [f"{names[each]} raised" for each in self._failed if names[each] not in self._forgiven]

    def _forget(self) -> None:
        """Clear what pages have stored, so that the next visitor comes for the first time."""
        self._profile.clear_cookies()
        page = self._profile.new_page()
        storage = {"origin": self.address.rstrip("/"), "storageTypes": "local_storage,indexeddb,service_workers"}
        self._profile.new_cdp_session(page).send("Storage.clearDataForOrigin", storage)
        page.close()

    def _check_request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.complaints.append(f"asked the network: {request.url}")

    def _check_answer(self, answer: Response) -> None:
        if answer.status == 500 and "/run/predict" in answer.url:
            self._failed.append(answer.request.post_data_json["fn_index"])
        elif answer.status >= 500:
            self.complaints.append(f"status {answer.status}: {answer.url}")

    def _check_script(self, error: Error) -> None:
        if LEFT not in str(error):
            self.complaints.append(f"script: {error}")

    def _check_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and LEFT not in message.text and FAILED not in message.text:
            self.complaints.append(f"console: {message.text} {message.location}")
