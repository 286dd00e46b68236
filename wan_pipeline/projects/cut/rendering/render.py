"""A cut as one video, frame after frame: by moviepy with 8 bits and its sound, or by ffmpeg's pipe with 10."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.encode import COLOURS, CRF, PRESET
from wan_pipeline.clips.export.formats import find_format
from wan_pipeline.clips.export.order import ExportOrder
from wan_pipeline.clips.export.source import open_source
from wan_pipeline.clips.export.write import FrameWriter, writing
from wan_pipeline.clips.read import read_frames
from wan_pipeline.clips.sound.mix import RATE
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.handover.export import feed
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.projects.cut.rendering.mixer import Level, Mixer
from wan_pipeline.projects.cut.rendering.sequence import Piece, Sequence, SoundSeconds
from wan_pipeline.projects.cut.rendering.sound import cut_sound
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.temporary import temporary_folder

LEAST = 0.01
"""Of a frame: so much is added to the length, for rounding not to drop the last one."""


def render_mp4(
    sequence: Sequence, output: Path, settings: Settings, sound_seconds: SoundSeconds, observer: Observer
) -> None:
    """Write the cut as H.264 with 8 bits and the sound of its clips. Frames are kept, whatever the clips' rates.

    Raises RequestError for clips of several sizes, StorageError and Cancelled.
    """
    _ = sequence.size  # or it is refused
    exact = f"settb={1 / sequence.rate},setpts=N,{COLOURS}"  # moviepy rounds the rate to hundredths
    options = ["-crf", str(CRF), "-vf", exact, "-r", str(sequence.rate), "-movflags", "+faststart", "-f", "mp4"]
    with (
        temporary_folder(settings.cache, "cut") as folder,
        whole_file(output) as part,
        _audio(cut_sound(sequence, Path(folder), sound_seconds, observer)) as audio,
    ):
        video = _Frames(sequence).clip().with_audio(audio)
        try:
            video.write_videofile(
                str(part),
                fps=float(sequence.rate),
                codec="libx264",
                preset=PRESET,
                audio_codec="aac",
                audio_fps=RATE,
                temp_audiofile=str(Path(folder) / "sound.m4a"),
                ffmpeg_params=options,
                logger=_logger(observer, sequence.frames),
            )
        except RuntimeError as error:
            raise StorageError(f"The cut could not be rendered: {str(error).splitlines()[0][:300]}") from error


@contextmanager
def _audio(file: Path | None) -> Iterator[Any]:
    """moviepy's clip of a sound; None without one."""
    from moviepy import AudioFileClip  # here: it is slow to import

    if file is None:
        yield None
        return
    with AudioFileClip(str(file), fps=RATE) as clip:
        yield clip


class _Frames:
    """The frames of a cut as moviepy asks for them: one after the other. One clip is being decoded at a time."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence, self._frames, self._number = sequence, mixed(sequence), -1
        self._frame: NDArray[np.uint8] | None = None

    def clip(self) -> Any:
        """moviepy's."""
        from moviepy import VideoClip  # here: it is slow to import

        return VideoClip(self._at, duration=(self._sequence.frames + LEAST) / float(self._sequence.rate))

    def _at(self, time: float) -> NDArray[np.uint8]:
        wanted = round(time * float(self._sequence.rate))
        while self._number < wanted or self._frame is None:
            self._frame, self._number = next(self._frames), self._number + 1
        return self._frame


def mixed(sequence: Sequence) -> Iterator[NDArray[np.uint8]]:
    """The frames of a cut, (H, W, 3) RGB, from the clips' MP4s. Raises StorageError."""
    mixer = Mixer(sequence)
    for piece in sequence.pieces:
        mixer.next_piece()
        if piece.is_card:
            for frame in _black(piece, sequence.size, np.uint8):
                yield from mixer.add(frame)
            continue
        for number, frame in enumerate(read_frames(piece.source.clip)):
            if number >= piece.end:
                break
            if number >= piece.first:
                yield from mixer.add(frame)


def render_prores(sequence: Sequence, output: Path, settings: Settings, observer: Observer) -> tuple[str, ...]:
    """Write the cut as ProRes 422 HQ from the clips' latents, without sound. Returns what is to be said of it.

    Raises RequestError, StorageError, GenerationError and Cancelled.
    """
    order = ExportOrder(find_format("prores"), output)
    warnings: list[str] = []
    mixer = Mixer(sequence)
    with writing(order, sequence.size, sequence.rate, sequence.name[:8].upper()) as writer:
        for piece in sequence.pieces:
            mixer.next_piece()
            if piece.is_card:
                for frame in _black(piece, sequence.size, np.uint16):
                    for done in mixer.add(frame):
                        writer.write(done[None])
                continue
            into = _PieceWriter(writer, mixer, piece)
            warnings += feed(open_source(piece.source.clip), settings, observer, into)[1]
    return tuple(dict.fromkeys(warnings))


def _black(piece: Piece, size: tuple[int, int], kind: type[Level]) -> Iterator[NDArray[Level]]:
    """The frames of a card, before its title."""
    frame = np.zeros((size[1], size[0], 3), kind)
    return (frame for _ in range(piece.frames))


class _PieceWriter:
    """Takes all frames of a clip, and writes those that its piece of the cut completes."""

    def __init__(self, writer: FrameWriter, mixer: Mixer, piece: Piece) -> None:
        self._writer, self._mixer, self._piece, self._seen = writer, mixer, piece, 0

    def write(self, frames: NDArray[np.uint16]) -> None:
        for frame in frames:
            if self._piece.first <= self._seen < self._piece.end:
                for done in self._mixer.add(frame):
                    self._writer.write(done[None])
            self._seen += 1


def _logger(observer: Observer, frames: int) -> Any:
    """What moviepy tells how far it is, and by which it is stopped."""
    from proglog import ProgressBarLogger

    class Told(ProgressBarLogger):  # type: ignore[misc]
        def bars_callback(self, bar: str, attr: str, value: Any, old_value: Any = None) -> None:
            check_cancelled(observer, "cut")
            if bar == "frame_index" and attr == "index":
                observer.progress(Progress(Stage.SAVING, int(value), frames))

    return Told()
