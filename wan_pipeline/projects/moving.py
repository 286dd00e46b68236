"""Clips that go from one project to another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.clips.receipt import load_receipt, receipt_beside, write_receipt
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked


@dataclass(frozen=True)
class Moved:
    """Where a clip was before it was moved."""

    clip_id: str
    project: str
    shot: int = 0
    """Number of the row of the shot whose take it was; 0 if it was none."""
    take: int = 0
    is_picked: bool = False


class ClipMoves:
    """Moves clips between the projects of a workspace: all of them or, on an error, none.

    Their files keep their names and places; the receipts beside them, which the gallery goes by, name the project.
    """

    def __init__(self, database: Database, gallery: Gallery, check_main_app: CheckMainApp = unchecked) -> None:
        self._database, self._gallery, self._check_main_app = database, gallery, check_main_app

    @main_app_only
    def move(self, clip_ids: Iterable[str], label: str) -> tuple[Moved, ...]:
        """Give clips to the project with this label, and return where those of another one were.

        They are takes of the other project's shots no more. Raises ReceiptError, StorageError.
        """
        clips = [clip for clip in self._gallery.existing(clip_ids) if clip.project != label]
        with ExitStack() as on_error:
            with self._database.transaction() as connection:
                moved = tuple(_place_of(connection, clip) for clip in clips)
                for clip in clips:
                    _give(connection, on_error, clip, label)
                    connection.execute("UPDATE shots SET picked = '' WHERE picked = ?", (clip.id,))
                    connection.execute("DELETE FROM takes WHERE id = ?", (clip.id,))
            on_error.pop_all()
        return moved

    @main_app_only
    def put_back(self, moved: Sequence[Moved]) -> int:
        """Undo a move, and return how many clips came back. Raises ReceiptError, StorageError.

        A clip is the take again that it was, unless its shot or its number is gone meanwhile.
        """
        places = {each.clip_id: each for each in moved}
        clips = self._gallery.existing(places)
        with ExitStack() as on_error:
            with self._database.transaction() as connection:
                for clip in clips:
                    _give(connection, on_error, clip, places[clip.id].project)
                    _take_again(connection, places[clip.id])
            on_error.pop_all()
        return len(clips)


def _give(connection: sqlite3.Connection, on_error: ExitStack, clip: Clip, label: str) -> None:
    """Write the project of a clip; `on_error` writes its receipt as it was."""
    receipt = receipt_beside(clip.path) or load_receipt(clip.path)
    on_error.callback(write_receipt, receipt, clip.path)
    write_receipt(replace(receipt, project=label), clip.path)
    connection.execute("UPDATE clips SET project = ? WHERE id = ?", (label, clip.id))
    connection.execute("UPDATE jobs SET project = ? WHERE id = ?", (label, clip.id))


def _place_of(connection: sqlite3.Connection, clip: Clip) -> Moved:
    take = connection.execute("SELECT shot, take FROM takes WHERE id = ?", (clip.id,)).fetchone()
    picked = connection.execute("SELECT 1 FROM shots WHERE picked = ?", (clip.id,)).fetchone()
    place = (take["shot"], take["take"], picked is not None) if take else ()
    return Moved(clip.id, clip.project, *place)


def _take_again(connection: sqlite3.Connection, place: Moved) -> None:
    added = connection.execute(
        "INSERT OR IGNORE INTO takes (id, shot, take) SELECT ?1, number, ?3 FROM shots WHERE number = ?2",
        (place.clip_id, place.shot, place.take),
    )
    if added.rowcount and place.is_picked:
        own = "UPDATE shots SET picked = ? WHERE number = ? AND picked = ''"
        connection.execute(own, (place.clip_id, place.shot))
