"""Writes a cut: a timeline, with media of its own where it needs some, or one video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.clips.export.formats import find_format
from wan_pipeline.clips.export.order import START_HOUR, ExportOrder
from wan_pipeline.clips.export.rates import frame_at, frame_of
from wan_pipeline.clips.gallery.comments import Comment
from wan_pipeline.clips.naming import check_other
from wan_pipeline.errors import RequestError
from wan_pipeline.jobs.device import TakeDevice
from wan_pipeline.jobs.handover.export import export
from wan_pipeline.progress import Observer
from wan_pipeline.projects.cut.orders import CutExported, CutFormat, CutOrder
from wan_pipeline.projects.cut.rendering.render import render_mp4, render_prores
from wan_pipeline.projects.cut.rendering.sequence import Sequence as CutSequence
from wan_pipeline.projects.cut.rendering.sequence import SoundSeconds
from wan_pipeline.projects.cut.timeline.markers import notes_of
from wan_pipeline.projects.cut.timeline.write import Media, Timeline, write_timeline
from wan_pipeline.settings import Settings

CommentsOf = Callable[[Sequence[str]], Sequence[Comment]]
"""What is said of clips, by their ids."""
OTHER_RATES = "Clips at another rate than the cut's are without their sound."
NO_TITLES = (
    "An EDL has no titles; those over clips are not in it. Title cards are, as black with their words as a name."
)
CARD = Media(Path())
"""Stands for the media of a title card, which has none."""


@dataclass(frozen=True)
class CutExporter:
    """Writes cuts of one workspace."""

    settings: Settings
    comments: CommentsOf
    sound_seconds: SoundSeconds

    def write(
        self, sequence: CutSequence, order: CutOrder, observer: Observer, device: TakeDevice = nullcontext
    ) -> CutExported:
        """`device` is held while media are made. The order's output has been checked.

        Raises RequestError, StorageError, GenerationError and Cancelled.
        """
        sequence.check()
        for piece in (each for each in sequence.pieces if not each.is_card):
            check_other(piece.source.clip, order.output)
        match order.format:
            case CutFormat.MP4:
                render_mp4(sequence, order.output, self.settings, self.sound_seconds, observer)
                return _exported(order, sequence, (), (OTHER_RATES,) if sequence.has_other_rates else ())
            case CutFormat.PRORES:
                with device():
                    warnings = render_prores(sequence, order.output, self.settings, observer)
                return _exported(order, sequence, (), warnings)
            case _:
                return self._timeline(sequence, order, observer, device)

    def _timeline(self, sequence: CutSequence, order: CutOrder, observer: Observer, device: TakeDevice) -> CutExported:
        start = frame_at(order.timecode, sequence.rate) if order.timecode else None
        media, warnings = self._media(sequence, order, observer, device)
        ids = [piece.source.receipt.job for piece in sequence.pieces if piece.source.receipt]
        comments = self.comments(ids)
        notes = tuple(notes_of(piece, comments) for piece in sequence.pieces)
        write_timeline(sequence, media, Timeline(order.format, start, notes), order.output)
        if order.format is CutFormat.EDL and any(piece.title and not piece.is_card for piece in sequence.pieces):
            warnings = (*warnings, NO_TITLES)
        return _exported(order, sequence, media, warnings)

    def _media(
        self, sequence: CutSequence, order: CutOrder, observer: Observer, device: TakeDevice
    ) -> tuple[list[Media], tuple[str, ...]]:
        """The clips' own files, or new ones beside the timeline: with handles, or at the cut's rate."""
        kind = order.media_for(sequence)
        if not kind:
            return [
                CARD if each.is_card else Media(each.source.clip, reel=order.reels.of(each.source))
                for each in sequence.pieces
            ], ()
        form = find_format(kind)
        if not form.has_timecode:
            raise RequestError("media", f"Media for a timeline need timecode, which {form.title} has not; use prores.")
        made: dict[Path, Media] = {}
        warnings: list[str] = []
        start = frame_of(START_HOUR, sequence.rate) - order.handles
        folder = order.output.with_name(f"{order.output.stem}_media")
        clips = [piece.source for piece in sequence.pieces if not piece.is_card]
        with device():
            for source in {source.clip: source for source in clips}.values():
                path, reel = folder / f"{len(made) + 1:03}_{source.clip.stem}{form.endings[0]}", order.reels.of(source)
                clip_order = ExportOrder(form, path, sequence.rate, order.handles, reel=reel)
                warnings += export(source.clip, clip_order, self.settings, observer).warnings
                made[source.clip] = Media(path, start, order.handles, reel)
        files = [CARD if piece.is_card else made[piece.source.clip] for piece in sequence.pieces]
        return files, tuple(dict.fromkeys(warnings))


def _exported(order: CutOrder, sequence: CutSequence, media: Sequence[Media], warnings: tuple[str, ...]) -> CutExported:
    paths = tuple(dict.fromkeys(each.path for each in media if each is not CARD))
    return CutExported(order.output, sequence.frames, str(sequence.rate), len(sequence.pieces), paths, warnings)
