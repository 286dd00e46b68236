"""A shot of a project and its takes, as they are now."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from wan_pipeline.jobs.job import PROBLEMS, RUNNING, JobState


class ShotStatus(StrEnum):
    """How far a shot is, in this order."""

    OPEN = "open"
    """No take is finished."""
    DRAFT = "draft"
    PICKED = "picked"
    FINAL = "final"
    """The picked take was made again by the project's final profile."""
    APPROVED = "approved"
    """A reviewer or the owner approved the final, or the picked take where there is no final."""


class Verdict(StrEnum):
    """What a reviewer says of a clip."""

    APPROVED = "approved"
    CHANGES = "changes"
    """Changes are asked for."""


@dataclass(frozen=True)
class Take:
    """A clip of a shot, made or to be made."""

    id: str
    """Id of its job and of its clip."""
    number: int
    state: JobState
    seed: int
    clip: Path | None = None
    """None until it is finished, and where its files are gone or in the bin."""
    poster: Path | None = None
    rating: int = 0
    """From 1 to 5; 0 for none."""
    is_rejected: bool = False
    final_of: str = ""
    """Id of the draft that it is the final of; empty for a draft."""
    verdict: Verdict | None = None
    """The newest one."""

    @property
    def is_done(self) -> bool:
        return self.clip is not None

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def has_failed(self) -> bool:
        return self.state in PROBLEMS


@dataclass(frozen=True)
class NewShot:
    """What is said of a shot when it is made."""

    shot: str
    scene: str = ""
    description: str = ""
    notes: str = ""
    settings: str = "{}"
    """Settings of its clips, as `settings.to_json` writes them."""


@dataclass(frozen=True)
class Shot:
    """One shot. Its id is unique in its scene."""

    number: int
    """Row number, which stays when the shot is renumbered."""
    project: str
    """Label of its project; empty for the default project."""
    scene: str
    shot: str
    description: str
    notes: str
    settings: str
    picked: str
    """Id of the picked take; empty for none."""
    takes: tuple[Take, ...] = field(default=())
    """Takes by number, without those that were cancelled or whose clips are gone."""

    @property
    def address(self) -> str:
        """As people write it: `12/010`, or `010` for a shot of no scene."""
        return f"{self.scene}/{self.shot}" if self.scene else self.shot

    @property
    def done(self) -> tuple[Take, ...]:
        return tuple(take for take in self.takes if take.is_done)

    @property
    def picked_take(self) -> Take | None:
        return next((take for take in self.done if take.id == self.picked), None)

    @property
    def final_take(self) -> Take | None:
        """The newest final of the picked take, or that take if it is a final itself."""
        if (picked := self.picked_take) and picked.final_of:
            return picked
        finals = [take for take in self.done if self.picked and take.final_of == self.picked]
        return finals[-1] if finals and self.picked_take else None

    @property
    def shown_take(self) -> Take | None:
        """The take that stands for the shot in a review: its final, else the picked one."""
        return self.final_take or self.picked_take

    @property
    def newest_draft(self) -> Take | None:
        """The newest finished take that is neither rejected nor a final."""
        drafts = [take for take in self.done if not take.is_rejected and not take.final_of]
        return drafts[-1] if drafts else None

    @property
    def status(self) -> ShotStatus:
        if (shown := self.shown_take) is not None:
            if shown.verdict is Verdict.APPROVED:
                return ShotStatus.APPROVED
            return ShotStatus.FINAL if self.final_take else ShotStatus.PICKED
        return ShotStatus.DRAFT if self.done else ShotStatus.OPEN
