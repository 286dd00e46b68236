"""The real app in a process of its own, and a real browser that notes what must not happen."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support.hub_server import HubServer, hub_server
from wan_pipeline.settings import REPOSITORY

QUIET_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser") / "workspace"


@pytest.fixture(scope="session")
def hub() -> Iterator[HubServer]:
    """The Hub that the app sees. Nothing is published there at first."""
    with hub_server() as server:
        yield server


@pytest.fixture(scope="session")
def address(workspace: Path, tiny_demo: Path, hub: HubServer) -> Iterator[str]:
    """Where the app is served."""
    loras = workspace.parent / "loras"
    models = workspace.parent / "models"
    loras.mkdir()
    shutil.copytree(tiny_demo, models / "wan2.2-ti2v-5b")  # the same layout, and other sizes and lengths
    (loras / "not_a_lora.safetensors").write_bytes(b"nor safetensors")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = [str(folder) for folder in (workspace, tiny_demo, loras, models)]
    command = [sys.executable, "tests/browser/serve_tiny.py", str(port), *folders]
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(workspace.parent / "hub")}
    with (workspace.parent / "app.log").open("wb") as log:
        app = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, env=env)
        try:
            _wait_for(port, app, workspace.parent / "app.log")
            yield f"http://127.0.0.1:{port}/"
        finally:
            app.terminate()
            app.wait(20)
    assert _unexpected(workspace.parent / "app.log") == []


def _unexpected(log: Path) -> list[str]:
    """What no handler caught. Known: an estimate that meets another model's sizes, which Gradio itself refuses."""
    raised = re.findall(r"^[\w.]*(?:Error|Exception)\b:? .*", log.read_text(encoding="utf-8"), re.MULTILINE)
    return [line for line in raised if "is not in the list of choices" not in line]


def _wait_for(port: int, app: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and app.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"The app did not come up:\n{log.read_text()}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium where there is one, else the one that playwright installed."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET_CHROMIUM)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A browser with its tabs, and what went wrong in them."""

    browser: Browser
    address: str
    complaints: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = {"width": 1440, "height": 900}
        self._context = self.browser.new_context(viewport=size, extra_http_headers=self.headers)
        self._context.set_default_timeout(20_000)

    def open(self, query: str = "") -> Page:
        page = self._context.new_page()
        page.on("request", self._check_request)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("console", self._check_console)
        page.goto(self.address + query)
        page.locator(".estimate:visible").wait_for()
        return page

    def leave(self) -> None:
        self._context.close()

    def forgive_an_estimate_that_met_other_sizes(self) -> None:
        """Known: an estimate that is on its way with the old size while a model's new sizes arrive is refused by
        Gradio itself. The page shows nothing of it and asks again.
        """
        self.complaints = [complaint for complaint in self.complaints if "status of 500" not in complaint]

    def _check_request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.complaints.append(f"asked the network: {request.url}")

    def _check_console(self, message: ConsoleMessage) -> None:
        was_left = "Failed to fetch" in message.text  # of a tab reloaded or closed meanwhile; else Chromium says more
        if message.type == "error" and not was_left:
            self.complaints.append(f"console: {message.text} {message.location}")


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    visitor = Visitor(browser, address)
    yield visitor
    visitor.leave()
    assert visitor.complaints == []
