"""What visitors leave goes after a day, with all its files; what others made stays."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import enumerate as enumerate_threads

import pytest
from PIL import Image

from tests.support.studios import ENDLESS, QUICK, leftovers, wait_for
from wan_pipeline.access.roles import Role
from wan_pipeline.access.visitors import VISIT
from wan_pipeline.api.space.cleaner import Cleaner
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.projects.clips import JobOptions
from wan_pipeline.projects.shots.shot import NewShot
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.database import Database
from wan_pipeline.studio import Studio

AFTER = timedelta(hours=25)


def picture(folder: Path, colour: str) -> Path:
    path = folder / f"{colour}.png"
    Image.new("RGB", (160, 160), colour).save(path)
    return path


def made(studio: Studio, draft: Draft, made_by: str) -> str:
    job_id = studio.submit_for(draft, "", JobOptions(made_by=made_by), lambda request: None)
    wait_for(lambda: studio.jobs.existing(job_id).clip, "the clip")
    return job_id


@pytest.mark.soak
def test_a_visitors_clip_goes_with_all_its_files(space_studio: Studio, tmp_path: Path) -> None:
    studio = space_studio
    secret, visitor = studio.keys.create_for_visitor(VISIT)
    guest = studio.keys.create(Role.MAKE, expires=None)[1]
    red, blue = (replace(QUICK, image=picture(tmp_path, colour)) for colour in ("red", "blue"))
    theirs = made(studio, red, visitor.id)
    kept = [made(studio, blue, made_by) for made_by in (guest.id, "")]
    binned = made(studio, QUICK, visitor.id)
    studio.gallery.bin([binned])
    studio.comments.add(theirs, "mine", visitor.id)
    share = studio.derived.share_copy(studio.gallery.clip(theirs).path)
    JobLogs(studio.settings.job_logs).add(theirs, "a line")
    checkpoint = studio.settings.checkpoints / f"{theirs}.safetensors"
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.write_bytes(b"half")
    inputs = {path.name for path in studio.settings.inputs.iterdir()}
    assert len(inputs) == 2
    cleaner, now = Cleaner(studio), datetime.now(UTC)

    cleaner.clean(now + timedelta(hours=23))
    assert studio.gallery.clip(theirs).path.is_file(), "a day is not over"
    for path in (*studio.settings.inputs.iterdir(), share):
        os.utime(path, ((now - AFTER).timestamp(),) * 2)
    cleaner.clean(now + AFTER)
    for gone in (theirs, binned):
        with pytest.raises(UserError, match="There is no clip"):
            studio.gallery.clip(gone)
        assert studio.jobs.job(gone) is None
        assert studio.jobs.events(gone) == []
    assert leftovers(studio.settings) == sorted(["", *[".json", ".latents", ".mp4", ".webp"] * 2]), (
        "the bin's folder, two clips"
    )
    assert list((studio.settings.clips / "bin").iterdir()) == []
    assert not checkpoint.exists()
    assert not share.exists()
    assert not (studio.settings.job_logs / f"{theirs}.log").exists()
    assert studio.comments.of_clip(theirs) == []
    assert len(list(studio.settings.inputs.iterdir())) == 1, "the picture that others' clips were made from stays"
    assert all(studio.gallery.clip(clip_id).path.is_file() for clip_id in kept)
    assert studio.keys.find(secret) is None
    assert [key.id for key in studio.keys.list()] == [guest.id]


@pytest.mark.soak
def test_clips_of_a_visitor_whose_key_is_long_gone_are_known_by_its_id(space_studio: Studio) -> None:
    _, visitor = space_studio.keys.create_for_visitor(timedelta(seconds=-1))
    clip_id = made(space_studio, QUICK, visitor.id)
    assert space_studio.keys.remove_expired(datetime.now(UTC)) == 1
    Cleaner(space_studio).clean(datetime.now(UTC) + AFTER)
    assert leftovers(space_studio.settings) == []
    assert space_studio.jobs.job(clip_id) is None


def test_what_still_waits_or_runs_after_a_day_is_stopped(space_studio: Studio) -> None:
    studio = space_studio
    visitors = JobOptions(made_by="v0123")
    running, waiting = (studio.submit_for(ENDLESS, "", visitors, lambda request: None) for _ in range(2))
    wait_for(lambda: studio.jobs.existing(running).started_at, "the first job")
    cleaner, later = Cleaner(studio), datetime.now(UTC) + AFTER
    cleaner.clean(later)
    assert studio.jobs.job(waiting) is None
    wait_for(lambda: not studio.jobs.existing(running).is_active, "the end of the running one")
    cleaner.clean(later)
    assert studio.jobs.job(running) is None


def stored_keys(studio: Studio) -> set[str]:
    with Database(studio.settings.database).connection() as connection:
        return {row["id"] for row in connection.execute("SELECT id FROM keys")}


def test_it_cleans_at_the_start_and_ends_with_its_block(studio: Studio) -> None:
    _, key = studio.keys.create_for_visitor(timedelta(seconds=-1))
    threads = set(enumerate_threads())
    with Cleaner(studio):
        wait_for(lambda: key.id not in stored_keys(studio), "the first cleaning")
    assert set(enumerate_threads()) <= threads


def test_one_thing_that_cannot_be_deleted_keeps_no_other(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = studio.keys.create_for_visitor(timedelta(seconds=-1))

    def fail(*_: object) -> None:
        raise StorageError("The disk is read-only.")

    monkeypatch.setattr(studio.gallery, "delete_of", fail)
    with pytest.raises(StorageError, match="read-only"):
        Cleaner(studio).clean(datetime.now(UTC))
    assert key.id not in stored_keys(studio)


def test_pictures_of_shots_and_of_projects_that_cannot_be_read_stay(studio: Studio) -> None:
    inputs, now = studio.settings.inputs, datetime.now(UTC)
    broken, shots, nobodys = (inputs / f"{digit * 64}.png" for digit in "abc")
    for path in (broken, shots, nobodys):
        path.touch()
        os.utime(path, ((now - AFTER).timestamp(),) * 2)
    project = studio.projects.path("Film")
    project.parent.mkdir(parents=True)
    project.write_text(f'[characters.anna\npictures = ["{broken.stem}"]\n', encoding="utf-8")
    studio.shots.ensure("Other", [NewShot("010", settings=f'{{"image": "{shots.as_posix()}"}}')])
    assert studio.projects.problems
    Cleaner(studio).clean(now)
    assert sorted(inputs.iterdir()) == [broken, shots]

    project.unlink()
    project.mkdir()  # cannot be opened, so nobody knows its pictures
    with pytest.raises(StorageError, match="cannot be opened"):
        Cleaner(studio).clean(now)
    assert sorted(inputs.iterdir()) == [broken, shots]
