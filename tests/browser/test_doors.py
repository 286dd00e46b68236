"""The running app, asked as strangers ask it: by other hosts, from other pages, through a tunnel."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from wan_pipeline.access.http import COOKIE
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.roles import Role
from wan_pipeline.storage.database import Database

TUNNEL = "abc.gradio.live"
ROUTES = (
    *("/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/startup-events"),
    *("/gradio_api/heartbeat/x", "/gradio_api/queue/data?session_hash=x", "/static/img/logo.svg", "/nothing"),
)
CHANGES = ("/gradio_api/run/predict", "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/call/x", "/run/x")


def ask(address: str, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    connection.request(method, path, body or None, {"Content-Type": "application/json", **named})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


@pytest.mark.browser
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "192.168.1.5:7860"}, 403),
        ({"host": TUNNEL}, 401),
        ({"host": "someone-studio.hf.space"}, 401),
        ({"x_forwarded_for": "127.0.0.1"}, 401),
        ({"origin": "https://evil.example"}, 401),
    ],
)
def test_strangers_see_nothing_of_any_route(address: str, headers: dict[str, str], status: int) -> None:
    for route in ROUTES:
        response, content = ask(address, route, **headers)
        assert response.status == status, route
        assert len(content) < 300, route
        assert response.headers["Access-Control-Allow-Origin"] is None


@pytest.mark.browser
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": TUNNEL, "origin": f"https://{TUNNEL}"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"x_forwarded_host": "127.0.0.1"},
    ],
)
def test_strangers_change_nothing(address: str, headers: dict[str, str]) -> None:
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": "x"}).encode()
    for route in CHANGES:
        response, _ = ask(address, route, "POST", body, **headers)
        assert response.status in (401, 403), route


@pytest.mark.browser
def test_the_owners_key_lets_in_by_a_link_and_a_guests_does_not_yet(address: str, workspace: Path) -> None:
    keys = Keys(Database(workspace / "studio.sqlite3"))
    secret, key = keys.create(Role.OWNER)
    response, _ = ask(address, f"/?key={secret}", host=TUNNEL)
    assert (response.status, response.headers["Location"]) == (303, "./")
    response, content = ask(address, "/config", host=TUNNEL, cookie=f"{COOKIE}={secret}")
    assert response.status == 200
    assert b"Wan Studio" in content
    keys.revoke(key.id)
    assert ask(address, "/config", host=TUNNEL, cookie=f"{COOKIE}={secret}")[0].status == 401
    guest, _ = keys.create(Role.MAKE)
    assert ask(address, "/config", host=TUNNEL, authorization=f"Bearer {guest}")[0].status == 403


@pytest.mark.browser
def test_the_owners_own_page_is_not_framed_and_describes_itself_to_nobody(address: str) -> None:
    response, _ = ask(address, "/")
    assert response.status == 200
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert ask(address, path)[0].status == 404
