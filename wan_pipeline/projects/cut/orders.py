"""How a cut is to be written, and what came of it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

from wan_pipeline.clips.export.order import MAX_HANDLES
from wan_pipeline.clips.export.source import REEL_CHARACTERS, Source
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.rendering.sequence import Sequence

MEDIA = "prores"
"""Format of media that a timeline needs where none was chosen."""


class CutFormat(StrEnum):
    OTIO = "otio"
    EDL = "edl"
    XML = "xml"
    MP4 = "mp4"
    PRORES = "prores"

    @property
    def is_timeline(self) -> bool:
        return self in (CutFormat.OTIO, CutFormat.EDL, CutFormat.XML)

    @property
    def ending(self) -> str:
        return ".mov" if self is CutFormat.PRORES else f".{self}"

    @property
    def sentence(self) -> str:
        """What it is for, for a person who chooses."""
        return {
            CutFormat.OTIO: "A timeline with dissolves, titles and reviewers' notes: Resolve, Nuke Studio, Hiero.",
            CutFormat.EDL: "An edit list of CMX 3600, with reels and notes, for older systems; it has no titles.",
            CutFormat.XML: "Final Cut Pro 7 XML, with titles as text: Premiere, After Effects, Resolve.",
            CutFormat.MP4: "One video, H.264 with 8 bits, with sound; plays everywhere.",
            CutFormat.PRORES: "One video, ProRes 422 HQ with 10 bits from the latents, without sound.",
        }[self]


class Reels(StrEnum):
    """What a clip's reel is called."""

    ID = "id"
    """The first characters of the clip's id."""
    NAME = "name"
    """The first letters and digits of its file's name."""

    def of(self, source: Source) -> str:
        if self is Reels.ID:
            return source.reel
        return re.sub(r"[^A-Z0-9]", "", source.clip.stem.upper())[:REEL_CHARACTERS] or source.reel


@dataclass(frozen=True)
class Program:
    """What a program is best given."""

    id: str
    title: str
    format: CutFormat
    media: str
    """Format of the media made beside a timeline; empty for one video."""
    sentence: str


PROGRAMS = {
    each.id: each
    for each in (
        Program(
            "resolve",
            "DaVinci Resolve",
            CutFormat.OTIO,
            "dnxhr",
            "OpenTimelineIO with DNxHR: File, Import, Timeline. Reads on Linux too.",
        ),
        Program(
            "premiere",
            "Premiere Pro",
            CutFormat.XML,
            "prores",
            "Final Cut Pro XML with ProRes: File, Import. Titles come as text.",
        ),
        Program(
            "nuke",
            "Nuke Studio",
            CutFormat.OTIO,
            "prores",
            "OpenTimelineIO with ProRes: File, Import Sequence. Single clips go to Nuke as EXR, from the gallery.",
        ),
        Program(
            "aftereffects",
            "After Effects",
            CutFormat.XML,
            "prores",
            "Final Cut Pro XML with ProRes: File, Import, Pro Import After Effects.",
        ),
        Program("web", "Web", CutFormat.MP4, "", "One MP4 with H.264, which plays everywhere."),
    )
}


@dataclass(frozen=True)
class CutOrder:
    """How to write a cut."""

    format: CutFormat
    output: Path
    rate: Fraction | None = None
    """None for the cut's own."""
    handles: int = 0
    """Held frames around each clip in media of its own."""
    media: str = ""
    """Format of files made for a timeline, beside it; empty for the clips' MP4s as they are."""
    timecode: str = ""
    """Of a timeline's first frame; empty for 01:00:00:00."""
    reels: Reels = Reels.ID

    def __post_init__(self) -> None:
        """Raises RequestError."""
        if not 0 <= self.handles <= MAX_HANDLES:
            raise RequestError("handles", f"{self.handles} handles are not possible; choose 0 to {MAX_HANDLES} frames.")

    def media_for(self, sequence: Sequence) -> str:
        """The format of the files made for a timeline of this cut; empty where the clips' own serve."""
        if not self.format.is_timeline:
            return ""
        return self.media or (MEDIA if self.handles or sequence.has_other_rates else "")

    def check_output(self) -> None:
        """Raise RequestError for a name with another ending, and for what one video has not."""
        if self.output.suffix.lower() != self.format.ending or self.output.is_dir():
            raise RequestError(
                "output", f"{self.output} is no name for {self.format}; choose one that ends in {self.format.ending}."
            )
        if self.handles and not self.format.is_timeline:
            raise RequestError("handles", "One video of a cut has no handles; export otio, edl or xml with them.")
        if self.timecode and not self.format.is_timeline:
            raise RequestError(
                "timecode", "One video of a cut begins at 01:00:00:00; leave the timecode out, or export a timeline."
            )


@dataclass(frozen=True)
class CutExported:
    path: Path
    frames: int
    fps: str
    clips: int
    media: tuple[Path, ...] = ()
    """The files that a timeline names."""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        media = [str(path.resolve()) for path in self.media]
        return {**asdict(self), "path": str(self.path.resolve()), "media": media, "warnings": list(self.warnings)}
