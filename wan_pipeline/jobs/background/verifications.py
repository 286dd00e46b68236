"""Verifies clips for the page, one at a time, in a process that waits until the queue is idle and yields to it.

`python -m wan_pipeline.jobs.background.verifications --workspace DIR CLIP`
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from wan_pipeline.clips.naming import key_of
from wan_pipeline.errors import StudioError, UserError
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.background.verify import Verdict, verify
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked

MODULE = "wan_pipeline.jobs.background.verifications"


class VerifyState(StrEnum):
    WAITING = "waiting"
    """For the queue to be idle."""
    RENDERING = "rendering"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Verification:
    """How far the verification of a clip is."""

    state: VerifyState
    stage: Stage = Stage.QUEUED
    step: int = 0
    total: int = 0
    verdict: Verdict | None = None
    error: str | None = None
    """One sentence for the user, if it failed."""

    @property
    def is_over(self) -> bool:
        return self.state in (VerifyState.DONE, VerifyState.FAILED)

    def died(self, log: Path) -> Verification:
        error = f"The verification ended unexpectedly; the reason may be in {log}."
        return Verification(VerifyState.FAILED, error=error)


class Verifications:
    """The verifications of one workspace."""

    def __init__(self, settings: Settings, check_main_app: CheckMainApp = unchecked) -> None:
        self._check_main_app = check_main_app
        self._settings = settings
        lock = WorkspaceLocks(settings.workspace).verifier()
        self._process = BackgroundProcess(MODULE, settings, lock, settings.logs / "verify.log")

    @main_app_only
    def start(self, clip: Path) -> None:
        """Verify a clip as soon as the queue is idle. Raises UserError while another is being verified."""
        if self._process.is_alive:
            raise UserError("Another clip is being verified; wait until that is done.")
        self._process.start(_state_file(self._settings, clip), Verification(VerifyState.WAITING), str(clip))

    def of(self, clip: Path) -> Verification | None:
        """How far the last verification of a clip is, or how it ended; None if there was none."""
        return self._process.state(_state_file(self._settings, clip))


def verify_when_idle(settings: Settings, clip: Path) -> Verification:
    """Wait for the queue, verify a clip in this process, and store how it ended.

    When the queue gets work it stops, and later resumes from a checkpoint. Raises StorageError if it cannot store.
    """
    file, checkpoint = _state_file(settings, clip), _state_path(settings, clip).with_suffix(".safetensors")

    def report(progress: Progress) -> None:
        state = VerifyState.WAITING if progress.stage is Stage.QUEUED else VerifyState.RENDERING
        file.write(Verification(state, progress.stage, progress.step, progress.total))

    def work(observer: Observer) -> Verdict:
        return verify(clip, settings, observer, checkpoint=checkpoint)

    try:
        end = Verification(VerifyState.DONE, verdict=when_idle(settings, report, work))
    except StudioError as error:
        end = Verification(VerifyState.FAILED, error=str(error))
    finally:
        checkpoint.unlink(missing_ok=True)
    file.write(end)
    return end


def _state_file(settings: Settings, clip: Path) -> StateFile[Verification]:
    return StateFile(_state_path(settings, clip), Verification)


def _state_path(settings: Settings, clip: Path) -> Path:
    return settings.cache / "verified" / f"{key_of(clip, settings.clips)}.json"


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Verify a clip when the queue is idle.")
    parser.add_argument("clip", type=Path)
    options = parser.parse_args(arguments)
    settings, clip = settings_of(options), options.clip
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    lock = WorkspaceLocks(settings.workspace).verifier()
    run_alone(lock, lambda: verify_when_idle(settings, clip), f"verify {clip.name}")


if __name__ == "__main__":
    main()
