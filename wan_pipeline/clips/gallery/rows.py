"""Rows of the gallery's table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from wan_pipeline.clips.files import BIN
from wan_pipeline.clips.gallery.clip import Clip, GalleryQuery
from wan_pipeline.clips.gallery.scan import Entry, id_of_file
from wan_pipeline.clips.receipt import MAX_SECONDS
from wan_pipeline.requests.stored import read_request
from wan_pipeline.storage.outside import printable, stored_time

NOT_BINNED = "binned_at IS NULL"


def add(connection: sqlite3.Connection, entry: Entry, folder: Path | None = None) -> None:
    """Add a clip, in the caller's transaction. Adding it again keeps star, note and bin.

    A clip of the same id that is in `folder` under another name is a copy, and gets an id of its own.
    """
    request = entry.request
    if folder is not None:
        _part_from_copy(connection, entry, folder)
    connection.execute(
        "UPDATE OR REPLACE clips SET id = ? WHERE clip = ?", (entry.id, entry.clip)
    )  # if a rescan was quicker
    connection.execute(
        "INSERT INTO clips (id, clip, poster, made_at, request, prompt, model, preset, project, loras, words, seconds,"
        " frames_sha256, note, made_by, binned_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET "
        "clip = excluded.clip, poster = excluded.poster, seconds = excluded.seconds, project = excluded.project, "
        "words = CASE note WHEN '' THEN excluded.words ELSE words END, "
        "note = CASE note WHEN '' THEN excluded.note ELSE note END, "
        "frames_sha256 = excluded.frames_sha256",
        (
            *(entry.id, entry.clip, entry.poster, entry.made_at, request.to_json(), request.prompt, request.model),
            *(request.preset or "", entry.project, _join(lora.name for lora in request.loras)),
            *(search_words(request.prompt, entry.note), entry.seconds, entry.frames_sha256, entry.note),
            *(entry.made_by, entry.binned_at),
        ),
    )


def clip_of(row: sqlite3.Row, folder: Path) -> Clip:
    """The clip of a row; its files are in `folder`, or in the bin of it."""
    folder = folder / BIN if row["binned_at"] else folder
    request, request_error = read_request(row["request"])
    return Clip(
        id=row["id"],
        path=folder / row["clip"],
        poster=folder / row["poster"],
        made_at=stored_time(row["made_at"]),
        request=request,
        project=row["project"],
        seconds=row["seconds"] if 0 <= row["seconds"] <= MAX_SECONDS else 0.0,  # older versions stored any number
        frames_sha256=row["frames_sha256"],
        starred=bool(row["starred"]),
        note=row["note"],
        is_binned=row["binned_at"] is not None,
        made_by=row["made_by"],
        rating=row["rating"],
        is_rejected=bool(row["rejected"]),
        request_error=request_error,
    )


def _part_from_copy(connection: sqlite3.Connection, entry: Entry, folder: Path) -> None:
    query = "SELECT clip FROM clips WHERE id = ? AND clip != ?"
    other = connection.execute(query, (entry.id, entry.clip)).fetchone()
    if other is not None and (folder / other["clip"]).is_file():
        connection.execute(
            "UPDATE OR REPLACE clips SET id = ? WHERE clip = ?", (id_of_file(other["clip"]), other["clip"])
        )


def where_of(query: GalleryQuery) -> tuple[str, Sequence[str | int]]:
    """The SQL condition and its values. What was typed is only ever a value."""
    conditions = ["binned_at IS NOT NULL" if query.binned else NOT_BINNED]
    values: list[str] = []
    for column, value in (("project", query.project), ("model", query.model), ("preset", query.preset)):
        if value:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.lora:
        conditions.append("instr(loras, ?)")
        values.append(_join([query.lora]))
    for word in query.text.casefold().split():
        conditions.append("instr(words, ?)")
        values.append(word)
    if query.made_by:
        conditions.append(f"made_by IN ({', '.join('?' * len(query.made_by))})")
        values.extend(query.made_by)
    if query.starred:
        conditions.append("starred")
    return " AND ".join(conditions), [printable(value) for value in values]


def search_words(prompt: str, note: str) -> str:
    """What a search looks through."""
    return f"{prompt}\n{note}".casefold()


def _join(names: Iterable[str]) -> str:
    """Names between line feeds, so that a whole name can be searched for."""
    return "".join(f"\n{name}\n" for name in names)
