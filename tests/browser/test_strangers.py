"""The running app, asked as strangers ask it: by other hosts, from other pages, through a tunnel."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.responses import PlainTextResponse

from tests.browser.support.visitor import Visitor, new_profile
from tests.support.servers.asgi import serving
from wan_pipeline.access.guard import Guard
from wan_pipeline.access.http import COOKIE, Rules
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.limits import Limits
from wan_pipeline.access.password import Password
from wan_pipeline.access.roles import Role
from wan_pipeline.storage.database import Database
from wan_pipeline.ui.common.templates import Templates

TUNNEL = "abc.gradio.live"
ROUTES = (
    *("/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/startup-events"),
    *("/gradio_api/heartbeat/x", "/gradio_api/queue/data?session_hash=x", "/static/img/logo.svg", "/nothing"),
)
PROGRAMS = ("/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/gradio_api/queue/join")
"""By which a guest's program finds and calls the named endpoints."""
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
def test_the_owners_key_lets_in_by_a_link(address: str, workspace: Path) -> None:
    keys = Keys(Database.create(workspace / "studio.sqlite3"))
    secret, key = keys.create(Role.OWNER)
    response, _ = ask(address, f"/?key={secret}", host=TUNNEL)
    assert (response.status, response.headers["Location"]) == (303, "./")
    response, content = ask(address, "/config", host=TUNNEL, cookie=f"{COOKIE}={secret}")
    assert response.status == 200
    assert b"Wan Studio" in content
    keys.revoke(key.id)
    assert ask(address, "/config", host=TUNNEL, cookie=f"{COOKIE}={secret}")[0].status == 401


@pytest.mark.browser
@pytest.mark.parametrize("role", [None, Role.VIEW, Role.MAKE, Role.OWNER])
def test_a_guests_key_opens_no_route_of_the_owners_page(address: str, workspace: Path, role: Role | None) -> None:
    """All that Gradio serves, by the paths that its server itself names, and the endpoints of the page.

    Nobody is let in without a key. The owner's reaches every endpoint, which then cannot read the body.
    """
    keys = Keys(Database.create(workspace / "studio.sqlite3"))
    config = json.loads(ask(address, "/config")[1])
    names = sorted({str(dependency["api_name"] or dependency["id"]) for dependency in config["dependencies"]})
    assert len(config["dependencies"]) > 50
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": "x"}).encode()
    asked = [("GET", path) for path in ROUTES[1:]] + [("POST", path) for path in CHANGES]
    if role is Role.OWNER:
        asked, body = [], b"[]"  # streams have no end, and a body that can be read would change something
    asked += [
        ("POST", f"/gradio_api/{kind}/{name}")
        for name in names
        for kind in ("run", "call", "api")[: 1 + 2 * (name == names[0])]
    ]
    for number, (method, path) in enumerate(asked):
        if number % 50 == 0:  # a key may ask so often a second
            key = {"authorization": f"Bearer {keys.create(role)[0]}"} if role else {}
        while True:
            response, content = ask(address, path, method, body, host=TUNNEL, **key)
            if response.status != 429:  # all guests together may ask so often
                break
            time.sleep(int(response.headers["Retry-After"]))
        if role is None or role is Role.OWNER:
            assert response.status == (422 if role else 401), (method, path)
        elif path not in (*PROGRAMS, "/gradio_api/upload"):
            assert response.status == 404, (method, path)
        elif role is Role.VIEW:
            assert response.status == 403, (method, path)
        else:
            assert response.status in (200, 400, 404), (method, path)
            assert path != "/config" or len(json.loads(content)["dependencies"]) == 3, "the endpoints, and no page"


@pytest.mark.soak
@pytest.mark.browser
def test_two_browsers_with_two_keys(browser: Browser, address: str, workspace: Path) -> None:
    """The owner makes the links on the page; each guest makes a clip, sees it alone, and is out when it is revoked."""
    with Visitor(new_profile(browser), address) as owner:
        page = owner.open()
        page.get_by_role("button", name="Share", exact=True).click()
        links = [make_link(page) for _ in range(2)]
        guests = [new_profile(browser).new_page() for _ in links]
        for guest, link, colour in zip(guests, links, ("red", "blue"), strict=True):
            guest.goto(address.rstrip("/").replace("127.0.0.1", TUNNEL) + link)
            expect(guest.locator("#estimate")).to_contain_text("About")
            assert "key=" not in guest.url
            guest.get_by_label("What should be seen?").fill(f"a {colour} ball")
            guest.get_by_role("button", name="Generate").click()
            expect(guest.locator(".clip.completed")).to_have_count(1)
            expect(guest.locator(".clip")).to_contain_text(f"a {colour} ball")
        guests[0].locator(".clip .picture").click()
        guests[0].get_by_label("Your comment", exact=True).fill("The second take, please.")
        guests[0].get_by_role("button", name="Send").click()
        expect(guests[0].locator("#comments")).to_contain_text("The second take")
        revoke = page.locator("#share-keys").get_by_role("button", name="Revoke")
        count = revoke.count()
        revoke.first.click()
        expect(revoke).to_have_count(count - 1)
        expect(guests[1].get_by_text("This studio is private")).to_be_visible()  # the newest key is on top
        expect(guests[0].locator(".clip.completed")).to_have_count(1)
        for guest in guests:
            guest.context.close()


def make_link(page: Page) -> str:
    page.get_by_label("May").select_option("make")
    page.get_by_role("dialog").get_by_label("Project").fill("film")
    link = page.get_by_label("The link")
    before = link.input_value() if link.is_visible() else ""
    page.get_by_role("button", name="Make a link").click()
    expect(link).not_to_have_value(before)
    return link.input_value()


@pytest.mark.browser
def test_the_owners_own_page_is_not_framed_and_describes_itself_to_nobody(address: str) -> None:
    response, _ = ask(address, "/")
    assert response.status == 200
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert ask(address, path)[0].status == 404


@pytest.mark.browser
def test_the_password_is_typed_on_the_page(browser: Browser, tmp_path: Path) -> None:
    """A browser says nothing of the page that a form is on if the page forbids it, and the guard asks for that."""
    templates = Templates()

    def refused(status: int, sentence: str, asks_password: bool) -> str:
        return templates.render("common/refused.html", status=status, sentence=sentence, asks_password=asks_password)

    keys = Keys(Database.create(tmp_path / "studio.sqlite3"))
    guard = Guard(PlainTextResponse("inside"), keys, Rules(), Limits(), refused, Password("a long one"))
    with serving(guard) as address:
        page = new_profile(browser).new_page()
        page.goto(address.replace("127.0.0.1", TUNNEL))
        page.get_by_label("Password").fill("a wrong one")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("That is not the password")).to_be_visible()
        page.get_by_label("Password").fill("a long one")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("inside")).to_be_visible()
        page.context.close()


@pytest.mark.browser
def test_who_guesses_keys_has_to_wait(address: str, workspace: Path) -> None:
    """The last of this file: a key that was revoked counts as a guess too."""
    guesses = [
        ask(address, "/v1/videos", host=TUNNEL, authorization=f"Bearer {number:032x}")[0] for number in range(12)
    ]
    assert guesses[0].status == 401 and guesses[-1].status == 429
    assert int(guesses[-1].headers["Retry-After"]) > 0
    secret, key = Keys(Database(workspace / "studio.sqlite3")).create(Role.VIEW)
    assert ask(address, "/v1/videos", host=TUNNEL, authorization=f"Bearer {secret}")[0].status == 200
    Keys(Database(workspace / "studio.sqlite3")).revoke(key.id)
