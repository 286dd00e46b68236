"""The guard before every route, as an ASGI server would call it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.asynchronous import run_async
from tests.support.servers.guarded import TUNNEL, Server, refused_page
from wan_pipeline.access import guard
from wan_pipeline.access.guard import Guard, Limits
from wan_pipeline.access.http import COOKIE, Rules
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.limits import Rate, WrongKeys
from wan_pipeline.access.password import Password
from wan_pipeline.access.roles import Role
from wan_pipeline.errors import UserError
from wan_pipeline.storage.database import Database


@pytest.fixture
def server(database: Path) -> Server:
    return Server(Keys(Database.create(database)))


def test_the_owner_at_this_computer_needs_no_key(server: Server) -> None:
    assert server.ask().status == 200
    assert server.callers[-1].role is Role.OWNER
    assert server.callers[-1].is_local


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5:7860", ""])
def test_foreign_hosts_are_refused_even_with_a_key(server: Server, host: str) -> None:
    secret, _ = server.keys.create(Role.OWNER)
    answer = server.ask(host=host, authorization=f"Bearer {secret}")
    assert answer.status == 403
    assert "--host-name" in answer.body
    assert server.callers == []


def test_a_named_host_is_answered_to_those_with_a_key(database: Path) -> None:
    server = Server(Keys(Database.create(database)), Rules(host_names=frozenset({"studio.lan"})))
    assert server.ask(host="studio.lan:7860").status == 401
    secret, _ = server.keys.create(Role.OWNER)
    assert server.ask(host="studio.lan:7860", authorization=f"Bearer {secret}").status == 200
    assert not server.callers[-1].is_local


def test_the_public_address_shows_one_page_with_401(server: Server) -> None:
    answer = server.ask(host=TUNNEL, accept="text/html")
    assert (answer.status, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "<p>401" in answer.body
    assert server.ask("/config", host=TUNNEL).status == 401
    assert server.callers == []


def test_an_invitation_becomes_a_cookie_and_leaves_the_address(server: Server) -> None:
    secret, key = server.keys.create(Role.MAKE)
    answer = server.ask(host=TUNNEL, query=f"room=gallery&key={secret}", accept="text/html")
    assert (answer.status, answer.headers["location"]) == (303, "./?room=gallery")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={secret};")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert server.ask(host=TUNNEL, cookie=f"a=b; {COOKIE}={secret}").status == 200
    assert (server.callers[-1].role, server.callers[-1].key.id) == (Role.MAKE, key.id)


def test_a_framed_page_has_a_partitioned_cookie_and_the_hub_as_ancestor(database: Path) -> None:
    rules = Rules(frame_ancestors=("https://huggingface.co",), framed=True)
    server = Server(Keys(Database.create(database)), rules)
    secret, _ = server.keys.create(Role.MAKE)
    answer = server.ask(host="me-studio.hf.space", query=f"key={secret}")
    assert "SameSite=None; Secure; Partitioned" in answer.headers["set-cookie"]
    answer = server.ask(host="me-studio.hf.space", cookie=f"{COOKIE}={secret}")
    assert "frame-ancestors https://huggingface.co" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers


def test_a_loopback_request_with_a_guests_key_is_that_guest(server: Server) -> None:
    secret, _ = server.keys.create(Role.VIEW)
    for headers in ({"authorization": f"Bearer {secret}"}, {"cookie": f"{COOKIE}={secret}"}):
        server.ask(**headers)
        assert (server.callers[-1].role, server.callers[-1].is_local) == (Role.VIEW, False)


def test_a_revoked_and_an_expired_key_end_at_once(server: Server) -> None:
    secret, key = server.keys.create(Role.MAKE)
    assert server.ask(host=TUNNEL, cookie=f"{COOKIE}={secret}").status == 200
    server.keys.revoke(key.id)
    assert server.ask(host=TUNNEL, cookie=f"{COOKIE}={secret}").status == 401
    old, _ = server.keys.create(Role.MAKE, expires=timedelta(seconds=-1))
    assert server.ask(host=TUNNEL, authorization=f"Bearer {old}").status == 401
    assert server.ask(cookie=f"{COOKIE}={secret}").status == 200, "the owner's browser may still hold it"
    assert server.callers[-1].role is Role.OWNER


def test_guessing_is_slowed_and_a_right_key_is_not(database: Path) -> None:
    slow = Limits(wrong_keys=WrongKeys(Rate(0.2, 3), Rate(2.0, 100)))
    server = Server(Keys(Database.create(database)), limits=slow)
    secret, _ = server.keys.create(Role.VIEW)
    statuses = [server.ask(host=TUNNEL, authorization=f"Bearer wrong{n}").status for n in range(6)]
    assert statuses == [401, 401, 401, 429, 429, 429]
    assert server.ask(host=TUNNEL, authorization=f"Bearer {secret}").status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:7860", "http://127.0.0.1:1"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_another_page_changes_nothing_through_the_owners_browser(server: Server, origin: str, method: str) -> None:
    assert server.ask(method=method, origin=origin).status == 403
    assert server.ask(origin=origin).status == 401, "nor reads as the owner"
    assert server.ask(kind="websocket", origin=origin).status == 1008
    assert server.callers == []


def test_a_form_of_another_page_without_an_origin_is_told_by_what_the_browser_says(server: Server) -> None:
    assert server.ask(method="POST", sec_fetch_site="cross-site").status == 403
    assert server.ask(method="POST", sec_fetch_site="same-origin").status == 200
    assert server.ask(method="POST").status == 200, "programs send neither"


def test_a_guests_cookie_is_no_use_to_another_page(server: Server) -> None:
    secret, _ = server.keys.create(Role.MAKE)
    answer = server.ask(host=TUNNEL, method="POST", cookie=f"{COOKIE}={secret}", origin="https://evil.example")
    assert answer.status == 403
    assert server.ask(host=TUNNEL, method="POST", cookie=f"{COOKIE}={secret}", origin=f"https://{TUNNEL}").status == 200


def test_answers_bear_the_headers_and_reflect_no_origin(server: Server) -> None:
    for answer in (server.ask(), server.ask(host=TUNNEL)):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
    assert server.ask().headers["x-own"] == "1"


def test_bodies_are_bounded_whether_announced_or_not(database: Path) -> None:
    server = Server(Keys(Database.create(database)), Rules(max_body_bytes=2**20, max_upload_bytes=2 * 2**20))
    secret, _ = server.keys.create(Role.MAKE)
    guest = {"host": TUNNEL, "authorization": f"Bearer {secret}", "method": "POST"}
    assert server.ask(**guest, content_length=str(2**20 + 1)).status == 413
    assert server.ask(**guest, content_length="-1").status == 413
    assert server.ask(**guest, content_length="many").status == 413
    assert (
        server.ask(
            "/gradio_api/upload", **guest, content_type="multipart/form-data; boundary=x", content_length=str(2**20 + 1)
        ).status
        == 200
    )
    server.received = 0
    assert server.ask(**guest, body=[b"x" * 2**19] * 5).status == 413
    assert server.received <= 2**20


def test_guests_that_flood_are_slowed_and_the_owner_is_not(database: Path) -> None:
    server = Server(Keys(Database.create(database)), limits=Limits(guest=Rate(1.0, 5), guests_in_all=Rate(1.0, 8)))
    one, _ = server.keys.create(Role.VIEW)
    two, _ = server.keys.create(Role.VIEW)
    first = [server.ask(host=TUNNEL, authorization=f"Bearer {one}").status for _ in range(8)]
    assert first == [200] * 5 + [429] * 3
    second = [server.ask(host=TUNNEL, authorization=f"Bearer {two}") for _ in range(8)]
    assert [answer.status for answer in second].count(200) == 3, "the rate in all holds too, and no refusal cost of it"
    assert int(second[-1].headers["retry-after"]) >= 1
    assert [server.ask().status for _ in range(100)] == [200] * 100


def test_the_password_lets_the_owner_in_from_other_computers(database: Path) -> None:
    server = Server(
        Keys(Database.create(database)), Rules(host_names=frozenset({"studio.lan"})), password=Password("a long one")
    )
    lan = {"host": "studio.lan:7860", "peer": "192.168.1.9"}
    assert "password?" in server.ask(**lan, accept="text/html").body
    form = {"path": "/login", "method": "POST", "accept": "text/html"}
    assert server.ask(**lan, **form, body=[b"password=wrong"]).status == 401
    assert server.ask(**lan, **form, body=[b"password=a+long+one"], origin="http://evil.example").status == 403
    entered = server.ask(**lan, **form, body=[b"password=a+long+one"], origin="http://studio.lan:7860")
    assert (entered.status, entered.headers["location"]) == (303, "./")
    cookie = entered.headers["set-cookie"].partition(";")[0]
    assert server.ask(**lan, cookie=cookie).status == 200
    assert server.callers[-1].role is Role.OWNER
    tries = [server.ask(**lan, **form, body=[b"password=guess"]).status for _ in range(20)]
    assert 429 in tries, "guessing is slow"


def test_a_password_that_is_easily_guessed_is_refused() -> None:
    with pytest.raises(UserError, match="at least 8"):
        Password("short")


def test_a_stream_ends_when_its_key_is_revoked(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "STREAM_CHECK_SECONDS", 0.0)
    keys = Keys(Database.create(database))
    secret, key = keys.create(Role.VIEW)
    sent: list[Any] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        keys.revoke(key.id)
        await send({"type": "http.response.body", "body": b"more", "more_body": True})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    headers = [(b"host", TUNNEL.encode()), (b"authorization", f"Bearer {secret}".encode())]
    scope = {"type": "http", "path": "/", "query_string": b"", "headers": headers, "client": ("1.2.3.4", 5)}
    app = Guard(stream, keys, Rules(), Limits(), refused_page)
    with pytest.raises(ConnectionAbortedError):
        run_async(app({**scope, "method": "GET", "scheme": "http"}, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_another_sites_link_makes_no_guest_of_the_owner(server: Server) -> None:
    """Whoever made it would see what the owner types."""
    secret, _ = server.keys.create(Role.MAKE)
    led = server.ask(query=f"key={secret}", sec_fetch_site="cross-site")
    assert (led.status, "set-cookie" in led.headers) == (401, False)
    assert server.ask(query=f"key={secret}", sec_fetch_site="none").status == 303, "the owner may be one"
    assert server.ask(query=f"key={secret}", host=TUNNEL, sec_fetch_site="cross-site").status == 303
    assert server.ask("/v1/videos", query=f"key={secret}", host=TUNNEL).status == 401, "only the page takes one"
    own, _ = server.keys.create(Role.OWNER)
    elsewhere = {"host": TUNNEL, "cookie": f"{COOKIE}={own}", "query": f"key={secret}"}
    led = server.ask(**elsewhere, sec_fetch_site="cross-site")
    assert (led.status, "set-cookie" in led.headers) == (200, False), "nor of one who came by a link"
    assert server.ask(**elsewhere, sec_fetch_site="none").status == 303


def test_a_password_ends_with_the_server(database: Path) -> None:
    keys, rules = Keys(Database.create(database)), Rules(host_names=frozenset({"studio.lan"}))
    lan = {"host": "studio.lan:7860", "peer": "192.168.1.9"}
    first = Server(keys, rules, password=Password("a long one"))
    entered = first.ask("/login", method="POST", body=[b"password=a+long+one"], **lan)
    cookie = entered.headers["set-cookie"].partition(";")[0]
    assert first.ask(**lan, cookie=cookie).status == 200
    assert Server(keys, rules, password=Password("another one")).ask(**lan, cookie=cookie).status == 401
    assert keys.list() == []


def test_requests_of_one_key_that_do_not_end_leave_room_for_others(database: Path) -> None:
    keys = Keys(Database.create(database))
    one, two = (keys.create(Role.MAKE)[0] for _ in range(2))
    statuses: list[int] = []

    async def run() -> None:
        ended = asyncio.Event()

        async def waits(scope: Any, receive: Any, send: Any) -> None:
            await ended.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        app = Guard(waits, keys, Rules(), Limits(max_open=3), refused_page)
        scopes = [scope_of(secret) for secret in (one, one, one, one, two)]
        tasks = [asyncio.create_task(app(scope, receive, send)) for scope in scopes[:4]]
        while not statuses:
            await asyncio.sleep(0)
        assert statuses == [429]
        tasks.append(asyncio.create_task(app(scopes[4], receive, send)))
        ended.set()
        await asyncio.gather(*tasks)
        await app(scopes[0], receive, send)

    run_async(run())
    assert statuses == [429, 200, 200, 200, 200, 200]


def scope_of(secret: str) -> dict[str, Any]:
    headers = [(b"host", TUNNEL.encode()), (b"authorization", f"Bearer {secret}".encode())]
    scope = {"type": "http", "path": "/", "query_string": b"", "headers": headers, "client": ("1.2.3.4", 5)}
    return {**scope, "method": "GET", "scheme": "http"}
