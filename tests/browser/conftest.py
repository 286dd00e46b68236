"""The app in a process of its own and a headless Chromium: all tests of the page share them, and the last ends them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, expect, sync_playwright

from tests.browser.support.visitor import WAIT_SECONDS, Visitor, new_profile
from tests.support.queues import OpenQueue
from tests.support.servers.hub import HubServer, hub_server
from wan_pipeline.settings import REPOSITORY

START_SECONDS, END_SECONDS = 120, 60
QUIET_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP *.gradio.live 127.0.0.1",  # guests come by the name of a tunnel
]
WIDENED = {
    "GRADIO_VIBE_MODE": "1",
    "GRADIO_ALLOWED_PATHS": "/",
    "GRADIO_MCP_SERVER": "True",
    "GRADIO_NUM_WORKERS": "2",
    "GRADIO_ROOT_PATH": "/elsewhere",
}
"""Gradio's switches that open an app wider; all tests of the page run in spite of them."""


SHOWN = "#view, #clips"
"""The stage, and the clips of the guests' page."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test that failed: the newest jobs, what the worker did, and what the open pages say of them."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.failed and call.when == "call" and {"workspace", "browser"} <= fixtures.keys():
        workspace: Path = fixtures["workspace"]
        jobs = OpenQueue(workspace / "studio.sqlite3").jobs.recent(4)
        report.sections.append(("jobs", "\n".join(f"{job.id} {job.state} {job.stage} {job.step}" for job in jobs)))
        log = workspace / "logs" / "worker.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        report.sections.append(("worker", "\n".join(line[:200] for line in lines[-30:])))
        report.sections.append(("pages", "\n".join(_said(fixtures["browser"]))))
    return report


def _said(browser: Browser) -> Iterator[str]:
    for page in (page for context in browser.contexts for page in context.pages):
        try:
            yield f"{page.url}: {page.locator(SHOWN).first.inner_text(timeout=2000)}"
        except Error as error:
            yield f"{page.url}: {error.message.splitlines()[0]}"


@pytest.fixture(scope="package")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser") / "workspace"


@pytest.fixture(scope="package")
def hub() -> Iterator[HubServer]:
    """The Hugging Face Hub that the app uses. It has no repositories at first."""
    with hub_server() as server:
        yield server


@pytest.fixture(scope="package")
def address(workspace: Path, tiny_demo: Path, hub: HubServer) -> Iterator[str]:
    """Starts the app and gives the URL of its page. Fails after the last test if a handler raised."""
    loras = workspace.parent / "loras"
    models = workspace.parent / "models"
    loras.mkdir()
    shutil.copytree(tiny_demo, models / "wan2.2-ti2v-5b")  # the demo's layout, with the sizes and lengths of this model
    (loras / "not_a_lora.safetensors").write_bytes(b"not safetensors either")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = [str(folder) for folder in (workspace, tiny_demo, loras, models)]
    command = [sys.executable, "tests/browser/support/serve_tiny.py", str(port), *folders]
    env = {**os.environ, **WIDENED, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(workspace.parent / "hub")}
    with (workspace.parent / "app.log").open("wb") as log:
        app = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, env=env)
        try:
            _wait_for_port(port, app, workspace.parent / "app.log")
            yield f"http://127.0.0.1:{port}/"
        finally:
            _end(app)
    assert _unexpected(workspace.parent / "app.log") == []


def _end(app: subprocess.Popen[bytes]) -> None:
    """Leave no process behind, however busy the machine is."""
    app.terminate()
    try:
        app.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        app.kill()
        app.wait()
        raise


def _unexpected(log: Path) -> list[str]:
    """Exceptions in the log of the app, save that of an estimate with the size of another model (see Visitor), and
    Gradio's own for a path that test_attacks.py asks for."""
    raised = re.findall(r"^[\w.]*(?:Error|Exception)\b:? .*", log.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        line
        for line in raised
        if not any(known in line for known in ("is not in the list of choices", "InvalidPathError"))
    ]


def _wait_for_port(port: int, app: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and app.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"The app did not start:\n{log.read_text()}")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's headless shell or Chromium if there is one, else the one that Playwright installed."""
    installed = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=WAIT_SECONDS * 1000)
        browser = playwright.chromium.launch(executable_path=installed, args=QUIET_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def profile(browser: Browser) -> BrowserContext:
    return new_profile(browser)


@pytest.fixture
def visitor(profile: BrowserContext, address: str) -> Iterator[Visitor]:
    with Visitor(profile, address) as visitor:
        yield visitor
