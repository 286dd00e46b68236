"""Larger frames while a clip's frames go by: in order, whole, and none before the device is free if it has to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from wan_pipeline.errors import Cancelled
from wan_pipeline.jobs.handover.larger import LargerProgress, LargerWriter, OnlyCancelled, finished
from wan_pipeline.progress import Progress, SilentObserver

Frame = NDArray[np.uint16]


class ByTwos:
    """Gives two frames once it has two, as one that needs several does."""

    method, fills_device = "by twos", True

    def __init__(self) -> None:
        self.held: list[Frame] = []
        self.taken = 0

    def add(self, frame: Frame) -> Iterator[Frame]:
        self.held.append(frame.repeat(2, 0).repeat(2, 1))
        self.taken += 1
        if len(self.held) == 2:
            yield from self.end()

    def end(self) -> Iterator[Frame]:
        held, self.held = self.held, []
        yield from held


class Kept:
    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def write(self, frames: Frame) -> None:
        self.frames += list(frames)


@pytest.mark.parametrize("spool", [False, True])
def test_all_frames_are_enlarged_in_order(spool: bool) -> None:
    upscaler, kept = ByTwos(), Kept()
    clip = np.arange(5 * 2 * 3 * 3, dtype=np.uint16).reshape(5, 2, 3, 3)
    with finished(LargerWriter(kept, upscaler), spool=spool) as writer:
        writer.write(clip[:3])
        assert upscaler.taken == (0 if spool else 3) and len(kept.frames) == (0 if spool else 2)
        writer.write(clip[3:])
    assert np.array_equal(np.stack(kept.frames), clip.repeat(2, 1).repeat(2, 2))


def test_nothing_is_finished_when_the_clip_was_not() -> None:
    upscaler, kept = ByTwos(), Kept()
    with pytest.raises(Cancelled), finished(LargerWriter(kept, upscaler), spool=True) as writer:
        writer.write(np.zeros((1, 2, 2, 3), np.uint16))
        raise Cancelled("stop")
    assert upscaler.taken == 0 and not kept.frames


def test_work_is_told_in_frames_and_can_be_stopped() -> None:
    class Watching(SilentObserver):
        told: list[tuple[int, int]] = []  # noqa: RUF012
        stop = False

        def progress(self, progress: Progress) -> None:
            self.told.append((progress.step, progress.total))

        def cancelled(self) -> bool:
            return self.stop

    observer = Watching()
    progress = LargerProgress(observer, 3)
    for share in (0.5, 0.75, 1.0, 1.0):
        progress.tick(share)
    assert observer.told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    observer.stop = True
    with pytest.raises(Cancelled):
        progress.tick(1)
    assert OnlyCancelled(observer).cancelled()
