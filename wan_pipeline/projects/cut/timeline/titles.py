"""Titles as clips of text generators, on video tracks above the pictures; title cards, among the pictures."""

from __future__ import annotations

from typing import Any

from wan_pipeline.projects.cut.cut import TitlePlace
from wan_pipeline.projects.cut.rendering.sequence import Piece, Sequence

GENERATOR = "Text"
"""Final Cut Pro's name of it, which Premiere and Resolve read."""


def title_tracks(otio: Any, sequence: Sequence) -> list[Any]:
    """As many tracks as there are titles at the same time."""
    tracks: list[Any] = []
    ends: list[int] = []
    rate = float(sequence.rate)
    for piece, at in zip(sequence.pieces, sequence.starts, strict=True):
        first, end = piece.title_span
        if piece.title is None or piece.is_card or first == end:
            continue
        start = at + first
        number = next((number for number, taken in enumerate(ends) if taken <= start), len(tracks))
        if number == len(tracks):
            tracks.append(otio.schema.Track(f"V{number + 2}", kind=otio.schema.TrackKind.Video))
            ends.append(0)
        if start > ends[number]:
            tracks[number].append(otio.schema.Gap(duration=otio.opentime.RationalTime(start - ends[number], rate)))
        tracks[number].append(_clip(otio, piece.title.text, piece.title.place, end - first, rate))
        ends[number] = start + end - first
    return tracks


def card(otio: Any, piece: Piece, after: int, rate: float) -> Any:
    """A title card on the track of the clips; an EDL knows it as black. `after`: of the dissolve behind it."""
    time, before = otio.opentime.RationalTime, piece.dissolve // 2
    text, place = (piece.title.text, piece.title.place) if piece.title else ("", TitlePlace.CENTRE)
    clip = _clip(otio, text, place, piece.frames, rate)
    seen = piece.frames - before - (after - after // 2)
    clip.source_range = otio.opentime.TimeRange(time(before, rate), time(seen, rate))
    clip.name = piece.name
    clip.metadata["cmx_3600"] = {"reel": "BL"}
    return clip


def _clip(otio: Any, text: str, at: TitlePlace, frames: int, rate: float) -> Any:
    time = otio.opentime.RationalTime
    span = otio.opentime.TimeRange(time(0, rate), time(frames, rate))
    words = {"parameterid": "str", "name": "Text", "value": text}
    place = {"parameterid": "place", "name": "Place", "value": at.value}
    for_final_cut = {
        "effecttype": "generator",
        "mediatype": "video",
        "effectcategory": "Text",
        "parameter": [words, place],
    }
    reference = otio.schema.GeneratorReference(
        name=GENERATOR,
        generator_kind=GENERATOR,
        available_range=span,
        parameters={"text": text, "place": at.value},
        metadata={"fcp_xml": for_final_cut},
    )
    return otio.schema.Clip(name=" ".join(text.split()), media_reference=reference, source_range=span)
