"""Visitors of a Space: a key of their own each, which shows them their own clips and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx

from tests.api.space.conftest import HOST, ServedSpace, key_of
from tests.support.studios import ENDLESS, QUICK, wait_for
from wan_pipeline.access.http import COOKIE
from wan_pipeline.access.roles import Role

SMALL = {"prompt": "a red ball", "size": "160x160", "num_frames": 5, "steps": 2, "seed": 1}
PAGE = {"accept": "text/html"}


@contextmanager
def come(space: ServedSpace) -> Iterator[httpx.Client]:
    """A browser that has opened the page."""
    with space.visitor() as browser:
        browser.headers["cookie"] = f"{COOKIE}={key_of(browser.get('/', headers=PAGE))}"
        yield browser


def test_who_opens_the_page_gets_a_key_of_their_own(space: ServedSpace) -> None:
    with space.visitor() as browser:
        answer = browser.get("/", headers=PAGE)
    assert answer.status_code == 200
    assert "Generate" in answer.text
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=None", "Secure", "Partitioned", "Max-Age=86400"} <= set(cookie.split("; "))
    assert "frame-ancestors 'self' https://huggingface.co" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    key = space.studio.keys.find(key_of(answer))
    assert key is not None
    assert (key.role, key.project, key.is_visitor) == (Role.MAKE, "", True)
    assert key.expires_at is not None
    assert timedelta(hours=23) < key.expires_at - datetime.now(UTC) <= timedelta(days=1)
    assert space.studio.keys.list() == [], "the owner's list is for keys that the owner made"


def test_the_key_is_kept_and_no_second_one_is_made(space: ServedSpace) -> None:
    with come(space) as browser:
        assert "set-cookie" not in browser.get("/", headers=PAGE).headers


def test_only_the_page_itself_gives_a_key(space: ServedSpace) -> None:
    with space.visitor() as stranger:
        for method, path in (("GET", "/v1/videos"), ("POST", "/v1/videos"), ("POST", "/"), ("GET", "/config")):
            answer = stranger.request(method, path)
            assert (answer.status_code, "set-cookie" in answer.headers) == (401, False), path
        assert stranger.get("/", headers={"host": "evil.example"}).status_code == 403


def test_nobody_sits_at_the_computer_of_a_space(space: ServedSpace) -> None:
    """Not even who comes from inside the container by a name of this computer. Gradio asks itself to start."""
    with httpx.Client(base_url=space.address, trust_env=False) as inside:
        assert inside.get("/config").status_code == 401
        assert inside.get("/gradio_api/startup-events").status_code == 200
    with space.visitor() as visitor:
        assert visitor.get("/gradio_api/startup-events").status_code == 401


def test_two_visitors_and_the_owner_see_what_they_may(space: ServedSpace) -> None:
    owners = space.studio.submit(QUICK)
    with come(space) as one, come(space) as two:
        video = one.post("/v1/videos", json=SMALL).json()
        wait_for(lambda: one.get(f"/v1/videos/{video['id']}").json()["status"] == "completed", "the clip")
        wait_for(lambda: space.studio.jobs.existing(owners).clip, "the owner's clip")
        assert [seen["id"] for seen in one.get("/v1/videos").json()["data"]] == [video["id"]]
        assert two.get("/v1/videos").json()["data"] == []
        for other in (video["id"], f"video_{owners}"):
            assert two.get(f"/v1/videos/{other}").status_code == 404
            assert two.get(f"/v1/videos/{other}/content").status_code == 404
        assert one.get(f"/v1/videos/video_{owners}").status_code == 404
        assert len(one.get("/config").json()["dependencies"]) == 3  # the endpoints for programs, and no page
        assert one.get("/gradio_api/file=/etc/hostname").status_code == 404


def test_a_visitor_has_smaller_caps_and_a_queue_that_is_full_takes_no_more(space: ServedSpace) -> None:
    space.studio.queue.pause_queue()
    with come(space) as visitor:
        refused = visitor.post("/v1/videos", json={**SMALL, "num_frames": 49, "fps": 8})
        assert refused.status_code == 400
        assert "choose 5.5 s" in refused.json()["error"]["message"]
        made = [visitor.post("/v1/videos", json=SMALL) for _ in range(3)]
        assert [answer.status_code for answer in made] == [200, 200, 400]
        assert [answer.json()["queue_position"] for answer in made[:2]] == [1, 2]
    for _ in range(18):
        space.studio.submit(ENDLESS)
    with come(space) as visitor:
        refused = visitor.post("/v1/videos", json=SMALL)
        assert "The queue is full" in refused.json()["error"]["message"]


def test_the_forecast_says_how_long_the_queue_is(space: ServedSpace) -> None:
    space.studio.queue.pause_queue()
    space.studio.submit(ENDLESS)
    with come(space) as visitor:
        forecast = visitor.post("/v1/forecast", json={"size": "160x160"}).json()
    assert forecast["queue_seconds"] > 0
    assert "after a wait of about" in forecast["text"]


def test_new_keys_are_limited_by_peer(space: ServedSpace) -> None:
    """By the last public address: what comes before it was written by the visitor."""
    with space.visitor() as flood:
        peers = [f"198.51.100.{number}, 8.8.8.8, 10.0.0.1" for number in range(25)]
        statuses = [flood.get("/", headers={**PAGE, "x-forwarded-for": peer}).status_code for peer in peers]
        assert statuses == [200] * 20 + [429] * 5
        assert flood.get("/", headers={**PAGE, "x-forwarded-for": "9.9.9.9"}).status_code == 200


def test_new_keys_are_limited_in_all(space: ServedSpace) -> None:
    space.strangers.visitors.in_all.burst = 3
    with space.visitor() as flood:
        statuses = [flood.get("/", headers={"x-forwarded-for": f"8.8.8.{n}"}).status_code for n in range(6)]
        assert statuses == [200] * 3 + [429] * 3


def test_the_hosts_of_a_space(space: ServedSpace) -> None:
    with space.visitor() as browser:
        assert browser.get("/", headers={"host": HOST}).status_code == 200
        assert browser.get("/", headers={"host": "studio.example"}).status_code == 403
