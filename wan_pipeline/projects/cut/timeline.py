"""A cut as a timeline for editors' programs: OTIO, EDL (CMX 3600) and Final Cut Pro's XML, by OpenTimelineIO."""

from __future__ import annotations

import os
from collections.abc import Sequence as Many
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wan_pipeline.clips.export.order import START_HOUR
from wan_pipeline.clips.export.rates import frame_of
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.sequence import Sequence
from wan_pipeline.storage.files import whole_file


class TimelineKind(StrEnum):
    OTIO = "otio"
    EDL = "edl"
    XML = "xml"


_ADAPTERS = {TimelineKind.OTIO: "otio_json", TimelineKind.EDL: "cmx_3600", TimelineKind.XML: "fcp_xml"}


@dataclass(frozen=True)
class Media:
    """The file that a piece is seen in."""

    path: Path
    start: int = 0
    """The frame count of its timecode at its first frame."""
    handles: int = 0
    """Held frames before the clip's own first and after its last one."""


def write_timeline(sequence: Sequence, media: Many[Media], kind: TimelineKind, output: Path) -> Path:
    """Write the timeline; `media` has a file for each piece, named in it by its path from the timeline's folder.

    Raises RequestError for a rate that the format cannot count in, StorageError.
    """
    import opentimelineio as otio  # here: few need it

    if kind is not TimelineKind.OTIO:
        _check_rate(sequence.rate, kind)
    timeline = _timeline(otio, sequence, media, output.parent)
    text = otio.adapters.write_to_string(timeline, _ADAPTERS[kind])
    with whole_file(output) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return output


def _check_rate(rate: Fraction, kind: TimelineKind) -> None:
    """Raise RequestError for a rate without SMPTE timecode: both formats count by it."""
    from opentimelineio.opentime import RationalTime

    if not RationalTime.is_smpte_timecode_rate(float(rate)):
        raise RequestError(
            "fps",
            f"{kind.upper()} cannot count {rate} frames a second; choose --fps 24, 25, 30 or 24000/1001, or OTIO.",
        )


def _timeline(otio: Any, sequence: Sequence, media: Many[Media], folder: Path) -> Any:
    rate = float(sequence.rate)

    def time(frames: int) -> Any:
        return otio.opentime.RationalTime(frames, rate)

    def span(start: int, frames: int) -> Any:
        return otio.opentime.TimeRange(time(start), time(frames))

    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    for piece, file in zip(sequence.pieces, media, strict=True):
        reference = otio.schema.ExternalReference(
            target_url=_url(file.path, folder),
            available_range=span(file.start, piece.source.frames + 2 * file.handles),
        )
        clip = otio.schema.Clip(
            name=piece.source.clip.stem,
            media_reference=reference,
            source_range=span(file.start + file.handles + piece.first, piece.frames),
        )
        clip.metadata["cmx_3600"] = {"reel": piece.source.reel}
        if piece.source.receipt and piece.source.receipt.job:
            clip.metadata["wan_studio"] = {"clip": piece.source.receipt.job}
        track.append(clip)
    timeline = otio.schema.Timeline(sequence.name)
    timeline.global_start_time = time(frame_of(START_HOUR, sequence.rate))
    timeline.tracks.append(track)
    return timeline


def _url(path: Path, folder: Path) -> str:
    """Relative, so that the folder can go to another machine; on another drive of Windows there is no relative path."""
    try:
        return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:
        return path.resolve().as_uri()
