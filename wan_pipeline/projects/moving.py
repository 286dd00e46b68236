"""Clips that go from one project to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.receipt import load_receipt, receipt_beside, write_receipt
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked


class ClipMoves:
    """Moves clips between the projects of a workspace."""

    def __init__(self, database: Database, gallery: Gallery, check_main_app: CheckMainApp = unchecked) -> None:
        self._database, self._gallery, self._check_main_app = database, gallery, check_main_app

    @main_app_only
    def move(self, clip_ids: Iterable[str], label: str) -> int:
        """Give clips to the project with this label, and return how many were of another one.

        Their files keep their names and places; the receipts beside them, which the gallery goes by, name the project.
        They are takes of the other project's shots no more. Raises ReceiptError, StorageError.
        """
        clips = [clip for clip in self._gallery.existing(clip_ids) if clip.project != label]
        for clip in clips:
            receipt = receipt_beside(clip.path) or load_receipt(clip.path)
            write_receipt(replace(receipt, project=label), clip.path)
            with self._database.transaction() as connection:
                connection.execute("UPDATE clips SET project = ? WHERE id = ?", (label, clip.id))
                connection.execute("UPDATE jobs SET project = ? WHERE id = ?", (label, clip.id))
                connection.execute("UPDATE shots SET picked = '' WHERE picked = ?", (clip.id,))
                connection.execute("DELETE FROM takes WHERE id = ?", (clip.id,))
        return len(clips)
