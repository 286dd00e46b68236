"""Comments on clips, by the owner and by guests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from wan_pipeline.errors import UserError
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.outside import printable, stored_time

MAX_CHARACTERS = 1000
MAX_COMMENTS = 50
"""Of one key on one clip, so that a guest can neither fill the disk nor leave no place for others."""


@dataclass(frozen=True)
class Comment:
    key_id: str
    """Of the guest who wrote it; empty for the owner's."""
    at: datetime
    text: str


class Comments:
    """Of one workspace. Every method raises StorageError when the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, clip_id: str, text: str, key_id: str = "") -> None:
        """Raises UserError for a comment that is empty or too long, and for one too many."""
        text = printable(text).strip()
        if not text or len(text) > MAX_CHARACTERS:
            raise UserError(f"A comment has 1 to {MAX_CHARACTERS:,} characters, and this one {len(text):,}.")
        with self._database.transaction() as connection:
            own = "SELECT count(*) FROM comments WHERE clip_id = ? AND key_id = ?"
            if connection.execute(own, (clip_id, key_id)).fetchone()[0] >= MAX_COMMENTS:
                raise UserError(f"You have written {MAX_COMMENTS} comments on this clip, the most there can be.")
            connection.execute(
                "INSERT INTO comments (clip_id, key_id, at, text) VALUES (?, ?, ?, ?)",
                (clip_id, key_id, datetime.now(UTC).isoformat(), text),
            )

    def of_clip(self, clip_id: str) -> list[Comment]:
        """The oldest first."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT * FROM comments WHERE clip_id = ? ORDER BY id", (clip_id,)).fetchall()
        return [Comment(row["key_id"], stored_time(row["at"]), row["text"]) for row in rows]
