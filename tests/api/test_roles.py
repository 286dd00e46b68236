"""Who may ask what by HTTP: every route of the server, with each role and with none."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from tests.api.conftest import OWNERS_PAGE, Served
from tests.support.studios import QUICK, wait_for
from wan_pipeline.access.callers import Caller
from wan_pipeline.access.roles import ALLOWED, Action, NotAllowed, Role
from wan_pipeline.api.app import shared_app
from wan_pipeline.api.routing import GUEST_ROUTES
from wan_pipeline.caller_studio import CallerStudio, NotFound
from wan_pipeline.clips.gallery import Clip
from wan_pipeline.clips.gallery.comments import MAX_COMMENTS
from wan_pipeline.errors import UserError
from wan_pipeline.settings import Settings
from wan_pipeline.ui.common.templates import Templates

TUNNEL = {"host": "abc.gradio.live"}
PICTURE = "/gradio_api/file=/etc/hostname"
OWNERS_ROUTES = (
    PICTURE,
    "/gradio_api/file=clips/a.latents",
    "/gradio_api/run/predict",
    "/gradio_api/run/text_to_video",
    "/gradio_api/call/text_to_video",
    "/gradio_api/cancel",
    "/gradio_api/heartbeat/x",
    "/gradio_api/queue/status",
    "/gradio_api/startup-events",
    "/gradio_api/upload_progress",
    "/info",
    "/theme.css",
)


def client(served: Served, key: str = "", **headers: str) -> httpx.Client:
    bearer = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=served.address, headers={**bearer, **headers}, timeout=60, trust_env=False)


def test_every_route_is_in_the_table(served: Served) -> None:
    """A route of the shared app that no route names could not be reached by guests."""
    routes = shared_app(served.studio, Templates()).routes
    for route in routes:
        if route.path.startswith("/v1/keys"):  # type: ignore[attr-defined]
            continue  # the owner's
        path = route.path.replace("{video_id}", "x").replace("{name}", "x")  # type: ignore[attr-defined]
        for method in route.methods:  # type: ignore[attr-defined]
            assert [route for route in GUEST_ROUTES if method in route.methods and route.path.fullmatch(path)], (
                method,
                path,
            )
    assert {route.action for route in GUEST_ROUTES} <= ALLOWED[Role.MAKE]
    assert Action.OWN not in ALLOWED[Role.MAKE] | ALLOWED[Role.VIEW]


@pytest.mark.parametrize("role", [Role.VIEW, Role.MAKE, Role.OWNER, None])
def test_a_walk_over_all_routes(served: Served, role: Role | None) -> None:
    """Each route with each role: what the table refuses is 403 before anything is read, without a key all is 401."""
    with client(served, served.key(role) if role else "", **TUNNEL) as guest:
        for route in GUEST_ROUTES:
            path = route.path.pattern.replace("[^/]+", "x").replace("\\", "")
            for method in route.methods:
                answer = guest.request(method, path, json={})
                status = answer.status_code
                assert role is Role.OWNER or OWNERS_PAGE not in answer.text
                if role is None:
                    assert status == 401, (method, path)
                elif route.action in ALLOWED[role]:
                    assert status in (200, 400, 404, 406) or (method, path, status) == ("HEAD", path, 405), path
                else:
                    assert status == 403, (method, path)
        for path in OWNERS_ROUTES:
            for method in ("GET", "POST"):
                answer = guest.request(method, path)
                assert answer.status_code == {Role.OWNER: 200, None: 401}.get(role, 404), path
                assert (OWNERS_PAGE in answer.text) == (role is Role.OWNER), path
    with client(served) as owner:
        assert owner.get("/config").text == OWNERS_PAGE


def test_two_guests_see_nothing_of_each_other(served: Served) -> None:
    one, two = served.key(Role.MAKE, "film"), served.key(Role.MAKE, "film")
    small = {"prompt": "a secret plan", "size": "160x160", "num_frames": 5, "steps": 2, "seed": 1}
    with client(served, one, **TUNNEL) as first, client(served, two, **TUNNEL) as second:
        video = first.post("/v1/videos", json=small).json()
        path = f"/v1/videos/{video['id']}"
        wait_for(lambda: first.get(path).json()["status"] == "completed", "the clip")
        for method, more in (
            ("GET", ""),
            ("GET", "/content"),
            ("GET", "/comments"),
            ("GET", "/preview"),
            ("DELETE", ""),
        ):
            assert second.request(method, path + more).status_code == 404, more
        assert second.post(f"{path}/remix", json={"prompt": "x"}).status_code == 404
        assert second.get("/v1/videos").json()["data"] == []
        assert first.post(f"{path}/comments", json={"text": "mine"}).status_code == 204
        content = first.get(f"{path}/content")
        assert content.status_code == 200
        assert b"secret plan" not in content.content, "a guest's copy holds no receipt"
        assert first.get(f"{path}/content", headers={"range": "bytes=0-9"}).status_code == 206
    with client(served, served.key(Role.VIEW, "film"), **TUNNEL) as viewer:
        (seen,) = viewer.get("/v1/videos").json()["data"]
        assert seen["prompt"] is None, "other people's prompts are the owner's"
        assert viewer.get(f"{path}/comments").json()["data"] == []
        assert viewer.delete(path).status_code == 403
    with client(served, served.key(Role.VIEW, "another"), **TUNNEL) as stranger:
        assert stranger.get("/v1/videos").json()["data"] == []
        assert stranger.get(path).status_code == 404
    with client(served) as owner:
        (comment,) = owner.get(f"{path}/comments").json()["data"]
        assert (comment["text"], comment["author"][:5]) == ("mine", "Guest")


@pytest.mark.soak
def test_a_guest_bins_only_what_they_made(served: Served) -> None:
    job_id = served.studio.submit(QUICK, "film")
    wait_for(lambda: served.studio.jobs.existing(job_id).clip, "the owner's clip")
    with client(served, served.key(Role.MAKE, "film"), **TUNNEL) as guest:
        assert [video["id"] for video in guest.get("/v1/videos").json()["data"]] == [f"video_{job_id}"]
        assert guest.delete(f"/v1/videos/video_{job_id}").status_code == 403
        assert guest.get(f"/v1/videos/video_{job_id}").json()["prompt"] is None
    clip: Clip = served.studio.gallery.clip(job_id)
    assert not clip.is_binned


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": "1920x1088"}, "out of range"),
        ({"steps": 51}, "51 steps"),
        ({"image": "/etc/hostname"}, "is a file: send it as an upload"),
        ({"input_reference": "file:///etc/hostname"}, "data: URL"),
        ({"input_reference": "https://example.com/a.png"}, "data: URL"),
        ({"project": "another"}, "leave the project out"),
        ({"size": "1x"}, "write it as 832x480"),
        ({"steps": [1]}, "is a list"),
        ({"nonsense": 1}, "There is no setting 'nonsense'"),
        ({"seconds": "1e999"}, "no length"),
        ({"seed": "\ud800"}, "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(served: Served, values: dict[str, object], sentence: str) -> None:
    with client(served, served.key(Role.MAKE), **TUNNEL) as guest:
        content = json.dumps({"prompt": "a red ball", **values})
        answer = guest.post("/v1/videos", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert sentence in answer.json()["error"]["message"]
        assert str(served.studio.settings.workspace) not in answer.text
    assert served.studio.jobs.recent() == []


def test_caps_of_a_key(served: Served) -> None:
    served.studio.queue.pause_queue()
    long = {"prompt": "a red ball", "size": "160x160", "num_frames": 5, "steps": 2}
    with client(served, served.key(Role.MAKE, max_clips=1), **TUNNEL) as guest:
        assert guest.post("/v1/videos", json=long).status_code == 200
        assert "was for 1 clip" in guest.post("/v1/videos", json=long).json()["error"]["message"]
    with client(served, served.key(Role.MAKE), **TUNNEL) as guest:
        statuses = [guest.post("/v1/videos", json=long).status_code for _ in range(6)]
        assert statuses == [200] * 4 + [400] * 2


def test_a_body_without_an_end_is_413(served: Served) -> None:
    def endless() -> object:
        for _ in range(40):
            yield b"x" * 2**20

    with client(served, served.key(Role.VIEW), **TUNNEL) as guest:
        answer = guest.post("/v1/videos/x/comments", content=endless(), headers={"content-type": "application/json"})
        assert answer.status_code == 413


def test_python_asks_the_same_table(served: Served) -> None:
    _, key = served.studio.keys.create(Role.VIEW)
    viewer = CallerStudio(served.studio, Caller(key.role, key))
    with pytest.raises(NotAllowed, match="may not make a clip"):
        viewer.generate(replace(QUICK))
    with pytest.raises(NotFound):
        viewer.clip("0" * 32)


def test_the_owner_makes_and_revokes_keys_and_nobody_else(served: Served) -> None:
    with client(served) as owner:
        made = owner.post("/v1/keys", json={"role": "make", "project": "film", "expires": "7d"}).json()
        assert made["url"] is None
        with client(served, made["key"], **TUNNEL) as guest:
            assert guest.get("/v1/videos").status_code == 200
            assert guest.get("/v1/keys").status_code == 404
            (listed,) = owner.get("/v1/keys").json()["data"]
            assert (listed["id"], listed["role"]) == (made["id"], "make")
            assert "key" not in listed
            assert owner.delete(f"/v1/keys/{made['id']}").status_code == 204
            assert guest.get("/v1/videos").status_code == 401
        assert owner.post("/v1/keys", json={"role": "owner"}).status_code == 400
        assert owner.post("/v1/keys", json={"role": "view", "expires": "soon"}).status_code == 400
        assert owner.post("/v1/keys", json={"role": "make", "project": "default"}).status_code == 400


def test_what_a_guest_cancelled_on_its_way_counts(served: Served) -> None:
    """A preview shows much of it: computing is not free."""
    endless = {"prompt": "a red ball", "size": "160x160", "num_frames": 49, "steps": 50}
    with client(served, served.key(Role.MAKE, max_clips=1), **TUNNEL) as guest:
        path = f"/v1/videos/{guest.post('/v1/videos', json=endless).json()['id']}"
        wait_for(lambda: guest.get(path).json()["status"] == "in_progress", "the clip's start")
        assert guest.delete(path).status_code == 200
        wait_for(lambda: guest.get(path).json()["status"] == "failed", "its end")
        assert "was for 1 clip" in guest.post("/v1/videos", json=endless).json()["error"]["message"]


def test_a_guest_learns_of_no_other_clip_or_lora(served: Served, settings: Settings) -> None:
    served.studio.queue.pause_queue()
    served.studio.submit(QUICK)
    (settings.loras / "clients_secret.safetensors").write_bytes(b"")
    with client(served, served.key(Role.MAKE), **TUNNEL) as guest:
        wait = guest.post("/v1/forecast", json={"prompt": "a ball"}).json()
        assert wait["queue_seconds"] == 60, "in minutes, from which nobody tells one clip"
        refused = guest.post("/v1/videos", json={"prompt": "a ball", "lora": "x"})
        assert refused.status_code == 400
        assert "secret" not in refused.text
        own = guest.post("/v1/videos", json={"prompt": "a ball"}).json()
        assert (own["status"], own["queue_position"]) == ("queued", None)


@pytest.mark.soak
def test_a_guest_leaves_room_for_the_comments_of_others(served: Served) -> None:
    job_id = served.studio.submit(QUICK, "film")
    wait_for(lambda: served.studio.jobs.existing(job_id).clip, "the clip")
    comments = served.studio.comments
    for _ in range(MAX_COMMENTS):
        comments.add(job_id, "again", "one")
    with pytest.raises(UserError, match="You have written"):
        comments.add(job_id, "again", "one")
    comments.add(job_id, "mine", "")


def test_a_guest_sends_pictures_and_no_videos(served: Served) -> None:
    with client(served, served.key(Role.MAKE), **TUNNEL) as guest:
        for files, sentence in (
            ({"input_reference": ("a.mp4", b"x")}, "Guests send pictures"),
            ({"control_video": ("a.png", b"x")}, "are the owner's"),
        ):
            refused = guest.post("/v1/videos", data={"prompt": "a ball"}, files=files)
            assert refused.status_code == 400
            assert sentence in refused.json()["error"]["message"]
        refused = guest.post("/gradio_api/upload", files={"files": ("a.exe", b"x")})
        assert refused.status_code == 400
    assert [path for path in served.studio.settings.workspace.rglob("*.*") if path.suffix in (".mp4", ".exe")] == []


def test_the_owner_makes_a_key_with_a_cap_and_is_told_of_a_word_that_is_none(served: Served) -> None:
    with client(served) as owner:
        made = owner.post("/v1/keys", json={"role": "make", "max_clips": 5}).json()
        assert made["max_clips"] == 5
        assert owner.post("/v1/keys", json={"role": "make", "max_clips": ""}).json()["max_clips"] is None
        for wrong in ({"clips": 5}, {"max_clips": 0}, {"max_clips": "x"}):
            assert owner.post("/v1/keys", json={"role": "make", **wrong}).status_code == 400


def test_what_is_not_there_is_json_too(served: Served) -> None:
    with client(served) as owner:
        for method, path, status in (("GET", "/v1/nothing", 404), ("PUT", "/v1/videos", 405)):
            answer = owner.request(method, path)
            assert (answer.status_code, set(answer.json()["error"])) == (status, {"message", "type", "param", "code"})
