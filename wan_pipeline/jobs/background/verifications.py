"""Verifying a clip for the page: in a process of its own, which waits until the queue is idle and gives way to it.

`python -m wan_pipeline.jobs.background.verifications --workspace DIR CLIP`. One at a
time in a workspace, by a lock of the operating system. How it stands is a small file, which outlives the app.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil
from filelock import Timeout

from wan_pipeline.errors import Cancelled, StudioError, UserError
from wan_pipeline.jobs.background.verify import Verdict, verify
from wan_pipeline.jobs.job import UNFINISHED, JobState
from wan_pipeline.jobs.launch import launch, settings_of, settings_parser
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import WorkspaceLocks, is_held

MODULE = "wan_pipeline.jobs.background.verifications"
POLL_SECONDS = 1.0
REPORT_SECONDS = 0.5

logger = logging.getLogger(__name__)


class VerifyState(StrEnum):
    WAITING = "waiting"
    """For the queue to be idle."""
    RENDERING = "rendering"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Verification:
    """How the verifying of a clip stands."""

    state: VerifyState
    stage: Stage = Stage.QUEUED
    step: int = 0
    total: int = 0
    verdict: Verdict | None = None
    error: str | None = None
    """One sentence for the person, when failed."""

    @property
    def is_over(self) -> bool:
        return self.state in (VerifyState.DONE, VerifyState.FAILED)


class Verifications:
    """The verifications of one workspace, as an app sees them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = WorkspaceLocks(settings.workspace).verifier()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, clip: Path) -> None:
        """Begin, as soon as the queue is idle. Raises UserError while another clip is being verified."""
        if self._is_alive():
            raise UserError("Another clip is being verified; wait until that is done.")
        _write(_file(self._settings, clip), Verification(VerifyState.WAITING))
        self._process = launch(MODULE, self._settings, self._settings.logs / "verify.log", str(clip))

    def of(self, clip: Path) -> Verification | None:
        """How it stands with this clip, or how it ended; None if it was never verified."""
        is_alive = self._is_alive()  # first: what has ended in between has written its end
        found = _read(_file(self._settings, clip))
        if found is None or found.is_over or is_alive:
            return found
        log = self._settings.logs / "verify.log"
        return Verification(VerifyState.FAILED, error=f"The verifying ended before it was done; {log} may say why.")

    def _is_alive(self) -> bool:
        return (self._process is not None and self._process.poll() is None) or is_held(self._lock)


class _Patient:
    """The observer of a verification: writes down how it stands, and stops it when the queue has work."""

    def __init__(self, settings: Settings, clip: Path) -> None:
        self._jobs = JobReader(Database(settings.database), settings)
        self._file = _file(settings, clip)
        self._written_at = 0.0
        self._stage: Stage | None = None

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage is self._stage and now - self._written_at < REPORT_SECONDS:
            return
        self._stage, self._written_at = progress.stage, now
        _write(self._file, Verification(VerifyState.RENDERING, progress.stage, progress.step, progress.total))

    def cancelled(self) -> bool:
        """Whether a clip of the queue is being made, or will be at once."""
        counts = self._jobs.counts()
        waits = any(counts[state] for state in UNFINISHED) and not self._jobs.queue_state().paused
        return counts[JobState.RUNNING] > 0 or waits

    def wait(self) -> None:
        while self.cancelled():
            if self._stage is not Stage.QUEUED:
                self._stage = Stage.QUEUED
                _write(self._file, Verification(VerifyState.WAITING))
            time.sleep(POLL_SECONDS)


def verify_when_idle(settings: Settings, clip: Path) -> Verification:
    """Wait for the queue, verify, and write down how it ended; once more from where it stood if it had to give way."""
    observer, checkpoint = _Patient(settings, clip), _file(settings, clip).with_suffix(".safetensors")
    try:
        while True:
            observer.wait()
            try:
                with WorkspaceLocks(settings.workspace).device():
                    verdict = verify(clip, settings, observer, checkpoint=checkpoint)
            except (Cancelled, Timeout):
                continue
            end = Verification(VerifyState.DONE, verdict=verdict)
            break
    except StudioError as error:
        end = Verification(VerifyState.FAILED, error=str(error))
    finally:
        checkpoint.unlink(missing_ok=True)
    _write(_file(settings, clip), end)
    return end


def _file(settings: Settings, clip: Path) -> Path:
    return settings.cache / "verified" / f"{clip.stem}.json"


def _write(path: Path, verification: Verification) -> None:
    facts: dict[str, Any] = {"state": verification.state, "stage": verification.stage, "step": verification.step}
    facts |= {"total": verification.total, "error": verification.error}
    facts["verdict"] = verification.verdict.to_dict() if verification.verdict else None
    with whole_file(path) as part:
        part.write_text(json.dumps(facts), encoding="utf-8")


def _read(path: Path) -> Verification | None:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        verdict = Verdict.from_dict(facts["verdict"]) if facts["verdict"] else None
        state, stage = VerifyState(facts["state"]), Stage(facts["stage"])
        return Verification(state, stage, facts["step"], facts["total"], verdict, facts["error"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read and counts as never written: %s", path, error)
        return None


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Verify a clip when the queue is idle.")
    parser.add_argument("clip", type=Path)
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    lock = WorkspaceLocks(settings.workspace).verifier()
    try:
        lock.acquire()
    except Timeout:
        logger.warning("Another clip is being verified.")
        return
    try:
        logger.info("%s: %s", options.clip.name, verify_when_idle(settings, options.clip))
    finally:
        lock.release()


if __name__ == "__main__":
    main()
