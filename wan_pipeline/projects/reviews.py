"""Reviews: the picked takes of a project in the order of its shots, what is said of them, and who approves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.clips.gallery.comments import Comment, Comments
from wan_pipeline.clips.sheets.review import ReviewPage, write_review
from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.shot import Shot, Take, Verdict
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import whole_file

COLUMNS = ("scene", "shot", "take", "status", "verdict", "frame", "author", "at", "done", "comment", "clip")
ENDINGS = (".pdf", ".csv")


@dataclass(frozen=True)
class ReviewedShot:
    """A shot with the take that stands for it: its final, else the picked one."""

    shot: Shot
    take: Take
    clip: Clip
    earlier: tuple[Take, ...]
    """Takes that stood for it before: the draft of a final."""


class Reviews:
    """Every method raises StorageError when the database cannot be used."""

    def __init__(self, database: Database, shots: Shots, gallery: Gallery, comments: Comments) -> None:
        self._database, self._shots, self._gallery, self._comments = database, shots, gallery, comments

    def reel(self, project: str) -> list[ReviewedShot]:
        """The shots of a project that have a picked take, in their order."""
        shown = [(shot, take) for shot in self._shots.all(project) if (take := shot.shown_take)]
        clips = {clip.id: clip for clip in self._gallery.existing(take.id for _, take in shown)}
        return [
            ReviewedShot(shot, take, clips[take.id], tuple(each for each in shot.done if each.id == take.final_of))
            for shot, take in shown
            if take.id in clips
        ]

    def decide(self, clip_id: str, verdict: Verdict, key_id: str = "") -> None:
        """Approve a clip, or ask for changes; the newest verdict counts. `key_id` is a guest's, "" the owner."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM verdicts WHERE clip_id = ? AND key_id = ?", (clip_id, key_id))
            connection.execute(
                "INSERT INTO verdicts (clip_id, key_id, at, verdict) VALUES (?, ?, ?, ?)",
                (clip_id, key_id, datetime.now(UTC).isoformat(), verdict),
            )

    def export(self, project: str, target: Path) -> int:
        """Write all that is said of a project's picked takes, PDF or CSV. Returns how many shots.

        Raises UserError for another ending, or nothing to review.
        """
        if target.suffix.lower() not in ENDINGS:
            raise UserError(f"The review {target} has no such format; choose a name that ends in .pdf or .csv.")
        reel = self.reel(project)
        if not reel:
            raise UserError(
                f"The project '{project or 'default'}' has no picked takes to review; pick some by `shots pick`."
            )
        if target.suffix.lower() == ".csv":
            self._write_csv(reel, target)
        else:
            write_review([self._page(each) for each in reel], project or "Default project", target)
        return len(reel)

    def comments_of(self, each: ReviewedShot) -> list[Comment]:
        """What is said of the take that stands for the shot."""
        return self._comments.of_clip(each.take.id)

    def _write_csv(self, reel: list[ReviewedShot], target: Path) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in reel:
            for row in self._rows(each):
                writer.writerow([_harmless(cell) for cell in row])
        with whole_file(target) as part:
            part.write_text("\ufeff" + text.getvalue(), encoding="utf-8", newline="")  # so that Excel reads UTF-8

    def _rows(self, each: ReviewedShot) -> Iterator[tuple[object, ...]]:
        """One row for each comment, and one for a shot without any."""
        shot, take = each.shot, each.take
        head = (shot.scene, shot.shot, take.number, shot.status, take.verdict or "")
        said_of: list[Comment | None] = [*self.comments_of(each)] or [None]
        for comment in said_of:
            said = (
                (
                    comment.frame,
                    author_of(comment),
                    comment.at.isoformat(timespec="seconds"),
                    comment.is_done,
                    comment.text,
                )
                if comment
                else ("", "", "", "", "")
            )
            yield (*head, *("" if cell is None else cell for cell in said), each.clip.path.name)

    def _page(self, each: ReviewedShot) -> ReviewPage:
        shot, take = each.shot, each.take
        verdict = {Verdict.APPROVED: "approved", Verdict.CHANGES: "changes asked for", None: "no verdict"}[take.verdict]
        return ReviewPage(
            clip=each.clip.path,
            poster=each.clip.poster,
            heading=f"{shot.address}  take {take.number}{'  final' if take.final_of else ''}",
            verdict=verdict,
            text=shot.description,
            comments=tuple((author_of(comment), comment) for comment in self.comments_of(each)),
        )


def author_of(comment: Comment) -> str:
    """Who wrote a comment, for people."""
    return f"Guest {comment.key_id[:4]}" if comment.key_id else "Owner"


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would take for a formula, written so that it does not."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
