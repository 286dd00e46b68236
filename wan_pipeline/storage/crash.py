"""Named points at which a test ends the process as a power cut would: what lies on the disk then must be enough.

`WAN_STUDIO_CRASH=receipt-saved:3` ends it the third time it comes by there. Without the variable nothing happens.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum

VARIABLE = "WAN_STUDIO_CRASH"


class CrashPoint(StrEnum):
    """One for each moment between two writes that belong together."""

    COMMITTING = "committing"
    """A change of the database is whole and not yet committed."""
    COMMITTED = "committed"
    SUBMITTED = "submitted"
    """The app has put a job into the queue and has not told anybody."""
    WORKER_STARTED = "worker-started"
    """The app has started a worker and knows no more of it."""
    RECOVERING = "recovering"
    """The new worker has adopted what was finished; the other jobs that the dead one left are not settled."""
    CLAIMED = "claimed"
    TEXTS_ENCODED = "texts-encoded"
    """Prompts of waiting jobs lie in the cache."""
    PROGRESS_WRITTEN = "progress-written"
    CHECKPOINT_SAVED = "checkpoint-saved"
    """The latents of a denoising step lie on the disk."""
    RENDERED = "rendered"
    """All frames are made, none is saved."""
    PART_WRITTEN = "part-written"
    """A file is whole under its `.part` name."""
    PART_RENAMED = "part-renamed"
    CLIP_SAVED = "clip-saved"
    """The MP4 has its name; poster and receipt are not there."""
    POSTER_SAVED = "poster-saved"
    RECEIPT_SAVED = "receipt-saved"
    """All files of the clip are there, its row still says that it runs."""
    FINISHED = "finished"


def crash_point(point: CrashPoint) -> None:
    """End the process here, without a word to anybody, if this is the point and the time that the variable names."""
    wanted, _, count = os.environ.get(VARIABLE, "").partition(":")
    if wanted != point:
        return
    left = int(count or 1) - 1
    if left > 0:
        os.environ[VARIABLE] = f"{wanted}:{left}"
        return
    os.write(2, f"crash point {point}\n".encode())
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows any signal is TerminateProcess
