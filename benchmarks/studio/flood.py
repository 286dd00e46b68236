"""Measure how quickly the owner's page answers while guests flood it, and what memory the app holds afterwards.

    python -m benchmarks.studio.flood --output benchmarks/results/flood.json

The app runs in a process of its own, on a workspace of CLIPS clips. First guests with keys send requests in threads as
fast as they get answers; then come large bodies and many page sessions, by the guests and from this computer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import httpx
import psutil

from benchmarks.studio.gallery import generate
from wan_pipeline.access.roles import Role
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.studio import Studio

JSON = {"content-type": "application/json"}
TUNNEL = {"host": "flood.gradio.live"}
GUESTS = 20
REQUESTS_EACH = 50
CLIPS = 2_000
BODIES, BODY_MB = 48, 5
"""Together 240 MB of JSON."""
SESSIONS = 2_000
UPLOADS, UPLOAD_MB = 5, 99
SETTLE_SECONDS = 90
"""How long the app may take to free what the requests took."""
ALLOWED_MB = 100
LIMIT_SECONDS = 1.0
"""Largest allowed median of the owner's page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder) / "workspace")
    text = json.dumps(report, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")


def measure(workspace: Path) -> dict[str, Any]:
    clips = Settings(workspace=workspace).clips
    clips.mkdir(parents=True)
    generate(clips, CLIPS, random.Random(20261126))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "wan_pipeline", "serve", "--port", str(port), "--workspace", str(workspace)]
    app = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        owner = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        _wait_for(owner)
        with Studio(Settings(workspace=workspace)) as studio:
            keys = [studio.keys.create(Role.MAKE)[0] for _ in range(GUESTS)]
        _guest(str(owner.base_url), keys[0], requests=6)  # what is imported with the first requests stays
        process = psutil.Process(app.pid)
        quiet, before = _page_seconds(owner, 30), process.memory_info().rss
        statuses, flooded = _flood(owner, keys)
        memory = {"flood": process.memory_info().rss - before}
        heavy = {}
        for name, attack in (("json", _large_bodies), ("sessions", _many_sessions), ("uploads", _large_uploads)):
            heavy[name] = attack(owner, keys[0])
            memory[name] = _settled(process, before + ALLOWED_MB * 10**6) - before
    finally:
        app.terminate()
        app.wait(30)
    return _report(quiet, flooded, statuses, heavy, memory)


def _large_bodies(owner: httpx.Client, key: str) -> Counter[int]:
    body = b'{"prompt": "' + b"x" * BODY_MB * 10**6 + b'"}'
    return _both(owner, key, BODIES // 2, lambda client, _: client.post("/v1/videos", content=body, headers=JSON))


def _many_sessions(owner: httpx.Client, key: str) -> Counter[int]:
    def ask(client: httpx.Client, number: int) -> httpx.Response:
        call = {"data": ["no such clip"], "session_hash": f"flood{number}"}
        return client.post("/gradio_api/run/status", json=call)

    return _both(owner, key, SESSIONS // 2, ask)


def _large_uploads(owner: httpx.Client, key: str) -> Counter[int]:
    content = b"x" * UPLOAD_MB * 10**6

    def ask(client: httpx.Client, number: int) -> httpx.Response:
        return client.post("/gradio_api/upload", files={"files": (f"{number}.png", content)})

    return _both(owner, key, UPLOADS, ask)


def _both(
    owner: httpx.Client, key: str, requests: int, ask: Callable[[httpx.Client, int], httpx.Response]
) -> Counter[int]:
    """The statuses of as many requests by a guest and by the owner, one after the other."""
    headers = {**TUNNEL, "authorization": f"Bearer {key}"}
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=owner.base_url, headers=headers, timeout=60, trust_env=False) as guest:
        for client in (guest, owner):
            for number in range(requests):
                try:
                    statuses[ask(client, number).status_code] += 1
                except httpx.TransportError:  # the server hung up before it had read the body
                    statuses[0] += 1
    return statuses


def _settled(process: psutil.Process, enough: int) -> int:
    """The process' memory in bytes, as soon as it is at most `enough`, or else after SETTLE_SECONDS."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (now := process.memory_info().rss) > enough and time.monotonic() < deadline:
        time.sleep(1)
    return int(now)


def _flood(owner: httpx.Client, keys: list[str]) -> tuple[Counter[int], list[float]]:
    """The statuses that guests got, and the response times of the owner's page during the flood, in seconds."""
    ended = Event()
    with ThreadPoolExecutor(len(keys) + 1) as pool:
        page = pool.submit(_page_seconds_until, owner, ended.is_set)
        floods = [pool.submit(_guest, str(owner.base_url), key) for key in keys]
        statuses = sum((flood.result() for flood in floods), Counter())
        ended.set()
        return statuses, page.result()


def _guest(address: str, key: str, requests: int = REQUESTS_EACH) -> Counter[int]:
    headers = {**TUNNEL, "authorization": f"Bearer {key}"}
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as guest:
        for number in range(requests):
            match number % 3:
                case 0:
                    answer = guest.get("/v1/videos")
                case 1:
                    answer = guest.post("/v1/forecast", json={"prompt": "a red ball"})
                case _:
                    answer = guest.post("/v1/videos", content=b"x" * 5 * 2**20)
            statuses[answer.status_code] += 1
    return statuses


def _page_seconds(owner: httpx.Client, count: int) -> list[float]:
    return [_one_page(owner) for _ in range(count)]


def _page_seconds_until(owner: httpx.Client, is_over: Callable[[], bool]) -> list[float]:
    seconds = []
    while not is_over():
        seconds.append(_one_page(owner))
    return seconds


def _one_page(owner: httpx.Client) -> float:
    started = time.monotonic()
    owner.get("/").raise_for_status()
    return time.monotonic() - started


def _wait_for(owner: httpx.Client) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            owner.get("/")
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("The app did not start within 120 s.")


def _report(
    quiet: list[float],
    flooded: list[float],
    statuses: Counter[int],
    heavy: dict[str, Counter[int]],
    memory: dict[str, int],
) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("gradio", "starlette", "uvicorn")},
        "guests": GUESTS,
        "requests": sum(statuses.values()),
        "statuses": _counts(statuses),
        "clips": CLIPS,
        "heavy": {name: _counts(answers) for name, answers in heavy.items()},
        "owners_page_seconds": {
            "quiet_median": round(median(quiet), 3),
            "flooded_median": round(median(flooded), 3),
            "flooded_worst": round(max(flooded), 3),
            "samples": len(flooded),
        },
        "limit_seconds": LIMIT_SECONDS,
        "memory_grown_mb": {after: round(grown / 1e6, 1) for after, grown in memory.items()},
        "allowed_mb": ALLOWED_MB,
    }


def _counts(statuses: Counter[int]) -> dict[str, int]:
    """By status; 0 counts the connections that the server closed before it had read all."""
    return {str(status): count for status, count in sorted(statuses.items())}


if __name__ == "__main__":
    main()
