"""What the Shots room shows, as HTML: values are prepared here, words and markup are in the templates.

A button's `data-act` names what it does. The nearest `data-clip` holds the row number of a shot, or the id of a take.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wan_pipeline.clips.gallery.comments import Comment
from wan_pipeline.projects.shots.shot import Shot, ShotStatus, Take
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.ui.common.templates import Templates

PAGE_SIZE = 100


@dataclass(frozen=True)
class ShotFilter:
    """Which shots to show. Empty texts match all; each word must be in the shot's texts."""

    text: str = ""
    status: str = ""
    scene: str = ""

    def matches(self, shot: Shot) -> bool:
        words = f"{shot.address} {shot.description} {shot.notes}".casefold()
        is_found = all(word in words for word in self.text.casefold().split())
        return is_found and self.status in ("", shot.status) and self.scene in ("", shot.scene)


def head(templates: Templates, title: str, shots: Sequence[Shot], unfinished: int, *, is_table: bool) -> str:
    """How far the project is, and what can be done to all of its shots. `unfinished`: picked takes without a final."""
    counts = Counter(shot.status for shot in shots)
    states = [(status, counts[status]) for status in ShotStatus if counts[status]]
    return templates.render(
        "shots/head.html", title=title, count=len(shots), states=states, unfinished=unfinished,
        open_shots=sum(not shot.takes for shot in shots), is_table=is_table,
    )  # fmt: skip


def board(templates: Templates, shots: Sequence[Shot], total: int, offset: int, *, is_filtered: bool,
          chosen: Collection[str] = ()) -> str:  # fmt: skip
    """One page of the shots, a row each with all takes. `total` are those that match the filters.

    `chosen` are the ids of takes in the bar.
    """
    return _page(templates, "board", shots, total, offset, is_filtered, chosen)


def table(templates: Templates, shots: Sequence[Shot], total: int, offset: int, *, is_filtered: bool,
          chosen: Collection[str] = ()) -> str:  # fmt: skip
    """As `board`, a line each, with the take that stands for the shot: its final, its pick, or its newest draft."""
    return _page(templates, "table", shots, total, offset, is_filtered, chosen)


def _page(templates: Templates, kind: str, shots: Sequence[Shot], total: int, offset: int, is_filtered: bool,
          chosen: Collection[str]) -> str:  # fmt: skip
    return templates.render(
        "shots/page.html", kind=kind, shots=shots, total=total, offset=offset, page_size=PAGE_SIZE,
        is_filtered=is_filtered, chosen=chosen,
    )  # fmt: skip


def again(templates: Templates, subject: str, title: str, value: str = "", text: str = "", count: int = 0) -> str:
    """The dialog that makes takes with some settings changed; with `count` and `text` how many and how long."""
    return templates.render("shots/again.html", subject=subject, title=title, value=value, text=text, count=count)


def confirm(templates: Templates, act: str, text: str, label: str, subject: str = "", notes: Sequence[str] = (),
            other: tuple[str, str] | None = None) -> str:  # fmt: skip
    """What is about to be done, to `subject` if to one shot or take alone, and the button that does it.

    `other` is another way to do it: what it does, and its label.
    """
    return templates.render(
        "shots/confirm.html", act=act, text=text, label=label, subject=subject, notes=notes, other=other
    )


def edit(templates: Templates, shot: Shot) -> str:
    """The texts of a shot."""
    return templates.render("shots/edit.html", shot=shot)


def viewer(templates: Templates, shot: Shot, take: Take, comments: Sequence[Comment], facts: str,
           request: GenerationRequest) -> str:  # fmt: skip
    """One take, large, with what reviewers say of it, and the marks that they drew."""
    said = [(comment, json.dumps(comment.mark) if comment.mark else "") for comment in comments]
    ratio = f"{request.width / request.height:.5f}"
    return templates.render(
        "shots/viewer.html", shot=shot, take=take, comments=said, facts=facts, fps=request.fps, ratio=ratio
    )
