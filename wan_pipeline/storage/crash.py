"""Named crash points: a test ends the process there, as a power cut would, and looks at what is on the disk.

`WAN_STUDIO_CRASH=receipt-saved:3` kills the process the third time it reaches that point. Without the variable nothing
happens.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum

VARIABLE = "WAN_STUDIO_CRASH"


class CrashPoint(StrEnum):
    """One for each moment between two writes that belong together."""

    COMMITTING = "committing"
    """Before the commit of a transaction."""
    COMMITTED = "committed"
    SUBMITTED = "submitted"
    """The app has queued a job and has not answered yet."""
    WORKER_STARTED = "worker-started"
    """The app has started a worker and has not noted it yet."""
    RECOVERING = "recovering"
    """A new worker has adopted the finished clips of a dead one, and has not settled its other jobs."""
    CLAIMED = "claimed"
    TEXTS_ENCODED = "texts-encoded"
    """The prompt embeddings of waiting jobs are in the cache."""
    PROGRESS_WRITTEN = "progress-written"
    CHECKPOINT_SAVED = "checkpoint-saved"
    """The latents of a denoising step are on the disk."""
    RENDERED = "rendered"
    """All frames are rendered; no file of the clip is written yet."""
    PART_WRITTEN = "part-written"
    """A file is complete under its `.part` name."""
    PART_RENAMED = "part-renamed"
    CLIP_SAVED = "clip-saved"
    """The MP4 is there, poster and receipt are not."""
    POSTER_SAVED = "poster-saved"
    LATENTS_SAVED = "latents-saved"
    """Only for clips that keep their latents."""
    RECEIPT_SAVED = "receipt-saved"
    """All files of the clip are there, and its job is still marked as running."""
    FINISHED = "finished"


def crash_point(point: CrashPoint) -> None:
    """Kill this process if the environment variable names this point and the count is reached."""
    wanted, _, count = os.environ.get(VARIABLE, "").partition(":")
    if wanted != point:
        return
    left = int(count or 1) - 1
    if left > 0:
        os.environ[VARIABLE] = f"{wanted}:{left}"
        return
    os.write(2, f"crash point {point}\n".encode())
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows any signal is TerminateProcess
