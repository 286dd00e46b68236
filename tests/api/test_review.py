"""The review by HTTP: who sees which takes, comments at frames, verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import Served
from tests.api.test_roles import TUNNEL, client
from tests.support.films import adopt_take, make_shots
from tests.support.requests import make_request
from wan_pipeline.access.roles import Role
from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.shot import ShotStatus
from wan_pipeline.projects.shots.store import take_of

SMALL = {"width": 160, "height": 160, "num_frames": 9, "fps": 8}


@pytest.fixture
def film(served: Served) -> Served:
    """Three shots, of which the third and the first have picked takes."""
    studio = served.studio
    studio.queue.pause_queue()
    shots = make_shots(studio, "Film", 3)
    for shot in (shots[2], shots[0], shots[1]):
        adopt_take(studio, shot, make_request(**SMALL, seed=shot.number, prompt="a secret plan"))
    for shot in (shots[2], shots[0]):
        studio.shots.pick([take_of(studio.shots.of_number(shot.number), 1)])
    return served


def test_a_view_key_sees_picked_takes_in_the_order_of_the_shots(film: Served) -> None:
    with client(film, film.key(Role.VIEW, "Film"), **TUNNEL) as guest:
        data = guest.get("/v1/review").json()["data"]
        assert [(each["address"], each["take"], each["status"], each["frames"]) for each in data] == [
            ("1/010", 1, "picked", 9),
            ("1/030", 1, "picked", 9),
        ]
        assert "secret" not in guest.get("/v1/review").text
    with client(film, film.key(Role.VIEW, "Another"), **TUNNEL) as stranger:
        assert stranger.get("/v1/review").json()["data"] == []
        assert stranger.post(f"/v1/videos/{data[0]['id']}/verdict", json={"verdict": "approved"}).status_code == 404
    with client(film, "", **TUNNEL) as nobody:
        assert nobody.get("/v1/review").status_code == 401
    with client(film) as owner:
        assert len(owner.get("/v1/review").json()["data"]) == 2


def test_comments_at_frames_and_verdicts_reach_the_owner(film: Served, tmp_path: Path) -> None:
    studio = film.studio
    with client(film, film.key(Role.VIEW, "Film"), **TUNNEL) as guest:
        first, other = guest.get("/v1/review").json()["data"]
        path = f"/v1/videos/{first['id']}"
        said = {"text": "=The ball is too slow", "frame": 4, "mark": [[0.1, 0.2], [0.5, 0.5]]}
        assert guest.post(f"{path}/comments", json=said).status_code == 204
        (comment,) = guest.get(f"{path}/comments").json()["data"]
        assert (comment["frame"], comment["mark"], comment["done"]) == (4, said["mark"], False)
        assert guest.post(f"{path}/verdict", json={"verdict": "changes"}).status_code == 204
        assert studio.shots.existing("010").status is ShotStatus.PICKED
        assert guest.post(f"{path}/verdict", json={"verdict": "approved"}).status_code == 204
        for bad in (
            {"text": "x", "frame": 9},
            {"text": "x", "frame": "1"},
            {"text": "x", "frame": 0, "mark": [[2, 0]]},
        ):
            assert guest.post(f"{path}/comments", json=bad).status_code == 400, bad
        assert guest.post(f"{path}/verdict", json={"verdict": "nice"}).status_code == 400
        unpicked = studio.shots.existing("020").takes[0].id
        assert guest.post(f"/v1/videos/video_{unpicked}/verdict", json={"verdict": "approved"}).status_code == 400
    assert studio.shots.existing("010").status is ShotStatus.APPROVED
    (written,) = studio.comments.of_clip(studio.shots.existing("010").takes[0].id)
    studio.comments.mark_done(written.id, True)
    assert studio.reviews.export("Film", tmp_path / "review.csv") == 2
    lines = (tmp_path / "review.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("scene,shot,take,status,verdict,frame,author")
    assert lines[1].startswith("1,010,1,approved,approved,4,Guest ") and ",True,'=The ball is too slow," in lines[1]
    assert lines[2].startswith("1,030,1,picked,,,,,,,")
    studio.reviews.export("Film", tmp_path / "review.pdf")
    assert (tmp_path / "review.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(UserError, match=r"ends in \.pdf or \.csv"):
        studio.reviews.export("Film", tmp_path / "review.doc")
    with pytest.raises(UserError, match="has no picked takes to review"):
        studio.reviews.export("Nothing", tmp_path / "review.pdf")
    assert other["verdict"] is None
