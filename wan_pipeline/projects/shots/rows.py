"""Shots and takes as rows of the database. Functions that take a `connection` run in the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from wan_pipeline.clips.gallery import MAX_RATING
from wan_pipeline.jobs.job import HELD_OR_WAITING, PROBLEMS, RUNNING, JobState
from wan_pipeline.projects.shots.shot import NewShot, Shot, Take, Verdict

_TAKES = """
    SELECT takes.*, jobs.state, clips.clip, clips.poster, clips.binned_at, clips.rating, clips.rejected, finals.draft,
        coalesce(json_extract(clips.request, '$.seed'), json_extract(jobs.request, '$.seed'), 0) AS seed,
        (SELECT verdict FROM verdicts WHERE clip_id = takes.id ORDER BY verdicts.id DESC LIMIT 1) AS verdict
    FROM takes LEFT JOIN jobs USING (id) LEFT JOIN clips USING (id) LEFT JOIN finals USING (id)
    WHERE takes.shot IN (SELECT value FROM json_each(?)) ORDER BY takes.take
"""
_LIVING = (*HELD_OR_WAITING, *RUNNING, *PROBLEMS)


def read_shots(connection: sqlite3.Connection, clips: Path, clause: str, *values: object) -> list[Shot]:
    """The shots that an SQL clause names, with their takes, in its order. `clips` is the folder of clips."""
    rows = connection.execute(f"SELECT * FROM shots {clause}", values).fetchall()  # noqa: S608 (our own clauses)
    takes = read_takes(connection, clips, [row["number"] for row in rows])
    return [_shot(row, tuple(takes[row["number"]])) for row in rows]


def read_takes(connection: sqlite3.Connection, clips: Path, numbers: Collection[int]) -> dict[int, list[Take]]:
    """The takes of shots by row number: those that are made or will be."""
    takes: dict[int, list[Take]] = defaultdict(list)
    for row in connection.execute(_TAKES, (json.dumps(list(numbers)),)):
        take = _take(row, clips)
        if take.is_done or take.state in _LIVING:
            takes[row["shot"]].append(take)
    return takes


def insert_shot(connection: sqlite3.Connection, project: str, new: NewShot) -> None:
    """Add a shot behind the others of its project."""
    last = "SELECT coalesce(max(position), 0) FROM shots WHERE project = ?"
    position = connection.execute(last, (project,)).fetchone()[0] + 1
    connection.execute(
        "INSERT INTO shots (project, scene, shot, position, description, notes, settings) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (project, new.scene, new.shot, position, new.description, new.notes, new.settings),
    )


def update_shot(connection: sqlite3.Connection, number: int, new: NewShot) -> None:
    """Update an existing shot from a list; empty cells change nothing."""
    for column, value, blank in (
        ("description", new.description, ""),
        ("notes", new.notes, ""),
        ("settings", new.settings, "{}"),
    ):
        if value != blank:
            connection.execute(f"UPDATE shots SET {column} = ? WHERE number = ?", (value, number))  # noqa: S608


def _shot(row: sqlite3.Row, takes: tuple[Take, ...]) -> Shot:
    return Shot(
        number=row["number"],
        project=row["project"],
        scene=row["scene"],
        shot=row["shot"],
        description=row["description"],
        notes=row["notes"],
        settings=row["settings"],
        picked=row["picked"],
        takes=takes,
    )


def _take(row: sqlite3.Row, clips: Path) -> Take:
    is_there = row["clip"] is not None and row["binned_at"] is None
    state = JobState.DONE if is_there else JobState(row["state"] or JobState.CANCELLED)
    return Take(
        id=row["id"],
        number=row["take"],
        state=JobState.CANCELLED if state is JobState.DONE and not is_there else state,
        seed=int(row["seed"]),
        clip=clips / row["clip"] if is_there else None,
        poster=clips / row["poster"] if is_there else None,
        rating=min(max(int(row["rating"] or 0), 0), MAX_RATING),
        is_rejected=bool(row["rejected"]),
        final_of=row["draft"] or "",
        verdict=Verdict(row["verdict"]) if row["verdict"] in tuple(Verdict) else None,
    )
