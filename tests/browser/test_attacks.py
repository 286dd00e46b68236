"""What was possible once: each attack, replayed against the running app, changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.test_strangers import TUNNEL, ask
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.roles import Role
from wan_pipeline.storage.database import Database
from wan_pipeline.ui.create.fields.uploads import REFUSED

TABLES = ("jobs", "keys", "clips", "comments", "lora_notes", "trainings")
ATTACKS = {
    "rebinding": {"Host": "rebound.example.com:7860"},
    "tunnel": {"Host": TUNNEL},
    "other site": {"Origin": "https://evil.example.com"},
    "sandboxed frame": {"Origin": "null"},
    "form of another site": {"Sec-Fetch-Site": "cross-site"},
    "proxy": {"X-Forwarded-For": "203.0.113.9"},
}


@pytest.fixture(scope="module")
def guest(workspace: Path, address: str) -> Iterator[str]:
    """The key of a guest, in a workspace with something to lose: a clip that waits, and a note."""
    database, queue = Database(workspace / "studio.sqlite3"), OpenQueue(workspace / "studio.sqlite3")
    queue.editor.pause_queue()
    job_id = queue.editor.submit(make_request())
    secret, key = Keys(database).create(Role.MAKE)
    with database.transaction() as connection:
        connection.execute("INSERT INTO lora_notes (sha256, note) VALUES ('attack', 'mine')")
        connection.execute("INSERT INTO comments (clip_id, key_id, at, text) VALUES ('attack', '', '2026', 'mine')")
    yield secret
    with database.transaction() as connection:
        connection.execute("DELETE FROM lora_notes WHERE sha256 = 'attack'")
        connection.execute("DELETE FROM comments WHERE clip_id = 'attack'")
    Keys(database).revoke(key.id)
    queue.editor.cancel(job_id)
    queue.editor.clear_finished()
    queue.editor.resume_queue()


def snapshot(workspace: Path, but: str = "") -> dict[str, list[str]]:
    """All that is known of jobs, keys, clips, comments and notes, the state of the queue, and the files."""
    with closing(sqlite3.connect(workspace / "studio.sqlite3")) as database:
        lines = list(database.iterdump())
    found = {table: [line for line in lines if line.startswith(f'INSERT INTO "{table}"')] for table in TABLES}
    assert all(found[table] for table in ("jobs", "keys", "comments", "lora_notes"))
    found["queue"] = [str(OpenQueue(workspace / "studio.sqlite3").jobs.queue_state().paused)]
    found["files"] = sorted(path.name for ending in ("*.png", "*.mp4") for path in workspace.rglob(ending))
    found.pop(but, None)
    return found


@pytest.mark.soak
@pytest.mark.browser
def test_no_box_opens_a_file_of_the_disk(address: str, tmp_path: Path) -> None:
    """Not even for a program at this computer: a page elsewhere might have made the request."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64), "red").save(secret)
    config = json.loads(ask(address, "/config")[1])
    kinds = {part["id"]: part["type"] for part in config["components"]}
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    asked = 0
    for dependency in config["dependencies"]:
        boxes = [kinds[part] for part in dependency["inputs"]]
        if not {"image", "video", "file", "uploadbutton"} & set(boxes) or not dependency["backend_fn"]:
            continue
        for kind in ("image", "video", "file", "uploadbutton"):
            if kind not in boxes:
                continue
            file = {"path": str(secret)} | ({} if kind == "image" else {"meta": {"_type": "gradio.FileData"}})
            data = [file if kinds[part] == kind else values[part] for part in dependency["inputs"]]
            body = json.dumps({"data": data, "fn_index": dependency["id"], "session_hash": "attack"}).encode()
            response, content = ask(address, "/gradio_api/run/predict", "POST", body)
            assert response.status in (422, 500), (dependency["api_name"], content[:300])
            assert kind != "image" or REFUSED.encode() in content, content[:300]
            asked += 1
    assert asked >= 3


@pytest.mark.browser
def test_no_description_of_the_server_is_given(address: str) -> None:
    for path in ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"):
        response, content = ask(address, path)
        assert response.status == 404 or b"openapi" not in content.lower(), path


@pytest.mark.browser
@pytest.mark.parametrize("attack", ATTACKS)
def test_nobody_elsewhere_changes_or_reads_anything(address: str, workspace: Path, guest: str, attack: str) -> None:
    """Uploads by a form, the queue, the bin, and what Gradio calls private: by another host, site or proxy.

    Together the attacks ask for every function of the page, by its number.
    """
    headers, before = ATTACKS[attack], snapshot(workspace)
    functions = json.loads(ask(address, "/config")[1])["dependencies"]
    assert len(functions) > 50
    joins = [
        json.dumps({"data": [None] * len(each["inputs"]), "fn_index": each["id"], "session_hash": "attack"}).encode()
        for each in functions[list(ATTACKS).index(attack) :: len(ATTACKS)]
    ]
    form = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx\r\n--b--\r\n',
        {"Content-Type": "multipart/form-data; boundary=b"},
    )
    for path, body, kind in (
        ("/gradio_api/upload", *form),
        *(("/gradio_api/queue/join", join, {}) for join in joins),
        *(("/gradio_api/run/predict", join, {}) for join in joins),
        ("/gradio_api/call/predict", joins[0], {}),
        ("/v1/videos", b'{"prompt": "x"}', {}),
        ("/v1/keys", b"{}", {}),
    ):
        response, content = ask(address, path, "POST", body, **headers, **kind)
        assert response.status in (401, 403), (path, response.status)
        assert response.headers.get("Access-Control-Allow-Origin") is None
        assert b"traceback" not in content.lower()
    assert snapshot(workspace) == before


@pytest.mark.browser
def test_a_body_that_is_too_large_is_refused_before_it_is_read(address: str, workspace: Path, guest: str) -> None:
    before = snapshot(workspace, but="keys")  # which say when they were last used
    for headers in ({}, {"Host": TUNNEL, "Authorization": f"Bearer {guest}"}):
        for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/v1/videos"):
            response, _ = ask(address, path, "POST", Content_Length=str(2**40), **headers)
            assert response.status == 413, path
    assert snapshot(workspace, but="keys") == before


@pytest.mark.browser
def test_no_other_site_frames_the_page(address: str) -> None:
    response, _ = ask(address, "/")
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.browser
def test_gradios_own_switches_open_nothing(address: str) -> None:
    """The app was started with them: see WIDENED."""
    response, content = ask(address, f"/gradio_api/file={Path(__file__).resolve()}")
    assert response.status in (403, 404), content[:200]
    config = json.loads(ask(address, "/config")[1])
    assert not config.get("vibe_mode")
    assert not config.get("mcp_server")
    assert "elsewhere" not in config["root"]
