"""What was possible once: each attack, replayed against the running app, changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.test_strangers import ask
from wan_pipeline.ui.create.fields.uploads import REFUSED


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
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example.com:7860"},
        {"Host": "abc.gradio.live"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "203.0.113.9"},
    ],
    ids=["rebinding", "tunnel", "other site", "sandboxed frame", "form of another site", "proxy"],
)
def test_nobody_elsewhere_changes_or_reads_anything(address: str, workspace: Path, headers: dict[str, str]) -> None:
    """Uploads by a form, the queue, the bin, and what Gradio calls private: by another host, site or proxy."""
    before = sorted(path.name for path in workspace.rglob("*.png"))
    join = json.dumps({"data": [], "fn_index": 0, "session_hash": "attack"}).encode()
    form = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx\r\n--b--\r\n',
        {"Content-Type": "multipart/form-data; boundary=b"},
    )
    for path, body, kind in (
        ("/gradio_api/upload", *form),
        ("/gradio_api/queue/join", join, {}),
        ("/gradio_api/run/predict", join, {}),
        ("/gradio_api/call/predict", join, {}),
        ("/v1/videos", b'{"prompt": "x"}', {}),
        ("/v1/keys", b"{}", {}),
    ):
        response, content = ask(address, path, "POST", body, **headers, **kind)
        assert response.status in (401, 403), (path, response.status)
        assert response.headers.get("Access-Control-Allow-Origin") is None
        assert b"traceback" not in content.lower()
    assert sorted(path.name for path in workspace.rglob("*.png")) == before


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
