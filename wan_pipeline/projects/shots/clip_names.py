"""The names that a project's template gives clips, changed: their files first, then the rows of gallery and queue."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.clips.files import name_in, rename_files
from wan_pipeline.clips.gallery import Clip
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.jobs.links import free_name
from wan_pipeline.projects.naming import ClipFacts, free_names
from wan_pipeline.storage.database import Database


@dataclass(frozen=True)
class ClipNames:
    """The names of one workspace's clips."""

    database: Database
    folder: Path
    """Of the clips."""

    def of(self, clip: Clip) -> str:
        return name_in(self.folder, clip.path)

    def is_free(self, name: str) -> bool:
        """Whether no file has the name."""
        return not (self.folder / name).exists()

    def move(self, clip: Clip, naming: str, facts: ClipFacts) -> str:
        """Give a clip the first free name of these facts, in one transaction, so that no new job takes it meanwhile.

        The files first: after a crash between them and the rows, a rescan finds the clip under its new name.
        """
        old = self.of(clip)
        with self.database.transaction() as connection:
            name = free_name(connection, lambda *_: free_names(naming, facts, self.folder), clip.id, clip.project, 0)
            new = f"{name}.mp4"
            rename_files(old, new, self.folder)
            _write(connection, clip.id, new)
        _remove_empty((self.folder / old).parent, self.folder)
        return new

    def write(self, clip_id: str, name: str) -> None:
        """The name of a clip whose files have it already."""
        with self.database.transaction() as connection:
            _write(connection, clip_id, name)


def _write(connection: sqlite3.Connection, clip_id: str, name: str) -> None:
    poster = poster_path(Path(name)).as_posix()
    connection.execute("UPDATE clips SET clip = ?, poster = ? WHERE id = ?", (name, poster, clip_id))
    changes = (name, poster, name.removesuffix(".mp4"), clip_id)
    connection.execute("UPDATE jobs SET clip = ?, poster = ?, clip_name = ? WHERE id = ?", changes)


def _remove_empty(folder: Path, above: Path) -> None:
    """Remove folders that held nothing else, up to the folder of clips."""
    with suppress(OSError):  # the first that is not empty
        while folder != above:
            folder.rmdir()
            folder = folder.parent
