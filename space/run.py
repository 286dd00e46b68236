"""Runs the folder as the Hub would: its requirements in a fresh environment, `app.py`, and the Hub's variables."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from space.folder import front_matter
from wan_pipeline.storage.locks import WorkspaceLocks

HOST = "somebody-wan-studio.hf.space"
HUB = {
    "SYSTEM": "spaces",
    "SPACE_ID": "somebody/wan-studio",
    "SPACE_AUTHOR_NAME": "somebody",
    "SPACE_REPO_NAME": "wan-studio",
    "SPACE_TITLE": "Wan Studio",
    "SPACE_HOST": HOST,
    "GRADIO_SERVER_NAME": "0.0.0.0",  # noqa: S104 (as on the Hub)
    "HF_TOKEN": "hf_not_a_token",
}
CLIP = {"prompt": "a red ball", "size": "160x160", "num_frames": 9, "steps": 4, "seed": 1}
ADDED_BY_HUB = "spaces"
"""Beside the SDK; Gradio misses it where it finds itself in a Space."""
START_SECONDS, CLIP_SECONDS, END_SECONDS = 300.0, 600.0, 60.0
REACH_SECONDS = 5.0


class SpaceError(Exception):
    """What a Space on the Hub would not have done."""


def run(folder: Path) -> None:
    """Raises SpaceError, CalledProcessError or OSError."""
    with TemporaryDirectory(prefix="space-") as scratch:
        python = _environment(folder, Path(scratch))
        with _app(folder, python, Path(scratch)) as port:
            _visit(port)


def _environment(folder: Path, scratch: Path) -> Path:
    """Install the requirements, and what the Hub adds, into an environment of their own. Returns its Python."""
    matter = front_matter((folder / "README.md").read_text(encoding="utf-8"))
    base = _python(matter["python_version"])
    subprocess.run([base, "-m", "venv", scratch / "venv"], check=True)
    python = scratch / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = scratch / "requirements.txt"
    wanted.write_text("\n".join(_reachable(lines, pip)), encoding="utf-8")
    _say("Installing the requirements")
    subprocess.run([*pip, "--requirement", wanted, f"gradio=={matter['sdk_version']}", ADDED_BY_HUB], check=True)
    return python


def _python(version: str) -> str:
    """The Python that the Space asks for, else the one that runs this."""
    found = shutil.which(f"python{version}")
    if found and subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0:
        return found
    _say(f"There is no Python {version} here; Python {sys.version.split()[0]} takes its place")
    return sys.executable


def _reachable(lines: list[str], pip: list[str]) -> Iterator[str]:
    """The requirements, without indexes that cannot be reached from here, and builds that are only there."""
    lost = [line for line in lines if line.startswith("--extra-index-url ") and not _answers(line.split()[1])]
    for line in lines:
        if line in lost:
            _say(f"{line.split()[1]} cannot be reached from here; pip's own index takes its place")
        elif lost and "+" in line and not _is_there(line, pip):
            _say(f"{line} is not there, so the build without the label after the + is installed")
            yield line.partition("+")[0]
        else:
            yield line


def _answers(url: str) -> bool:
    try:
        socket.create_connection((urlsplit(url).hostname or "", 443), REACH_SECONDS).close()
    except OSError:
        return False
    return True


def _is_there(requirement: str, pip: list[str]) -> bool:
    command = [*pip, "--dry-run", "--no-deps", requirement]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def _app(folder: Path, python: Path, scratch: Path) -> Iterator[int]:
    """Serve the page on a free port, which is yielded once it answers."""
    port, log = _free_port(), scratch / "app.log"
    workspace = {"WAN_STUDIO_WORKSPACE": str(scratch / "workspace"), "GRADIO_SERVER_PORT": str(port)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WAN_STUDIO_", "GRADIO_"))}
    _say("Starting app.py")
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [python, "app.py"], cwd=folder, env={**kept, **HUB, **workspace}, stdout=output, stderr=output
        ) as app,
    ):
        try:
            _wait_for_answer(port, app)
            yield port
        except BaseException:
            _say(log.read_text(errors="replace")[-4000:])
            raise
        finally:
            app.terminate()
            with suppress(subprocess.TimeoutExpired):
                app.wait(20)
            app.kill()
            app.wait()
            _wait_for_worker(scratch / "workspace")


def _wait_for_answer(port: int, app: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if app.poll() is not None:
            raise SpaceError(f"app.py ended with exit status {app.returncode} before it answered.")
        with suppress(OSError, http.client.HTTPException):
            _ask(port, "HEAD", "/")
            return
        time.sleep(0.5)
    raise SpaceError(f"app.py did not answer within {START_SECONDS:.0f} s.")


def _wait_for_worker(workspace: Path) -> None:
    """It outlives the app, and ends when it has nothing to do. Raises SpaceError."""
    locks, deadline = WorkspaceLocks(workspace), time.monotonic() + END_SECONDS
    while locks.worker_is_alive():
        if time.monotonic() > deadline:
            raise SpaceError(f"The worker did not end within {END_SECONDS:.0f} s of the app.")
        time.sleep(0.2)


def _visit(port: int) -> None:
    """Open the page as a visitor, and make a clip. Raises SpaceError."""
    status, headers, page = _ask(port, "GET", "/", {"Accept": "text/html"})
    cookie = headers.get("set-cookie", "")
    if status != 200 or b"Wan Studio" not in page:
        raise SpaceError(f"The page answered with {status}: {page[:200]!r}")
    if "Partitioned" not in cookie or "huggingface.co" not in headers.get("content-security-policy", ""):
        raise SpaceError("The page's cookie or its frame-ancestors are not those of a page that the Hub frames.")
    _say("The page opens; making a clip as a visitor")
    own = {"Cookie": cookie.partition(";")[0], "Content-Type": "application/json"}
    video = _json(_ask(port, "POST", "/v1/videos", own, json.dumps(CLIP)))
    deadline = time.monotonic() + CLIP_SECONDS
    while video["status"] not in ("completed", "failed") and time.monotonic() < deadline:
        time.sleep(0.5)
        video = _json(_ask(port, "GET", f"/v1/videos/{video['id']}", own))
    if video["status"] != "completed":
        raise SpaceError(f"The clip is {video['status']}: {video['error']}")
    status, headers, content = _ask(port, "GET", f"/v1/videos/{video['id']}/content", own)
    if status != 200 or content[4:8] != b"ftyp":
        raise SpaceError(f"The clip's content answered with {status}.")
    _say(f"A clip of {len(content):,} bytes was made")


Answer = tuple[int, dict[str, str], bytes]


def _ask(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
) -> Answer:
    """As the Hub's proxy passes a visitor's request on."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    passed = {"Host": HOST, "X-Forwarded-For": "8.8.8.8", "X-Forwarded-Proto": "https"}
    try:
        connection.request(method, path, body, {**passed, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _json(answer: Answer) -> Any:
    status, _, body = answer
    if status != 200:
        raise SpaceError(f"The server answered with {status}: {body[:300]!r}")
    return json.loads(body)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(text, flush=True)
