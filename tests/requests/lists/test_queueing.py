"""Lists in a studio: queued as a whole, exported, and read again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.requests import BALL
from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.requests.grids.grid import grid
from wan_pipeline.requests.lists.clips import Row
from wan_pipeline.requests.lists.files import CSV_TEMPLATE, QueueFile, read_queue_file, write_queue_file
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

# The round trip


def test_what_is_written_is_read_again(tmp_path: Path, photo: Path) -> None:
    rows = (
        Row(1, replace(BALL, prompt='红 "球"\n, ;', negative_prompt="", loras=(LoraChoice("a=b", -0.1),)), "nicht; x"),
        Row(2, Draft("b", None, "demo", "noir", "dull", 2, 320, 192, 17, 8, 12, 3.5, 0.1, "euler")),
    )
    write_queue_file(rows, tmp_path / "queue.jsonl")
    assert read_queue_file(tmp_path / "queue.jsonl", tmp_path, own_disk=False) == QueueFile(rows)
    with_image = (*rows, Row(3, replace(BALL, image=photo)))
    with pytest.raises(UserError, match=r"uses 1 input image, which queue.jsonl cannot hold; .* ends in .zip"):
        write_queue_file(with_image, tmp_path / "queue.jsonl")
    write_queue_file(with_image, tmp_path / "queue.zip")
    again = read_queue_file(tmp_path / "queue.zip", tmp_path, own_disk=False)
    assert again.rows[:2] == rows
    assert again.rows[2].draft.image.read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("with_image", [False, True])
def test_a_queue_moves_to_another_workspace(with_image: bool, studio: Studio, settings: Settings, photo: Path) -> None:
    drafts = [replace(BALL, preset="noir"), replace(BALL, seed=2, negative_prompt="", guidance_scale=0.0)]
    drafts += [replace(BALL, image=photo)] * with_image
    ids = studio.submit_many(drafts, "night")
    studio.queue.pause(ids[0])
    studio.queue.cancel(studio.submit(BALL))
    path = studio.lists.export()
    assert path.suffix == (".zip" if with_image else ".jsonl")
    with Studio(replace(settings, workspace=settings.workspace.parent / "other")) as other:
        with other.lists.read(path) as content:
            copies = [other.jobs.job(job_id) for job_id in other.lists.submit(content)]
        assert [copy.request for copy in copies] == [studio.jobs.job(job_id).request for job_id in ids]
        assert {copy.project for copy in copies} == {"night"}
        assert list(other.settings.cache.glob("import-*")) == []


def test_a_queue_is_exported_whole_or_not_at_all(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(BALL)
    with closing(sqlite3.connect(settings.database)) as connection, connection:
        connection.execute("UPDATE jobs SET request = '{}' WHERE id = ?", (job_id,))
    with pytest.raises(UserError, match=f"Clip {job_id[:8]} of the queue cannot be exported; cancel it first"):
        studio.lists.export()
    studio.queue.cancel(job_id)
    studio.submit_many([BALL] * 3)
    assert len(studio.lists.export().read_text(encoding="utf-8").splitlines()) == 3


def test_nothing_is_queued_unless_all_is_right_or_bad_rows_are_skipped(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("prompt,seed,width\na,x,\nb,2,330\n,3,\nc,4,\n")
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        assert [problem.partition(":")[0] for problem in content.problems] == [
            "Row 2, column seed",
            "Row 3, column width",
            "Row 4, column prompt",
        ]
        assert "use 320 or 352" in content.problems[1]
        with pytest.raises(UserError, match=r"3 of 4 rows .* Row 2, column seed: The seed .* \(and 2 more\)"):
            studio.lists.submit(content)
        assert studio.jobs.recent() == []
        (job_id,) = studio.lists.submit(content, skip_bad=True, project="night")
    assert (studio.jobs.job(job_id).request.seed, studio.jobs.job(job_id).project) == (4, "night")


@pytest.mark.parametrize(("content", "says"), [("prompt\n", "holds no clips"), ("prompt,seed\na,x\n", "1 of 1 rows")])
def test_a_list_without_a_good_row_queues_nothing(content: str, says: str, studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(content)
    with studio.lists.read(tmp_path / "jobs.csv") as rows, pytest.raises(UserError, match=says):
        studio.lists.submit(rows, skip_bad=True)


# Through the studio


def test_many_drafts_are_all_queued_or_none(studio: Studio, photo: Path) -> None:
    with pytest.raises(RequestError, match="use 320 or 352"):
        studio.submit_many([BALL, replace(BALL, image=photo), replace(BALL, width=330)])
    assert studio.jobs.recent() == []
    assert list(studio.settings.inputs.iterdir()) == []  # no image is kept for a clip that is not queued
    assert len(studio.submit_many([BALL, replace(BALL, image=photo)])) == 2


def test_an_edited_job_is_resolved_anew(studio: Studio) -> None:
    job_id = studio.submit(BALL)
    with pytest.raises(RequestError, match="use 320 or 352"):
        studio.edit(job_id, replace(BALL, width=330))
    studio.edit(job_id, replace(BALL, preset="noir"))
    assert studio.jobs.job(job_id).request.preset == "noir"
    assert studio.jobs.job(job_id).request.styled_prompt != BALL.prompt


def test_the_time_for_many_and_for_the_whole_queue(studio: Studio) -> None:
    drafts = grid(BALL, ["a", "b", "c"], [1, 2], [None, "noir"])
    assert studio.estimates.queue_seconds() == 0
    shown = studio.estimates.of_drafts(drafts)
    assert shown.text.startswith("12 clips, about ")
    assert shown.seconds == pytest.approx(sum(studio.estimates.of_draft(draft).seconds for draft in drafts))
    ids = studio.submit_many(drafts)
    assert studio.estimates.queue_seconds() == pytest.approx(shown.seconds)
    studio.queue.pause(ids[0])
    assert studio.estimates.queue_seconds() < shown.seconds
    assert studio.jobs.job(ids[0]).state is JobState.PAUSED
    assert studio.estimates.of_drafts([BALL]).text.startswith("1 clip, about ")
    assert studio.estimates.of_drafts([BALL]).text.endswith(", after 11 other clips")


def test_lists_beyond_a_few_at_a_time_are_refused(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page answers in the same process."""
    (tmp_path / "jobs.csv").write_text(CSV_TEMPLATE)
    inner: list[str] = []

    def reading(path: Path, folder: Path, *, own_disk: bool) -> QueueFile:
        try:
            studio.lists.read(path).close()
        except UserError as error:
            inner.append(str(error))
        return read_queue_file(path, folder, own_disk=own_disk)

    monkeypatch.setattr("wan_pipeline.studio.lists.read_queue_file", reading)
    studio.lists.read(tmp_path / "jobs.csv").close()
    assert inner == ["2 lists are being checked; add this one again when they are done."]
    studio.lists.read(tmp_path / "jobs.csv").close()
