"""The gallery: an index of the clips that lie in the clips folder, to search, star, note and bin them.

The folder is the truth and the table follows it: a clip is where its MP4 lies, in the folder or in its `bin`, and a
receipt without a row gets one by `rescan`. Only what exists nowhere else, stars and notes, is lost with the table.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline.clips.naming import poster_path, receipt_path
from wan_pipeline.clips.sidecars import Entry, read_entry
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.stored import read_request
from wan_pipeline.storage.database import Database

BIN = "bin"
MAX_NOTE_CHARACTERS = 2000


@dataclass(frozen=True)
class Clip:
    """One clip as the gallery gives it. Its files may be gone: somebody may have moved them."""

    id: str
    path: Path
    poster: Path
    made_at: datetime
    request: GenerationRequest
    project: str
    seconds: float
    """What making it took."""
    frames_sha256: str
    starred: bool
    note: str
    is_binned: bool


@dataclass(frozen=True)
class GalleryQuery:
    """Which clips to show. An empty word leaves its column open; `text` is words that prompt or note must all hold."""

    text: str = ""
    project: str = ""
    model: str = ""
    preset: str = ""
    lora: str = ""
    starred: bool = False
    binned: bool = False


@dataclass(frozen=True)
class GalleryPage:
    items: tuple[Clip, ...]
    total: int
    """Of all pages."""


@dataclass(frozen=True)
class Facets:
    """What the clips outside the bin can be filtered by."""

    projects: tuple[str, ...]
    models: tuple[str, ...]
    presets: tuple[str, ...]
    loras: tuple[str, ...]


def add(connection: sqlite3.Connection, entry: Entry) -> None:
    """List a clip, in the caller's transaction. A second time changes nothing that the person has set."""
    request = entry.request
    connection.execute("UPDATE clips SET id = ? WHERE clip = ?", (entry.id, entry.clip))  # a rescan was quicker
    connection.execute(
        "INSERT INTO clips (id, clip, poster, made_at, request, prompt, model, preset, project, loras, words, seconds,"
        " frames_sha256, binned_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "clip = excluded.clip, poster = excluded.poster, seconds = excluded.seconds, project = excluded.project, "
        "frames_sha256 = excluded.frames_sha256",
        (
            *(entry.id, entry.clip, entry.poster, entry.made_at, request.to_json(), request.prompt, request.model),
            *(request.preset or "", entry.project, _framed(lora.name for lora in request.loras)),
            *(request.prompt.casefold(), entry.seconds, entry.frames_sha256, entry.binned_at),
        ),
    )


class Gallery:
    """Clips of one workspace. Every method raises StorageError when database or folder cannot be used."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    # What can be seen

    def page(self, query: GalleryQuery, offset: int, limit: int) -> GalleryPage:
        """Newest first."""
        where, values = _where(query)
        with self._database.connection() as connection:
            count = f"SELECT count(*) FROM clips WHERE {where}"  # noqa: S608 (see _where)
            total = connection.execute(count, values).fetchone()[0]
            newest = f"SELECT * FROM clips WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?"  # noqa: S608
            rows = connection.execute(newest, (*values, limit, offset)).fetchall()
        return GalleryPage(tuple(self._clip(row) for row in rows), int(total))

    def clip(self, clip_id: str) -> Clip:
        """Raises UserError when there is none of this id."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM clips WHERE id = ?", (clip_id,)).fetchone()
        if row is None:
            raise UserError(f"There is no clip {clip_id[:8]} in {self._folder}; choose one from the gallery.")
        return self._clip(row)

    def facets(self) -> Facets:
        with self._database.connection() as connection:
            rows = connection.execute(
                f"SELECT DISTINCT project, model, preset, loras FROM clips WHERE {_KEPT}"  # noqa: S608
            ).fetchall()
        projects, models, presets, framed = zip(*rows, strict=True) if rows else ((), (), (), ())
        loras = (name for names in framed for name in names.split("\n"))
        return Facets(_sorted(projects), _sorted(models), _sorted(presets), _sorted(loras))

    # What the person does

    def star(self, clip_id: str, starred: bool) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE clips SET starred = ? WHERE id = ?", (starred, clip_id))

    def note(self, clip_id: str, text: str) -> None:
        """Raises UserError for a note that is too long."""
        text = text.strip()
        if len(text) > MAX_NOTE_CHARACTERS:
            raise UserError(
                f"The note has {len(text):,} characters; at most {MAX_NOTE_CHARACTERS:,} are allowed: shorten it."
            )
        words = f"{self.clip(clip_id).request.prompt}\n{text}".casefold()
        with self._database.transaction() as connection:
            connection.execute("UPDATE clips SET note = ?, words = ? WHERE id = ?", (text, words, clip_id))

    def bin(self, clip_ids: Sequence[str]) -> None:
        """Move clips out of sight, files and all; `unbin` undoes it."""
        self._move(clip_ids, into_bin=True)

    def unbin(self, clip_ids: Sequence[str]) -> None:
        self._move(clip_ids, into_bin=False)

    def empty_bin(self) -> int:
        """Delete what lies in the bin for good and say how many clips that were."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT * FROM clips WHERE binned_at IS NOT NULL").fetchall()
        for row in rows:
            for name in _files(row["clip"]):
                _remove(self._folder / BIN / name)
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM clips WHERE id = ?", (row["id"],))
        return len(rows)

    def rescan(self) -> int:
        """Follow the folder: list the receipts that have no row, and note what was moved. Gives how many are new."""
        kept, binned = _clips_in(self._folder), _clips_in(self._folder / BIN)
        with self._database.connection() as connection:
            rows = connection.execute("SELECT id, clip, binned_at FROM clips").fetchall()
        for row in rows:
            if row["clip"] in (kept if row["binned_at"] else binned - kept):
                self._move([row["id"]], into_bin=not row["binned_at"])
        listed = {row["clip"] for row in rows}
        found = [read_entry(self._folder / name) for name in kept - listed]
        found += [read_entry(self._folder / BIN / name, binned_at=_now()) for name in binned - kept - listed]
        entries = sorted((entry for entry in found if entry), key=lambda entry: (entry.made_at, entry.clip))
        if entries:
            with self._database.transaction() as connection:
                for entry in entries:
                    add(connection, entry)
        return len(entries)

    # How it is done

    def _move(self, clip_ids: Sequence[str], into_bin: bool) -> None:
        """The MP4 first: where it lies decides, should the rest not come to pass."""
        source, target = self._folder, self._folder / BIN
        if not into_bin:
            source, target = target, source
        for clip_id in clip_ids:
            clip = self.clip(clip_id)
            for name in _files(clip.path.name):
                _rename(source / name, target / name)
            with self._database.transaction() as connection:
                connection.execute(
                    "UPDATE clips SET binned_at = ? WHERE id = ?", (_now() if into_bin else None, clip_id)
                )

    def _clip(self, row: sqlite3.Row) -> Clip:
        folder = self._folder / BIN if row["binned_at"] else self._folder
        return Clip(
            id=row["id"],
            path=folder / row["clip"],
            poster=folder / row["poster"],
            made_at=datetime.fromisoformat(row["made_at"]),
            request=read_request(row["request"])[0],
            project=row["project"],
            seconds=row["seconds"],
            frames_sha256=row["frames_sha256"],
            starred=bool(row["starred"]),
            note=row["note"],
            is_binned=row["binned_at"] is not None,
        )


_KEPT = "binned_at IS NULL"


def _where(query: GalleryQuery) -> tuple[str, list[str]]:
    """The condition and its values. Columns are named here; what was typed is only ever a value."""
    conditions = ["binned_at IS NOT NULL" if query.binned else _KEPT]
    values: list[str] = []
    for column, value in (("project", query.project), ("model", query.model), ("preset", query.preset)):
        if value:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.lora:
        conditions.append("instr(loras, ?)")
        values.append(_framed([query.lora]))
    for word in query.text.casefold().split():
        conditions.append("instr(words, ?)")
        values.append(word)
    if query.starred:
        conditions.append("starred")
    return " AND ".join(conditions), values


def _framed(names: Iterable[str]) -> str:
    """Names between line feeds: a name may hold spaces, and one may begin like another."""
    return "".join(f"\n{name}\n" for name in names)


def _sorted(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}, key=str.casefold))


def _clips_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:  # a folder of 10,000 clips is looked through at each visit
            return {entry.name for entry in entries if entry.name.endswith(".mp4")}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise StorageError(f"The folder {folder} cannot be read ({error.strerror}); check its permissions.") from error


def _files(clip: str) -> tuple[str, str, str]:
    """A clip's MP4, poster and receipt."""
    path = Path(clip)
    return path.name, poster_path(path).name, receipt_path(path).name


def _rename(source: Path, target: Path) -> None:
    if not source.exists():  # gone already, or moved by somebody; a clip of which nothing is left can still be binned
        return
    try:
        target.parent.mkdir(exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise StorageError(
            f"{source.name} cannot be moved to {target.parent} ({error.strerror}); "
            "close what has it open and try again."
        ) from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be deleted ({error.strerror}); close what has it open and try again."
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat()
