"""Reads a timeline of an editor's program: what of the studio's clips it shows, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

from wan_pipeline.clips.export.rates import parse_rate
from wan_pipeline.errors import ProjectError, RequestError
from wan_pipeline.projects.cut.cut import MAX_ITEMS, MAX_TITLE
from wan_pipeline.projects.cut.orders import CutFormat
from wan_pipeline.projects.cut.rendering.sequence import BLACK
from wan_pipeline.projects.cut.timeline.write import ADAPTERS, OWN
from wan_pipeline.storage.outside import parse_json, printable

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 200
"""Levels of lists and tables. A clip's times are at 10, each nested sequence adds 4; metadata may have dozens."""


@dataclass(frozen=True)
class Event:
    """A clip of a timeline. Frames are counted as the timeline counts the media."""

    name: str
    file: str
    """Name of its media without folder and ending; empty where none is named."""
    id: str
    """Of the studio's clip, where the timeline kept it."""
    reel: str
    first: int
    frames: int
    rate: Fraction
    folders: tuple[str, ...] = ()
    """Names of the folders that its media lies in, the outermost first; empty where only a file's name is given."""
    own_first: int | None = None
    """The count of the clip's first frame, where the timeline kept it."""
    media: tuple[int, int] | None = None
    """The count of the media's first frame, and how many there are."""
    dissolve: int = 0
    """From the event before."""
    card: tuple[str, str] | None = None
    """Of a title card, which is no clip: its words, perhaps none, and their place."""


@dataclass(frozen=True)
class TitleEvent:
    text: str
    place: str
    start: int
    """The frame of the timeline, from 0."""
    frames: int


@dataclass(frozen=True)
class ReadTimeline:
    rate: Fraction
    events: tuple[Event, ...]
    titles: tuple[TitleEvent, ...]
    notes: tuple[str, ...]
    """What of it was left out, a sentence each."""
    has_titles: bool = True
    """Whether its format can hold titles."""


def read_timeline(file: Path, rate: Fraction) -> ReadTimeline:
    """Read an OTIO, EDL or XML file by its ending; an EDL is counted at `rate`. Nothing that it names is opened.

    Raises ProjectError for a file that is not a timeline, or holds no clips.
    """
    import opentimelineio as otio  # here: few need it

    kind = next((form for form in ADAPTERS if form.ending == file.suffix.lower()), None)
    if kind is None:
        raise ProjectError(f"{file.name} is no timeline; choose an .otio, .edl or .xml file.")
    try:
        return _read(otio, _parsed(otio, file, kind, rate), file.name, kind)
    except ProjectError:
        raise
    except Exception as error:  # OTIO and its adapters raise whatever a wrong file leads them to
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ProjectError(f"{file.name} cannot be read as {kind.upper()} ({reason}); export it again.") from error


def _parsed(otio: Any, file: Path, kind: CutFormat, rate: Fraction) -> Any:
    if file.stat().st_size > MAX_BYTES:
        raise ProjectError(f"{file.name} is larger than {MAX_BYTES // 2**20} MB, and no timeline of clips.")
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if kind is CutFormat.OTIO:  # OTIO's reader recurses in C++: deep nesting would end the process
        parse_json(text, MAX_BYTES, MAX_DEPTH)
    options = {"rate": float(rate)} if kind is CutFormat.EDL else {}
    found = otio.adapters.read_from_string(text, ADAPTERS[kind], **options)
    is_timeline = isinstance(found, otio.schema.Timeline)
    return found if is_timeline else next(each for each in found if isinstance(each, otio.schema.Timeline))


def _read(otio: Any, timeline: Any, name: str, kind: CutFormat) -> ReadTimeline:
    """`name` is the file's."""
    notes: list[str] = []
    tracks = [track for track in timeline.video_tracks() if any(True for _ in track.find_clips())]
    pictures = [track for track in tracks if any(not _is_title(otio, clip) for clip in track.find_clips())]
    if not pictures:
        raise ProjectError(f"{name} holds no clips; export the timeline with its video track.")
    if len(pictures) > 1:
        notes.append(f"Only the first of {len(pictures)} video tracks is read.")
    events = tuple(_events(otio, pictures[0], notes))
    if not events:
        raise ProjectError(f"{name} holds only nested sequences, or clips without a length; flatten or relink them.")
    if len(events) > MAX_ITEMS:
        raise ProjectError(f"{name} has {len(events):,} clips; a cut has at most {MAX_ITEMS:,}.")
    titles = tuple(title for track in tracks if track is not pictures[0] for title in _titles(otio, track))
    can_title = kind is not CutFormat.EDL
    return ReadTimeline(events[0].rate, events, titles, tuple(dict.fromkeys(notes)), can_title)


def _events(otio: Any, track: Any, notes: list[str]) -> Iterator[Event]:
    """The clips of a track. In a dissolve, each of both has the frames that it shows there."""
    before: Event | None = None
    lead = dissolve = 0
    dissolve_name = ""
    for part in track:
        match part:
            case otio.schema.Clip() if part.source_range is None and part.media_reference.available_range is None:
                notes.append(f"{_name(part)} is offline and has no length; it is left out.")
            case otio.schema.Clip():
                event = _without_file_of_other(_event(otio, part), dissolve_name)
                if part.effects:
                    notes.append(f"Effects of {event.name}, such as a change of speed, are left out.")
                if before is not None:
                    yield before
                can_dissolve = dissolve if before is not None else 0
                before = replace(event, first=event.first - lead, frames=event.frames + lead, dissolve=can_dissolve)
                lead, dissolve, dissolve_name = 0, 0, ""
            case otio.schema.Transition() if before is not None:
                lead, tail = _frames(part.in_offset), _frames(part.out_offset)
                dissolve, dissolve_name = lead + tail, part.name or ""
                before = replace(before, frames=before.frames + tail)
            case _:
                kind = type(part).__name__.lower()
                notes.append(f"A {kind} of {_frames(part.duration())} frames is left out.")
    if before is not None:
        yield before


def _without_file_of_other(event: Event, dissolve_name: str) -> Event:
    """The event without the file of the clip that it dissolves from, which an EDL's reader gives it, with both names to
    the dissolve.
    """
    return replace(event, file="", folders=()) if dissolve_name.endswith(f" to {event.name}") else event


def _event(otio: Any, clip: Any) -> Event:
    seen = clip.trimmed_range()
    reference, own, cmx = clip.media_reference, _table(clip.metadata, OWN), _table(clip.metadata, "cmx_3600")
    url = getattr(reference, "target_url", "") or ""
    media = PurePosixPath(unquote(urlparse(url).path).replace("\\", "/"))
    available = reference.available_range if reference is not None else None
    own_first = own.get("first_frame")
    return Event(
        name=_name(clip),
        file=printable(media.stem)[:200],
        id=str(own.get("clip", ""))[:64],
        reel=str(cmx.get("reel", ""))[:64],
        first=_frames(seen.start_time),
        frames=_frames(seen.duration),
        rate=_rate(seen.duration.rate),
        folders=media.parts[:-1],
        own_first=own_first if isinstance(own_first, int) else None,
        media=None if available is None else (_frames(available.start_time), _frames(available.duration)),
        card=_card(clip) if _is_title(otio, clip) else None,
    )


def _card(clip: Any) -> tuple[str, str] | None:
    """Of a generator of text or black among the clips its words and their place; None for another one."""
    reference, parameters = clip.media_reference, _parameters(clip.media_reference)
    if "text" in parameters or "str" in parameters:
        text = _text_of(parameters)
    elif (reference.generator_kind or "").lower() == BLACK.lower():  # of an EDL; without a name it has a number
        text = "" if (clip.name or "").isdigit() or clip.name in ("BL", BLACK) else str(clip.name or "")
    else:
        return None
    return printable(text.strip())[:MAX_TITLE], str(parameters.get("place", ""))


def _name(clip: Any) -> str:
    return printable(clip.name or "")[:200]


def _titles(otio: Any, track: Any) -> Iterator[TitleEvent]:
    for clip in track.find_clips():
        if _is_title(otio, clip):
            span = clip.range_in_parent()
            parameters = _parameters(clip.media_reference)
            if text := (_text_of(parameters) or str(clip.name or "")).strip()[:MAX_TITLE]:
                place = str(parameters.get("place", ""))
                yield TitleEvent(printable(text), place, _frames(span.start_time), _frames(span.duration))


def _text_of(parameters: Mapping[str, Any]) -> str:
    """The words of a generator: OTIO's, or Final Cut Pro's."""
    return str(parameters.get("text") or parameters.get("str") or "")


def _parameters(reference: Any) -> dict[str, Any]:
    """Those of a generator: of Final Cut Pro's XML by their ids, and OTIO's own, which go before."""
    found = _table(reference.metadata, "fcp_xml").get("parameter", ())
    listed = [found] if isinstance(found, Mapping) else found
    named = (each for each in listed if isinstance(each, Mapping) and "parameterid" in each)
    return {**{each["parameterid"]: each.get("value") for each in named}, **reference.parameters}


def _is_title(otio: Any, clip: Any) -> bool:
    return isinstance(clip.media_reference, otio.schema.GeneratorReference)


def _table(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = metadata.get(name)
    return found if isinstance(found, Mapping) else {}


def _frames(time: Any) -> int:
    value: float = time.value
    return round(value)


def _rate(rate: float) -> Fraction:
    """Raises ProjectError."""
    try:
        return parse_rate(f"{rate:.3f}")
    except RequestError as error:
        raise ProjectError(f"The timeline has {rate:g} frames a second, which is no rate of a cut.") from error
