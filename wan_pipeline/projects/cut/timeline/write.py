"""A cut as a timeline for editors' programs: OTIO, EDL (CMX 3600) and Final Cut Pro's XML, by OpenTimelineIO.

A dissolve is centred on its cut: of N frames, N // 2 lie before it. Clips are shown up to the cut, and their other
frames of the dissolve are the material that the program finds in the media.
"""

from __future__ import annotations

import os
from collections.abc import Sequence as Many
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wan_pipeline.clips.export.order import START_HOUR
from wan_pipeline.clips.export.rates import frame_of
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.orders import CutFormat
from wan_pipeline.projects.cut.rendering.sequence import Piece, Sequence
from wan_pipeline.projects.cut.timeline.markers import Note, marker
from wan_pipeline.projects.cut.timeline.titles import card, title_tracks
from wan_pipeline.storage.files import whole_file

ADAPTERS = {CutFormat.OTIO: "otio_json", CutFormat.EDL: "cmx_3600", CutFormat.XML: "fcp_xml"}
"""What OpenTimelineIO calls the formats."""
OWN = "wan_studio"
"""Our metadata in OTIO files: of a clip its id, and the count of its first frame in the media."""


@dataclass(frozen=True)
class Media:
    """The file that a piece is seen in."""

    path: Path
    start: int = 0
    """The frame count of its timecode at its first frame."""
    handles: int = 0
    """Held frames before the clip's own first and after its last one."""
    reel: str = ""
    """Empty for the clip's own."""


@dataclass(frozen=True)
class Timeline:
    """What is written beside the pieces."""

    format: CutFormat
    """One that is a timeline."""
    start: int | None = None
    """The frame count of its timecode at its first frame; None for one hour."""
    notes: tuple[tuple[Note, ...], ...] = ()
    """What reviewers say of each piece; empty for none of any."""


def write_timeline(sequence: Sequence, media: Many[Media], timeline: Timeline, output: Path) -> Path:
    """Write the timeline; `media` has a file for each piece, named in it by its path from the timeline's folder.

    Raises RequestError for a rate that the format cannot count in, StorageError.
    """
    import opentimelineio as otio  # here: few need it

    if timeline.format is not CutFormat.OTIO:
        _check_rate(sequence.rate, timeline.format)
    made = _Writer(otio, sequence, timeline, output.parent).timeline(media)
    text = otio.adapters.write_to_string(made, ADAPTERS[timeline.format])
    with whole_file(output) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return output


def _check_rate(rate: Fraction, kind: CutFormat) -> None:
    """Raise RequestError for a rate without SMPTE timecode: both formats count by it."""
    from opentimelineio.opentime import RationalTime

    if not RationalTime.is_smpte_timecode_rate(float(rate)):
        raise RequestError(
            "fps",
            f"{kind.upper()} cannot count {rate} frames a second; choose --fps 24, 25, 30 or 24000/1001, or OTIO.",
        )


class _Writer:
    def __init__(self, otio: Any, sequence: Sequence, timeline: Timeline, folder: Path) -> None:
        self._otio, self._sequence, self._timeline, self._folder = otio, sequence, timeline, folder

    def timeline(self, media: Many[Media]) -> Any:
        otio, sequence = self._otio, self._sequence
        track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
        for number, (piece, file) in enumerate(zip(sequence.pieces, media, strict=True)):
            if piece.dissolve:
                track.append(self._dissolve(piece.dissolve))
            if piece.is_card:
                track.append(card(otio, piece, sequence.after(number), float(sequence.rate)))
                continue
            clip = self._clip(piece, file, sequence.after(number))
            if self._timeline.notes:
                origin = file.handles + (0 if self._timeline.format is CutFormat.XML else file.start)
                clip.markers.extend(marker(otio, note, origin, sequence.rate) for note in self._timeline.notes[number])
            track.append(clip)
        timeline = otio.schema.Timeline(sequence.name)
        start = self._timeline.start
        timeline.global_start_time = self._time(frame_of(START_HOUR, sequence.rate) if start is None else start)
        timeline.tracks.append(track)
        if self._timeline.format is not CutFormat.EDL:  # it has one track
            timeline.tracks.extend(title_tracks(otio, sequence))
        return timeline

    def _clip(self, piece: Piece, file: Media, after: int) -> Any:
        otio, source = self._otio, piece.source
        before = piece.dissolve // 2
        reference = otio.schema.ExternalReference(
            target_url=_url(file.path, self._folder),
            available_range=self._span(file.start, source.frames + 2 * file.handles),
        )
        first = file.start + file.handles
        seen = self._span(first + piece.first + before, piece.frames - before - (after - after // 2))
        clip = otio.schema.Clip(name=source.clip.stem, media_reference=reference, source_range=seen)
        clip.metadata["cmx_3600"] = {"reel": file.reel or source.reel}
        job = source.receipt.job if source.receipt else ""
        clip.metadata[OWN] = {"first_frame": first, **({"clip": job} if job else {})}
        return clip

    def _dissolve(self, frames: int) -> Any:
        schema = self._otio.schema
        before = frames // 2
        return schema.Transition(
            "Cross Dissolve", schema.TransitionTypes.SMPTE_Dissolve, self._time(before), self._time(frames - before)
        )

    def _time(self, frames: int) -> Any:
        return self._otio.opentime.RationalTime(frames, float(self._sequence.rate))

    def _span(self, start: int, frames: int) -> Any:
        return self._otio.opentime.TimeRange(self._time(start), self._time(frames))


def _url(path: Path, folder: Path) -> str:
    """Relative, so that the folder can go to another machine; on another drive of Windows there is no relative path."""
    try:
        return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:
        return path.resolve().as_uri()
