"""The gallery: an index of the clips folder, to search, star, annotate and bin clips.

The folder is the truth, and the table follows it by `rescan`: a clip is where its MP4 is, in the folder or in its
`bin`, and a new receipt gets a row. Only stars and notes exist in the table alone.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline.clips.files import BIN, ClipFileError, delete_files, move_files, name_in
from wan_pipeline.clips.gallery.clip import MAX_RATING, Clip, Facets, GalleryPage, GalleryQuery
from wan_pipeline.clips.gallery.rows import NOT_BINNED, add, clip_of, search_words, where_of
from wan_pipeline.clips.gallery.scan import Entry, FileState, FolderScan
from wan_pipeline.clips.poster import draw_missing_poster
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.requests.texts import check_note, check_search
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import printable, stored_time
from wan_pipeline.wording import plural

logger = logging.getLogger(__name__)
PROJECT_PAGE = 500
"""Clips that `of_project` reads at a time."""


class Gallery:
    """Clips of one workspace. Every method raises StorageError if the database or the folder cannot be used.

    In a viewer app, methods that change a clip raise LookingOnError.
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
        where, values = where_of(query)
        if until is not None:
            where, values = f"{where} AND number <= ?", [*values, until]
        with self._database.connection() as connection:
            count = f"SELECT count(*), coalesce(max(number), 0) FROM clips WHERE {where}"  # noqa: S608 (see where_of)
            total, newest = connection.execute(count, values).fetchone()
            found = f"SELECT * FROM clips WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?"  # noqa: S608
            rows = connection.execute(found, (*values, limit, offset)).fetchall()
        return GalleryPage(tuple(clip_of(row, self._folder) for row in rows), int(total), int(newest))

    def count_newer(self, query: GalleryQuery, until: int) -> int:
        """How many clips match that a page `until` this mark leaves out. Raises RequestError as `page`."""
        check_search(query.text)
        where, values = where_of(query)
        with self._database.connection() as connection:
            count = f"SELECT count(*) FROM clips WHERE {where} AND number > ?"  # noqa: S608 (see where_of)
            return int(connection.execute(count, (*values, until)).fetchone()[0])

    def clip(self, clip_id: str) -> Clip:
        """Raises UserError for an unknown id."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM clips WHERE id = ?", (clip_id,)).fetchone()
        if row is None:
            raise UserError(f"There is no clip {clip_id[:8]} in {self._folder}; choose one from the gallery.")
        return clip_of(row, self._folder)

    def find(self, prefix: str) -> Clip | None:
        """The clip whose id begins so, if there is exactly one outside the bin."""
        with self._database.connection() as connection:
            rows = connection.execute(
                f"SELECT * FROM clips WHERE substr(id, 1, length(?1)) = ?1 AND ?1 != '' AND {NOT_BINNED} LIMIT 2",  # noqa: S608
                (prefix.strip(),),
            ).fetchall()
        return clip_of(rows[0], self._folder) if len(rows) == 1 else None

    def at(self, path: Path) -> Clip:
        """The clip of a file. Raises UserError for one that is not in the gallery."""
        if not (found := self.of_files([path])):
            raise UserError(f"{path} is no clip of {self._folder}; name one that is in the gallery.")
        return found[0]

    def of_files(self, paths: Iterable[Path]) -> list[Clip]:
        """The clips of these files, in this order, without those that are not in the gallery."""
        folder, whole = self._folder.resolve(), [path.expanduser().resolve() for path in paths]
        return self._in_order("clip", [printable(name_in(folder, each)) for each in whole if folder in each.parents])

    def of_project(self, project: str, *, starred: bool = False) -> Iterator[Clip]:
        """The project's clips outside the bin, newest first. Here "" is the default project, not all of them."""
        query, offset = GalleryQuery(project=project, starred=starred), 0
        while clips := self.page(query, offset, PROJECT_PAGE).items:
            yield from (clip for clip in clips if clip.project == project)
            offset += PROJECT_PAGE

    def existing(self, clip_ids: Iterable[str]) -> list[Clip]:
        """The clips of these ids, in this order, without those that are gone."""
        return self._in_order("id", list(clip_ids))

    def _in_order(self, column: str, values: Sequence[str]) -> list[Clip]:
        query = f"SELECT * FROM clips WHERE {column} IN (SELECT value FROM json_each(?))"  # noqa: S608 (it is ours)
        with self._database.connection() as connection:
            rows = {row[column]: row for row in connection.execute(query, (json.dumps(values),))}
        return [clip_of(rows[value], self._folder) for value in values if value in rows]

    def facets(self) -> Facets:
        with self._database.connection() as connection:
            rows = connection.execute(
                f"SELECT DISTINCT project, model, preset, loras FROM clips WHERE {NOT_BINNED}"  # noqa: S608
            ).fetchall()
        projects, models, presets, joined = zip(*rows, strict=True) if rows else ((), (), (), ())
        loras = (name for names in joined for name in names.split("\n"))
        return Facets(_sorted(projects), _sorted(models), _sorted(presets), _sorted(loras))

    def newest_posters(self) -> dict[str, Path]:
        """The poster of the newest clip made with each LoRA, by its name in small letters."""
        with self._database.connection() as connection:
            rows = connection.execute(
                f"SELECT loras, poster, max(number) AS number FROM clips WHERE {NOT_BINNED} AND loras != '' "  # noqa: S608
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
            raise UserError(f"A rating of {rating} is not possible; use 1 to {MAX_RATING}, or 0 for none.")
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
        words = search_words(self.clip(clip_id).request.prompt, text)
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
        return [clip_of(row, self._folder) for row in old]

    def rescan(self) -> int:
        """Follow the folder: list new clips and note which were moved. Returns how many are new; sets `problems`."""
        scan = FolderScan(self._folder, self._foreign)
        with self._database.connection() as connection:
            unfinished = {row["id"] for row in connection.execute("SELECT id FROM jobs WHERE finished_at IS NULL")}
            # read after the jobs: a job that finishes in between has its row here
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
        """Draw the posters that copied clips came without."""
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


def _sorted(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}, key=str.casefold))
