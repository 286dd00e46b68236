"""Comments on clips, by the owner and by guests, of the whole clip or of one frame."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from wan_pipeline.errors import UserError
from wan_pipeline.requests.limits import MAX_FRAMES
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.outside import OutsideDataError, parse, printable, stored_json, stored_time

MAX_CHARACTERS = 1000
MAX_COMMENTS = 50
"""Comments of one key on one clip, so that a guest can neither fill the disk nor crowd out others."""


MAX_POINTS = 2000
"""Points of a drawn mark."""
Share = Annotated[float, Field(ge=0, le=1)]
Mark = Annotated[tuple[tuple[Share, Share], ...], Field(max_length=MAX_POINTS)]
"""Points of a line that was drawn on a frame, as shares of its width and height."""


@dataclass(frozen=True)
class Comment:
    key_id: str
    """Key of the guest who wrote it; empty for the owner's."""
    at: datetime
    text: str
    id: int = 0
    clip_id: str = ""
    frame: int | None = None
    """The frame that it is about, from 0; None for the whole clip."""
    mark: Mark = ()
    is_done: bool = False
    """The owner has marked it as done."""


class Comments:
    """The comments of one workspace. Every method raises StorageError when the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, clip_id: str, text: str, key_id: str = "", frame: int | None = None, mark: object = ()) -> None:
        """Raises UserError for a comment that is empty or too long, for one too many, and for no frame or mark."""
        text, drawn = printable(text).strip(), _read_mark(mark)
        if frame is not None and not 0 <= frame <= MAX_FRAMES:
            raise UserError(f"There is no frame {frame}; frames are counted from 0.")
        if not text or len(text) > MAX_CHARACTERS:
            raise UserError(f"A comment has 1 to {MAX_CHARACTERS:,} characters, and this one {len(text):,}.")
        with self._database.transaction() as connection:
            own = "SELECT count(*) FROM comments WHERE clip_id = ? AND key_id = ?"
            if connection.execute(own, (clip_id, key_id)).fetchone()[0] >= MAX_COMMENTS:
                raise UserError(f"You have written {MAX_COMMENTS} comments on this clip, the most there can be.")
            connection.execute(
                "INSERT INTO comments (clip_id, key_id, at, text, frame, mark) VALUES (?, ?, ?, ?, ?, ?)",
                (clip_id, key_id, datetime.now(UTC).isoformat(), text, frame, json.dumps(drawn) if drawn else ""),
            )

    def mark_done(self, comment_id: int, done: bool) -> None:
        """Mark a comment as done, or open it again."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE comments SET done = ? WHERE id = ?", (done, comment_id))

    def of_clip(self, clip_id: str) -> list[Comment]:
        """The oldest first."""
        return self.of_clips([clip_id])

    def of_clips(self, clip_ids: Iterable[str]) -> list[Comment]:
        """Comments on several clips, the oldest first."""
        query = "SELECT * FROM comments WHERE clip_id IN (SELECT value FROM json_each(?)) ORDER BY id"
        with self._database.connection() as connection:
            rows = connection.execute(query, (json.dumps(list(clip_ids)),)).fetchall()
        return [
            Comment(
                key_id=row["key_id"],
                at=stored_time(row["at"]),
                text=row["text"],
                id=row["id"],
                clip_id=row["clip_id"],
                frame=row["frame"],
                mark=stored_json(Mark, row["mark"], ()) if row["mark"] else (),  # type: ignore[arg-type]
                is_done=bool(row["done"]),
            )
            for row in rows
        ]


def _read_mark(mark: object) -> Mark:
    try:
        return parse(Mark, mark)  # type: ignore[arg-type]  # an annotated tuple
    except OutsideDataError as error:
        raise UserError(f"The mark cannot be read ({error}); draw it again.") from error
