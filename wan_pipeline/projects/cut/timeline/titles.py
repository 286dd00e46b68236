"""Titles as clips of text generators, on video tracks above the pictures."""

from __future__ import annotations

from typing import Any

from wan_pipeline.projects.cut.cut import Title
from wan_pipeline.projects.cut.sequence import Sequence

GENERATOR = "Text"
"""Final Cut Pro's name of it, which Premiere and Resolve read."""


def title_tracks(otio: Any, sequence: Sequence) -> list[Any]:
    """As many tracks as there are titles at the same time."""
    tracks: list[Any] = []
    ends: list[int] = []
    rate = float(sequence.rate)
    for piece, at in zip(sequence.pieces, sequence.starts, strict=True):
        first, end = piece.title_span
        if piece.title is None or first == end:
            continue
        start = at + first
        number = next((number for number, taken in enumerate(ends) if taken <= start), len(tracks))
        if number == len(tracks):
            tracks.append(otio.schema.Track(f"V{number + 2}", kind=otio.schema.TrackKind.Video))
            ends.append(0)
        if start > ends[number]:
            tracks[number].append(otio.schema.Gap(duration=otio.opentime.RationalTime(start - ends[number], rate)))
        tracks[number].append(_clip(otio, piece.title, end - first, rate))
        ends[number] = start + end - first
    return tracks


def _clip(otio: Any, title: Title, frames: int, rate: float) -> Any:
    time = otio.opentime.RationalTime
    span = otio.opentime.TimeRange(time(0, rate), time(frames, rate))
    words = {"parameterid": "str", "name": "Text", "value": title.text}
    place = {"parameterid": "place", "name": "Place", "value": title.place.value}
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
        parameters={"text": title.text, "place": title.place.value},
        metadata={"fcp_xml": for_final_cut},
    )
    return otio.schema.Clip(name=" ".join(title.text.split()), media_reference=reference, source_range=span)
