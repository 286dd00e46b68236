"""ZeroGPU with the real `spaces` at work: a small service in the Hub's place grants the GPU, which is this CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.servers.asgi import serving
from tests.support.studios import QUICK, finish, opened, write_settings
from wan_pipeline.api.space.zerogpu import MAX_SECONDS, MIN_SECONDS
from wan_pipeline.settings import REPOSITORY, Settings

pytestmark = pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="`spaces` works on Linux alone")


@dataclass
class Service:
    """What `spaces` asks for GPUs. `status` answers the asking."""

    status: int = 200
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        paths = ("/startup-report", "/schedule", "/allow", "/release")
        return Starlette(routes=[Route(path, self.answer, methods=["POST"]) for path in paths])

    async def answer(self, request: Request) -> Response:
        self.asked.append((request.url.path, dict(request.query_params)))
        if request.url.path != "/schedule":
            return JSONResponse({})
        grant = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
        return JSONResponse(grant, self.status)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    service = Service()
    with serving(service.app) as address:
        yield service, address


def run(address: str, settings: Settings) -> dict[str, list[object]]:
    command = [sys.executable, "-m", "tests.support.processes.zerogpu", address]
    ended = subprocess.run(
        command,
        input=write_settings(settings),
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told: dict[str, list[object]] = json.loads(ended.stdout.splitlines()[-1])
    return told


@pytest.mark.soak  # test_zerogpu.py makes clips without the process that `spaces` starts
def test_clips_are_made_in_the_process_that_has_the_gpu(
    service: tuple[Service, str], settings: Settings, tmp_path: Path
) -> None:
    asked, address = service
    told = run(address, settings)
    assert told["states"] == ["done", "done"], told["errors"]
    assert told["clips"] == [True, True]
    grants = [query for path, query in asked.asked if path == "/schedule"]
    assert asked.paths().count("/startup-report") == 1
    assert len(grants) == asked.paths().count("/release") == 2, "a GPU a clip, given back"
    assert asked.paths().count("/allow") == 1, "the second clip finds the first one's process"
    assert all(MIN_SECONDS <= int(query["durationSeconds"]) <= MAX_SECONDS for query in grants)
    with opened(Settings(**{**vars(settings), "workspace": tmp_path / "other"})) as other:
        (expected,) = finish(other, other.settings, QUICK)
    assert told["frames"] == [expected.frames_sha256] * 2


@pytest.mark.soak
def test_without_a_gpu_the_clip_fails_and_says_so(service: tuple[Service, str], settings: Settings) -> None:
    asked, address = service
    asked.status = 503
    told = run(address, settings)
    assert told["states"] == ["failed", "failed"]
    assert all("The Space's GPU did not make the clip" in str(error) for error in told["errors"])
