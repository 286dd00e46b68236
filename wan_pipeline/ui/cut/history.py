"""What a browser tab did to a cut, to be undone; and whether somebody else changed it since."""

from __future__ import annotations

from dataclasses import dataclass, field

from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.cut.cut import Cut

MAX_UNDO = 100


@dataclass
class History:
    """Of one cut in one tab. Its methods are called while the cut is locked.

    It changes in place: of clicks that follow each other fast, the second one is sent before the answer to the first.
    """

    seen: Cut | None = None
    """The cut as this tab last showed or made it; None before that."""
    past: list[Cut] = field(default_factory=list)
    """What it was before the edits of this tab, the oldest first."""
    future: list[Cut] = field(default_factory=list)
    """What it was before they were undone, the next one last."""

    def saw(self, now: Cut) -> None:
        """The cut is shown. What came before a change from elsewhere cannot be had back: it would undo that one."""
        if now != self.seen:
            self.seen = now
            self.past.clear()
            self.future.clear()

    def check(self, now: Cut) -> None:
        """Raises ProjectError if the cut is not the one that this tab shows."""
        if self.seen is not None and now != self.seen:
            raise ProjectError("The cut was changed elsewhere; it is shown again as it is now.")

    def edited(self, before: Cut, after: Cut) -> None:
        if after != before:
            self.past = [*self.past, before][-MAX_UNDO:]
            self.future.clear()
        self.seen = after

    def undone(self, now: Cut) -> None:
        self.seen = self.past.pop()
        self.future.append(now)

    def redone(self, now: Cut) -> None:
        self.seen = self.future.pop()
        self.past.append(now)
