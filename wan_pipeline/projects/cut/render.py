"""A cut as one video: by moviepy with 8 bits and its sound, or by frames with 10."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.encode import COLOURS, CRF, PRESET
from wan_pipeline.clips.export.formats import find_format
from wan_pipeline.clips.export.order import ExportOrder
from wan_pipeline.clips.export.source import open_source
from wan_pipeline.clips.export.write import FrameWriter, writing
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.handover.export import feed
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.projects.cut.sequence import Piece, Sequence
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.temporary import temporary_folder

SOUND_RATE = 48_000
LEAST = 0.01
"""Of a frame: so much is added to the length, for rounding not to drop the last one."""


def render_mp4(sequence: Sequence, output: Path, settings: Settings, observer: Observer) -> None:
    """Write the cut as H.264 with 8 bits and the sound of its clips. Frames are kept, whatever the clips' rates.

    Raises RequestError for clips of several sizes, StorageError and Cancelled.
    """
    _ = sequence.size  # or it is refused
    exact = f"settb={1 / sequence.rate},setpts=N,{COLOURS}"  # moviepy rounds the rate to hundredths
    options = ["-crf", str(CRF), "-vf", exact, "-r", str(sequence.rate), "-movflags", "+faststart", "-f", "mp4"]
    with temporary_folder(settings.cache, "cut") as folder, whole_file(output) as part, _composed(sequence) as video:
        try:
            video.write_videofile(
                str(part),
                fps=float(sequence.rate),
                codec="libx264",
                preset=PRESET,
                audio_codec="aac",
                audio_fps=SOUND_RATE,
                temp_audiofile=str(Path(folder) / "sound.m4a"),
                ffmpeg_params=options,
                logger=_logger(observer, sequence.frames),
            )
        except RuntimeError as error:
            raise StorageError(f"The cut could not be rendered: {str(error).splitlines()[0][:300]}") from error


def render_prores(sequence: Sequence, output: Path, settings: Settings, observer: Observer) -> tuple[str, ...]:
    """Write the cut as ProRes 422 HQ from the clips' latents, without sound. Returns what is to be said of it.

    Raises RequestError, StorageError, GenerationError and Cancelled.
    """
    order = ExportOrder(find_format("prores"), output)
    warnings: list[str] = []
    with writing(order, sequence.size, sequence.rate, sequence.name[:8].upper()) as writer:
        for piece in sequence.pieces:
            warnings += feed(open_source(piece.source.clip), settings, observer, _PartWriter(writer, piece))[1]
    return tuple(dict.fromkeys(warnings))


class _PartWriter:
    """Passes on the frames of a piece, and drops those before and after it."""

    def __init__(self, writer: FrameWriter, piece: Piece) -> None:
        self._writer, self._piece, self._seen = writer, piece, 0

    def write(self, frames: NDArray[np.uint16]) -> None:
        first, end = (max(0, frame - self._seen) for frame in (self._piece.first, self._piece.end))
        self._seen += len(frames)
        if len(wanted := frames[first:end]):
            self._writer.write(wanted)


@contextmanager
def _composed(sequence: Sequence) -> Iterator[Any]:
    """moviepy's clip of the whole cut. It is asked for each frame at its middle: at its beginning, which is no exact
    binary fraction, it might give the one before.
    """
    from moviepy import VideoFileClip, concatenate_videoclips  # here: it is slow to import

    rate = float(sequence.rate)
    with ExitStack() as stack:
        parts = []
        for piece in sequence.pieces:
            own = float(piece.source.rate)
            video = VideoFileClip(str(piece.source.clip))
            stack.callback(video.close)
            whole = video.with_duration(piece.source.frames / own)  # it reads hundredths of a second
            part = whole.subclipped(piece.first / own, piece.end / own)
            parts.append(part if own == rate else _conformed(part, rate))
        joined = concatenate_videoclips(parts, method="chain")
        middle = joined.time_transform(lambda time: time + 0.5 / rate, apply_to=[], keep_duration=True)
        yield middle.with_duration((sequence.frames + LEAST) / rate)


def _conformed(part: Any, rate: float) -> Any:
    """The same frames at another rate. Sound that belongs to the old one is left out."""
    return part.without_audio().with_fps(rate, change_duration=True)


def _logger(observer: Observer, frames: int) -> Any:
    """What moviepy tells how far it is, and by which it is stopped."""
    from proglog import ProgressBarLogger

    class Told(ProgressBarLogger):  # type: ignore[misc]
        def bars_callback(self, bar: str, attr: str, value: Any, old_value: Any = None) -> None:
            check_cancelled(observer, "cut")
            if bar == "frame_index" and attr == "index":
                observer.progress(Progress(Stage.SAVING, int(value), frames))

    return Told()
