"""The `gradio_client` package, unmodified, makes clips: as the owner by the page, as a guest by the endpoints alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError, AuthenticationError
from PIL import Image

from tests.api.conftest import Served
from tests.support.processes.warm import Warm
from tests.support.studios import opened_warm, wait_for
from wan_pipeline.access.http import Rules
from wan_pipeline.access.roles import Role
from wan_pipeline.api.endpoints import Endpoints, owners_upload
from wan_pipeline.api.routes.endpoints import NAMES
from wan_pipeline.api.serve import serve_options
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.ui.page import build_ui

SMALL = {"size": "160x160", "num_frames": 5, "steps": 2, "seed": 3}
TUNNEL = {"host": "abc.gradio.live", "x-forwarded-proto": "https"}
JOIN = "/gradio_api/queue/join"
DATA = "/gradio_api/queue/data"
TEXT, IMAGE, STATUS = range(3)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (160, 160), "red").save(path)
    return path


@pytest.fixture
def page(settings: Settings, warm: Warm) -> Iterator[Served]:
    """The whole app, as `serve` starts it."""
    with opened_warm(settings, warm) as studio, socket.socket() as free:
        studio.start()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        page = build_ui(studio, Endpoints(studio, owners_upload).add)
        options = serve_options(studio, Rules())
        page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **options)
        yield Served(f"http://127.0.0.1:{port}", studio)
        page.close()


def client(served: Served, key: str = "", **headers: str) -> Client:
    bearer = {"authorization": f"Bearer {key}"} if key else {}
    return Client(served.address, headers={**bearer, **headers}, verbose=False, analytics_enabled=False)


def make_clips(served: Served, key: str, picture: Path, **headers: str) -> None:
    """One from text, one from a picture, each watched until it is there and fetched."""
    program = client(served, key, **headers)
    made = [program.predict(prompt="a red ball", api_name="/text_to_video", **SMALL)]
    made.append(program.predict(handle_file(picture), "a red ball", api_name="/image_to_video", **SMALL))
    for clip_id in made:
        job_id = clip_id.removeprefix("video_")
        wait_for(lambda job_id=job_id: served.studio.jobs.existing(job_id).clip, "the clip")
        status = program.predict(clip_id, api_name="/status")
        assert (status["status"], status["progress"], status["error"]) == ("completed", 100, None)
        assert status["url"].startswith("https://abc.gradio.live/" if headers else served.address)
        path = httpx.URL(status["url"]).path
        bearer = {"authorization": f"Bearer {key}"} if key else {}
        content = httpx.get(f"{served.address}{path}", headers={**bearer, **headers}, trust_env=False)
        assert content.headers["content-type"] == "video/mp4"
    jobs = [served.studio.jobs.existing(clip_id.removeprefix("video_")) for clip_id in made]
    assert [job.request.image is not None for job in jobs] == [False, True]
    with pytest.raises(AppError, match="write it as 832x480"):
        program.predict(prompt="a red ball", size="wide", api_name="/text_to_video")
    with pytest.raises(AppError, match="There is no such clip"):
        program.predict("video_0", api_name="/status")


@pytest.mark.soak
def test_the_owner_and_a_guest_make_clips_by_the_whole_app(page: Served, picture: Path, tmp_path: Path) -> None:
    make_clips(page, "", picture)
    make_clips(page, page.key(Role.MAKE), picture, **TUNNEL)
    owner = client(page)
    for name in NAMES:
        assert f"/{name}" in owner.view_api(return_format="dict")["named_endpoints"]
    for image in ({"path": str(picture)}, {"path": "/etc/hostname"}, "/etc/hostname", {"path": ["x"]}):
        with pytest.raises(AppError, match=r"send (it|a file) with handle_file"):
            owner.predict(image, "a red ball", api_name="/image_to_video", **SMALL)
    with httpx.Client(base_url=page.address, timeout=60, trust_env=False) as http:
        numbers = {part["api_name"]: part["id"] for part in http.get("/config").json()["dependencies"]}
        file = {"path": str(picture), "meta": {"_type": "gradio.FileData"}}
        assert not call(http, numbers["image_to_video"], [file, "a red ball"])["success"]
    assert len(page.studio.jobs.recent()) == 4


def test_a_guest_makes_clips_and_is_told_the_types(served: Served, picture: Path) -> None:
    make_clips(served, served.key(Role.MAKE), picture, **TUNNEL)
    program = client(served, served.key(Role.MAKE))
    for folder in (str(served.studio.settings.workspace), str(REPOSITORY), str(Path.home())):
        assert folder not in json.dumps(program.config)
    described = program.view_api(return_format="dict")
    assert set(described["named_endpoints"]) == {f"/{name}" for name in NAMES}
    assert described["unnamed_endpoints"] == {}
    for name in NAMES:
        assert described["named_endpoints"][f"/{name}"]["description"]
    types = {
        part["parameter_name"]: part["python_type"]["type"]
        for part in described["named_endpoints"]["/image_to_video"]["parameters"]
    }
    assert (types["image"], types["prompt"], types["steps"]) == ("filepath", "str", "None | int")
    (status,) = described["named_endpoints"]["/status"]["returns"]
    assert set(status["type"]["properties"]) == {"status", "progress", "url", "error"}


def test_who_may_not_make_clips_gets_no_endpoints(served: Served) -> None:
    with pytest.raises(ValueError, match="Could not get Gradio config"):
        client(served, served.key(Role.VIEW), **TUNNEL)
    for key in ("", "guess"):
        with pytest.raises(AuthenticationError):
            client(served, key, **TUNNEL)


def call(http: httpx.Client, number: int, data: list[Any], session: str = "s") -> dict[str, Any]:
    """What `gradio_client` does, but with whatever data."""
    http.post(JOIN, json={"data": data, "fn_index": number, "session_hash": session}).raise_for_status()
    with http.stream("GET", DATA, params={"session_hash": session}) as answer:
        for line in answer.iter_lines():
            message = json.loads(line.removeprefix("data:") or "{}") if line else {}
            if message.get("msg") == "process_completed":
                return message
    raise AssertionError("no answer")


def guest(served: Served, key: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}", **TUNNEL}
    return httpx.Client(base_url=served.address, headers=headers, timeout=60, trust_env=False)


@pytest.mark.soak
def test_no_path_of_the_disk_is_opened(served: Served, picture: Path) -> None:
    """Nor an address, nor what another key uploaded; an upload's answer tells no folder."""
    with guest(served, served.key(Role.MAKE)) as one, guest(served, served.key(Role.MAKE)) as two:
        files = {"files": ("../../red.png", picture.read_bytes())}
        (name,) = two.post("/gradio_api/upload", files=files).json()
        assert "/" not in name
        (kept,) = served.studio.settings.cache.glob(f"uploads-*/{name}")
        meta = {"meta": {"_type": "gradio.FileData"}}
        for path in (str(picture), "/etc/hostname", name, str(kept), f"{served.address}/guest/guest.css", "file:///x"):
            for more in ({}, meta, {**meta, "url": path}, {**meta, "is_stream": True}):
                answer = call(one, IMAGE, [{"path": path, **more}, "a red ball"])
                assert not answer["success"]
                assert "is no file that you uploaded" in answer["output"]["error"]
            answer = call(one, TEXT, [{"path": path, **meta}])
            assert "'prompt' is a dict" in answer["output"]["error"]
        assert "is no file" in call(one, IMAGE, [{"path": "x"}, "a red ball"])["output"]["error"]
        assert "send a file" in call(one, IMAGE, ["/etc/hostname", "a red ball"])["output"]["error"]
    assert served.studio.jobs.recent() == []


def test_sessions_are_their_keys_alone(served: Served) -> None:
    with guest(served, served.key(Role.MAKE)) as one, guest(served, served.key(Role.MAKE)) as two:
        one.post(JOIN, json={"data": ["video_0"], "fn_index": STATUS, "session_hash": "s"}).raise_for_status()
        assert two.get(DATA, params={"session_hash": "s"}).status_code == 404
        assert two.get(DATA).status_code == 400


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"data": [], "fn_index": 3}, "There is no endpoint of this number"),
        ({"data": [], "fn_index": True}, "There is no endpoint of this number"),
        ({"data": "x", "fn_index": 0}, "no list of at most"),
        ({"data": ["x", "x"], "fn_index": STATUS}, "no list of at most 1 arguments"),
        ({"data": [["x"]], "fn_index": 0}, "An argument is a list"),
        ({"data": ["x" * 30_000], "fn_index": 0}, "shorten it"),
        ({"data": [], "fn_index": 0, "session_hash": "x" * 65}, "session_hash"),
    ],
)
def test_a_call_that_cannot_be_is_one_sentence(served: Served, body: dict[str, Any], sentence: str) -> None:
    with guest(served, served.key(Role.MAKE)) as http:
        answer = http.post(JOIN, json={"session_hash": "s", **body})
        assert answer.status_code == 400
        assert sentence in answer.json()["error"]["message"]
        assert http.post("/gradio_api/upload", files={"other": b"x"}).status_code == 400
