"""The gallery: an index of the clips folder, to search, star, annotate and bin clips.

The folder is the truth, and the table follows it by `rescan`: a clip is where its MP4 is, in the folder or in its
`bin`, and a new receipt gets a row. Only stars and notes exist in the table alone.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline.clips.files import BIN, ClipFileError, delete_files, move_files, name_in
from wan_pipeline.clips.poster import draw_missing_poster
from wan_pipeline.clips.receipt import MAX_SECONDS
from wan_pipeline.clips.sidecars import Entry, FileState, FolderScan, id_of_file
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.requests.limits import check_note, check_search
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.stored import read_request
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import printable, stored_time
from wan_pipeline.wording import plural

logger = logging.getLogger(__name__)
MAX_RATING = 5
PROJECT_PAGE = 500
"""Clips that `of_project` reads at a time."""


@dataclass(frozen=True)
class Clip:
    """One clip of the gallery. Its files may be gone: somebody may have moved them."""

    id: str
    path: Path
    poster: Path
    made_at: datetime
    request: GenerationRequest
    project: str
    seconds: float
    """Time that it took to make."""
    frames_sha256: str
    starred: bool
    note: str
    is_binned: bool
    made_by: str = ""
    """Id of the key of the guest who made it; empty for the owner's."""
    rating: int = 0
    """From 1 to 5; 0 for none."""
    is_rejected: bool = False
    request_error: str | None = None
    """Why the stored request cannot be run here; `request` then holds only what could be read."""


@dataclass(frozen=True)
class GalleryQuery:
    """Which clips to show. Empty texts match all; each word of `text` must be in the prompt or the note."""

    text: str = ""
    project: str = ""
    model: str = ""
    preset: str = ""
    lora: str = ""
    starred: bool = False
    binned: bool = False
    made_by: tuple[str, ...] = ()
    """Ids of the keys whose clips to show, "" for the owner's; none means all."""


@dataclass(frozen=True)
class GalleryPage:
    items: tuple[Clip, ...]
    total: int
    """Clips on all pages."""
    newest: int = 0
    """A mark for `page` and `count_newer`: of the newest clip among them."""


@dataclass(frozen=True)
class Facets:
    """The values to filter by, of clips outside the bin."""

    projects: tuple[str, ...]
    models: tuple[str, ...]
    presets: tuple[str, ...]
    loras: tuple[str, ...]


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
            *(_words(request.prompt, entry.note), entry.seconds, entry.frames_sha256, entry.note),
            *(entry.made_by, entry.binned_at),
        ),
    )


class Gallery:
    """Clips of one workspace. Every method raises StorageError if the database or the folder cannot be used.

    In an app that only looks on, what a person changes of a clip raises LookingOnError.
    """

    def __init__(self, database: Database, folder: Path, check_main_app: CheckMainApp = unchecked) -> None:
        self._database = database
        self._folder = folder
        self._check_main_app = check_main_app
        self._problems: tuple[str, ...] = ()
        self._foreign: set[FileState] = set()

    # Reading

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last `rescan` could not list or move: one sentence a file."""
        return self._problems

    @property
    def notice(self) -> str | None:
        """One sentence about all `problems`; None if there are none."""
        if not self._problems:
            return None
        return f"{plural(len(self._problems), 'file')} of {self._folder} cannot be listed. {self._problems[0]}"

    def page(self, query: GalleryQuery, offset: int, limit: int, until: int | None = None) -> GalleryPage:
        """One page of the clips that match, newest first. Raises RequestError for words that are no text.

        `until`, the `newest` of an earlier page, leaves out clips that have come since: then no clip moves.
        """
        check_search(query.text)
        where, values = _where(query)
        if until is not None:
            where, values = f"{where} AND number <= ?", [*values, until]
        with self._database.connection() as connection:
            count = f"SELECT count(*), coalesce(max(number), 0) FROM clips WHERE {where}"  # noqa: S608 (see _where)
            total, newest = connection.execute(count, values).fetchone()
            found = f"SELECT * FROM clips WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?"  # noqa: S608
            rows = connection.execute(found, (*values, limit, offset)).fetchall()
        return GalleryPage(tuple(self._clip(row) for row in rows), int(total), int(newest))

    def count_newer(self, query: GalleryQuery, until: int) -> int:
        """How many clips match that a page `until` this mark leaves out. Raises RequestError as `page`."""
        check_search(query.text)
        where, values = _where(query)
        with self._database.connection() as connection:
            count = f"SELECT count(*) FROM clips WHERE {where} AND number > ?"  # noqa: S608 (see _where)
            return int(connection.execute(count, (*values, until)).fetchone()[0])

    def clip(self, clip_id: str) -> Clip:
        """Raises UserError for an unknown id."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM clips WHERE id = ?", (clip_id,)).fetchone()
        if row is None:
            raise UserError(f"There is no clip {clip_id[:8]} in {self._folder}; choose one from the gallery.")
        return self._clip(row)

    def find(self, prefix: str) -> Clip | None:
        """The clip whose id begins so, if there is exactly one outside the bin."""
        with self._database.connection() as connection:
            rows = connection.execute(
                f"SELECT * FROM clips WHERE substr(id, 1, length(?1)) = ?1 AND ?1 != '' AND {_NOT_BINNED} LIMIT 2",  # noqa: S608
                (prefix.strip(),),
            ).fetchall()
        return self._clip(rows[0]) if len(rows) == 1 else None

    def at(self, path: Path) -> Clip:
        """The clip of a file. Raises UserError for one that is not in the gallery."""
        resolved, folder = path.expanduser().resolve(), self._folder.resolve()
        name = name_in(folder, resolved) if resolved.is_relative_to(folder) else ""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM clips WHERE clip = ?", (printable(name),)).fetchone()
        if row is None:
            raise UserError(f"{path} is no clip of {self._folder}; name one that is in the gallery.")
        return self._clip(row)

    def of_project(self, project: str, *, starred: bool = False) -> Iterator[Clip]:
        """The project's clips outside the bin, newest first. Here "" is the default project, not all of them."""
        query, offset = GalleryQuery(project=project, starred=starred), 0
        while clips := self.page(query, offset, PROJECT_PAGE).items:
            yield from (clip for clip in clips if clip.project == project)
            offset += PROJECT_PAGE

    def existing(self, clip_ids: Iterable[str]) -> list[Clip]:
        """The clips of these ids, in this order, without those that are gone."""
        with self._database.connection() as connection:
            rows = [
                connection.execute("SELECT * FROM clips WHERE id = ?", (clip_id,)).fetchone() for clip_id in clip_ids
            ]
        return [self._clip(row) for row in rows if row is not None]

    def facets(self) -> Facets:
        with self._database.connection() as connection:
            rows = connection.execute(
                f"SELECT DISTINCT project, model, preset, loras FROM clips WHERE {_NOT_BINNED}"  # noqa: S608
            ).fetchall()
        projects, models, presets, joined = zip(*rows, strict=True) if rows else ((), (), (), ())
        loras = (name for names in joined for name in names.split("\n"))
        return Facets(_sorted(projects), _sorted(models), _sorted(presets), _sorted(loras))

    def newest_posters(self) -> dict[str, Path]:
        """The poster of the newest clip made with each LoRA, by its name in small letters."""
        with self._database.connection() as connection:
            rows = connection.execute(
                f"SELECT loras, poster, max(number) AS number FROM clips WHERE {_NOT_BINNED} AND loras != '' "  # noqa: S608
                "GROUP BY loras ORDER BY number"
            ).fetchall()
        return {name.casefold(): self._folder / row["poster"] for row in rows for name in row["loras"].split("\n")}

    # Changing

    @main_app_only
    def star(self, clip_id: str, starred: bool) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE clips SET starred = ? WHERE id = ?", (starred, clip_id))

    @main_app_only
    def rate(self, clip_id: str, rating: int) -> None:
        """Give a clip 1 to 5 stars, or with 0 none. Raises UserError for another number."""
        if not 0 <= rating <= MAX_RATING:
            raise UserError(f"A rating of {rating} is none; use 1 to {MAX_RATING}, or 0 to take it away.")
        with self._database.transaction() as connection:
            connection.execute("UPDATE clips SET rating = ? WHERE id = ?", (rating, clip_id))

    @main_app_only
    def reject(self, clip_id: str, rejected: bool) -> None:
        """Mark a clip as rejected, or not. A shot's picked take that is rejected is picked no more."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE clips SET rejected = ? WHERE id = ?", (rejected, clip_id))
            if rejected:
                connection.execute("UPDATE shots SET picked = '' WHERE picked = ?", (clip_id,))

    @main_app_only
    def note(self, clip_id: str, text: str) -> None:
        """Raises RequestError for a note that is too long or no text."""
        text = text.strip()
        check_note(text)
        words = _words(self.clip(clip_id).request.prompt, text)
        with self._database.transaction() as connection:
            connection.execute("UPDATE clips SET note = ?, words = ? WHERE id = ?", (text, words, clip_id))

    @main_app_only
    def bin(self, clip_ids: Sequence[str]) -> None:
        """Move clips and their files to the bin; `unbin` undoes it."""
        for clip_id in clip_ids:
            self._move(clip_id, self._name(clip_id), into_bin=True)

    @main_app_only
    def unbin(self, clip_ids: Sequence[str]) -> None:
        for clip_id in clip_ids:
            self._move(clip_id, self._name(clip_id), into_bin=False)

    @main_app_only
    def empty_bin(self) -> int:
        """Delete the clips in the bin for good. Returns how many there were."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT * FROM clips WHERE binned_at IS NOT NULL").fetchall()
        self._delete(rows)
        return len(rows)

    @main_app_only
    def delete_of(self, makers: str, before: datetime) -> list[Clip]:
        """Delete for good the clips made earlier by guests whose ids begin with `makers`. Returns what they were."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM clips WHERE substr(made_by, 1, ?) = ?", (len(makers), makers)
            ).fetchall()
        old = [row for row in rows if stored_time(row["made_at"]) < before]
        self._delete(old)
        return [self._clip(row) for row in old]

    def rescan(self) -> int:
        """Follow the folder: list new clips and note which were moved. Returns how many are new; sets `problems`."""
        scan = FolderScan(self._folder, self._foreign)
        with self._database.connection() as connection:
            unfinished = {row["id"] for row in connection.execute("SELECT id FROM jobs WHERE finished_at IS NULL")}
            # after those: of a job that finishes meanwhile the row is there
            rows = connection.execute("SELECT id, clip, binned_at FROM clips").fetchall()
        for row in rows:
            if row["clip"] in (scan.clips if row["binned_at"] else scan.binned):
                try:
                    self._move(row["id"], row["clip"], into_bin=not row["binned_at"])
                except ClipFileError as error:
                    scan.problems.append(str(error))
        entries = scan.new_entries({row["clip"]: row["id"] for row in rows}, unfinished)
        if entries:
            with self._database.transaction() as connection:
                for entry in entries:
                    add(connection, entry)
            self._draw_posters(entries, scan.problems)
        self._report(scan.problems)
        return len(entries)

    def _draw_posters(self, entries: Iterable[Entry], problems: list[str]) -> None:
        """Those that copied clips came without."""
        for entry in entries:
            try:
                draw_missing_poster((self._folder / BIN if entry.binned_at else self._folder) / entry.clip)
            except StorageError as error:
                problems.append(f"{entry.clip} has no poster. {error}")

    def _delete(self, rows: Iterable[sqlite3.Row]) -> None:
        for row in rows:
            delete_files(row["clip"], self._folder / BIN if row["binned_at"] else self._folder)
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM comments WHERE clip_id = ?", (row["id"],))
                connection.execute("DELETE FROM clips WHERE id = ?", (row["id"],))

    def _report(self, problems: Iterable[str]) -> None:
        found = tuple(sorted(problems))
        for problem in found:
            if problem not in self._problems:  # a rescan is frequent, and a bad file stays
                logger.warning("%s", problem)
        self._problems = found

    def _move(self, clip_id: str, name: str, into_bin: bool) -> None:
        source, target = self._folder, self._folder / BIN
        move_files(name, *((source, target) if into_bin else (target, source)))
        with self._database.transaction() as connection:
            binned_at = datetime.now(UTC).isoformat() if into_bin else None
            connection.execute("UPDATE clips SET binned_at = ? WHERE id = ?", (binned_at, clip_id))

    def _name(self, clip_id: str) -> str:
        clip = self.clip(clip_id)
        return name_in(self._folder / BIN if clip.is_binned else self._folder, clip.path)

    def _clip(self, row: sqlite3.Row) -> Clip:
        folder = self._folder / BIN if row["binned_at"] else self._folder
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


_NOT_BINNED = "binned_at IS NULL"


def _where(query: GalleryQuery) -> tuple[str, Sequence[str | int]]:
    """The SQL condition and its values. What was typed is only ever a value."""
    conditions = ["binned_at IS NOT NULL" if query.binned else _NOT_BINNED]
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


def _words(prompt: str, note: str) -> str:
    """What a search looks through."""
    return f"{prompt}\n{note}".casefold()


def _join(names: Iterable[str]) -> str:
    """Names between line feeds, so that a whole name can be searched for."""
    return "".join(f"\n{name}\n" for name in names)


def _sorted(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}, key=str.casefold))
