"""What is said of a project's clips, in its bundle: comments with their marks, and verdicts, as one JSON file."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.clips.gallery.comments import MAX_CHARACTERS, Comments, Mark
from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.shots.shot import Verdict
from wan_pipeline.requests.limits import MAX_FRAMES
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.outside import OutsideDataError, Time, parse, parse_json, stored_time

MEMBER = "notes.json"
MAX_BYTES = 128 * 2**20
_IGNORE = ConfigDict(extra="ignore")

KeyId = Annotated[str, Field(pattern="^[0-9A-Za-z_-]{0,64}$")]
"""Of the guest who wrote it, for guests to be told apart; empty for the owner. It opens nothing."""


@dataclass(frozen=True)
class BundledComment:
    key: KeyId
    at: Time
    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
    frame: Annotated[int, Field(ge=0, le=MAX_FRAMES)] | None = None
    mark: Mark = ()
    done: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE


@dataclass(frozen=True)
class BundledVerdict:
    key: KeyId
    at: Time
    verdict: Verdict

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE


@dataclass(frozen=True)
class ClipNotes:
    """What is said of one clip, the oldest first."""

    clip: Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,64}$")]
    comments: Annotated[tuple[BundledComment, ...], Field(max_length=10_000)] = ()
    verdicts: Annotated[tuple[BundledVerdict, ...], Field(max_length=10_000)] = ()

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE


_Notes = Annotated[list[ClipNotes], Field(max_length=1_000_000)]


def notes_to_json(notes: Sequence[ClipNotes]) -> str:
    return json.dumps([asdict(each) for each in notes], default=_time, ensure_ascii=False, indent=1)


def read_notes_json(content: bytes) -> list[ClipNotes]:
    """Read what `notes_to_json` wrote, perhaps by anybody. Raises ProjectError for what no notes can be."""
    try:
        return parse(_Notes, parse_json(content, MAX_BYTES))  # type: ignore[arg-type]
    except OutsideDataError as error:
        raise ProjectError(f"The bundle's {MEMBER} cannot be read: {error}; export the project again.") from error


class BundledNotes:
    """Takes comments and verdicts out of a workspace, and into one whose gallery has their clips already."""

    def __init__(self, database: Database, comments: Comments) -> None:
        self._database, self._comments = database, comments

    def of(self, clip_ids: Sequence[str]) -> list[ClipNotes]:
        """What is said of these clips, without those of which nothing is."""
        comments, verdicts = defaultdict(list), defaultdict(list)
        for one in self._comments.of_clips(clip_ids):
            bundled = BundledComment(one.key_id, one.at, one.text, one.frame, one.mark, one.is_done)
            comments[one.clip_id].append(bundled)
        query = "SELECT * FROM verdicts WHERE clip_id IN (SELECT value FROM json_each(?)) ORDER BY id"
        with self._database.connection() as connection:
            for row in connection.execute(query, (json.dumps(list(clip_ids)),)):
                verdict = BundledVerdict(row["key_id"], stored_time(row["at"]), Verdict(row["verdict"]))
                verdicts[row["clip_id"]].append(verdict)
        said = dict.fromkeys((*comments, *verdicts))
        return [ClipNotes(clip, tuple(comments[clip]), tuple(verdicts[clip])) for clip in said]

    def add(self, notes: Sequence[ClipNotes], clip_ids: set[str]) -> int:
        """Add what is said of these clips, but what is there already. Returns how many other clips there were."""
        with self._database.transaction() as connection:
            for each in notes:
                if each.clip in clip_ids:
                    for comment in each.comments:
                        _insert_comment(connection, each.clip, comment)
                    for verdict in each.verdicts:
                        _insert_verdict(connection, each.clip, verdict)
        return sum(each.clip not in clip_ids for each in notes)


def _insert_comment(connection: sqlite3.Connection, clip: str, comment: BundledComment) -> None:
    known = (clip, comment.key, comment.at.isoformat(), comment.text)
    query = "SELECT 1 FROM comments WHERE clip_id = ? AND key_id = ? AND at = ? AND text = ?"
    if connection.execute(query, known).fetchone() is None:
        connection.execute(
            "INSERT INTO comments (clip_id, key_id, at, text, frame, mark, done) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*known, comment.frame, json.dumps(comment.mark) if comment.mark else "", comment.done),
        )


def _insert_verdict(connection: sqlite3.Connection, clip: str, verdict: BundledVerdict) -> None:
    """A reviewer has one verdict on a clip; one that is here stays."""
    query = "SELECT 1 FROM verdicts WHERE clip_id = ? AND key_id = ?"
    if connection.execute(query, (clip, verdict.key)).fetchone() is None:
        connection.execute(
            "INSERT INTO verdicts (clip_id, key_id, at, verdict) VALUES (?, ?, ?, ?)",
            (clip, verdict.key, verdict.at.isoformat(), verdict.verdict),
        )


def _time(value: Any) -> str:
    return str(value.isoformat())
