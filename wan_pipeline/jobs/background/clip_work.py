"""Makes sound, larger frames and more frames of clips for the page, one at a time, in a process that waits until the
queue is idle.

`python -m wan_pipeline.jobs.background.clip_work --workspace DIR CLIP ORDER`
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import psutil

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.naming import export_path, key_of
from wan_pipeline.clips.sound.add import SoundOrder, add_sound, name_with_sound
from wan_pipeline.errors import Cancelled, StudioError, UserError
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.jobs.handover.enlarge import interpolate, upscale
from wan_pipeline.jobs.handover.sound import SoundWish, make_for_clip
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import parse, parse_json

MODULE = "wan_pipeline.jobs.background.clip_work"


class WorkKind(StrEnum):
    SOUND = "sound"
    UPSCALE = "upscale"
    INTERPOLATE = "interpolate"


class WorkState(StrEnum):
    WAITING = "waiting"
    """For the queue to be idle."""
    WORKING = "working"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class WorkOrder:
    """What is to be made of a clip."""

    kind: WorkKind
    factor: int = 2
    """How many times as large, or as many frames."""
    upscaler: str = ""
    """Name of its weights; empty for the network that comes with the studio."""
    interpolator: str = ""
    """Name of its weights; empty for ffmpeg's motion compensation."""
    wish: SoundWish | None = None
    lufs: float | None = None
    """Loudness of the sound."""


@dataclass(frozen=True)
class ClipWork:
    """How far the last work on a clip is."""

    state: WorkState
    order: WorkOrder
    stage: Stage = Stage.QUEUED
    step: int = 0
    total: int = 0
    file: str | None = None
    """The path of what was made, once it is done: for sound a clip of the gallery."""
    clip: str = ""
    """The id of that clip in the gallery."""
    warnings: tuple[str, ...] = ()
    error: str | None = None
    """One sentence for the user, if it failed."""

    @property
    def is_over(self) -> bool:
        return self.state not in (WorkState.WAITING, WorkState.WORKING)

    def died(self, log: Path) -> ClipWork:
        error = f"It ended unexpectedly; the reason may be in {log}."
        return ClipWork(WorkState.FAILED, self.order, error=error)


class ClipWorks:
    """The works of one workspace."""

    def __init__(self, settings: Settings, gallery: Gallery, check_main_app: CheckMainApp = unchecked) -> None:
        self._check_main_app = check_main_app
        self._settings, self._gallery = settings, gallery
        log, lock = settings.logs / "clip_work.log", WorkspaceLocks(settings.workspace).clip_work()
        self._process = BackgroundProcess(MODULE, settings, lock, log)

    @main_app_only
    def add_sound(self, clip: Path, order: SoundOrder) -> str:
        """Make a clip with a file's sound in this process, which takes a second, and return its id in the gallery.

        Raises UserError.
        """
        new = add_sound(clip, order, name_with_sound(clip, self._settings.clips))
        self._gallery.rescan()
        return self._gallery.at(new).id

    @main_app_only
    def start(self, clip: Path, order: WorkOrder) -> None:
        """Work on a clip as soon as the queue is idle. Raises UserError while another work is not done."""
        if self._process.is_alive:
            raise UserError("Another clip is being worked on; wait until that is done, or stop it.")
        file, waiting = _state_file(self._settings, clip), ClipWork(WorkState.WAITING, order)
        self._process.start(file, waiting, str(clip), json.dumps(asdict(order)))

    @main_app_only
    def stop(self, clip: Path) -> None:
        """Ask the work on a clip to stop, which it does after the step or the frame. Raises StorageError."""
        self._process.stop(_state_file(self._settings, clip))

    def of(self, clip: Path) -> ClipWork | None:
        """How far the last work on a clip is, or how it ended; None if there was none."""
        return self._process.state(_state_file(self._settings, clip))


def work_when_idle(settings: Settings, clip: Path, order: WorkOrder) -> ClipWork:
    """Wait for the queue, work on a clip in this process, and store how it ended.

    When the queue gets work it stops, and later starts again. Raises StorageError if it cannot store.
    """
    file = _state_file(settings, clip)

    def report(progress: Progress) -> None:
        state = WorkState.WAITING if progress.stage is Stage.QUEUED else WorkState.WORKING
        file.write(ClipWork(state, order, progress.stage, progress.step, progress.total))

    try:
        end = when_idle(settings, report, partial(_work, settings, clip, order), file.stop_is_requested)
    except Cancelled:
        end = ClipWork(WorkState.STOPPED, order)
    except StudioError as error:
        end = ClipWork(WorkState.FAILED, order, error=str(error))
    file.write(end)
    return end


def _work(settings: Settings, clip: Path, order: WorkOrder, observer: Observer) -> ClipWork:
    done = ClipWork(WorkState.DONE, order)
    match order.kind:
        case WorkKind.SOUND:
            place = SoundOrder(Path(), lufs=order.lufs)
            made = make_for_clip(clip, order.wish or SoundWish(""), settings, observer, place)
            return replace(done, file=str(made.path), clip=_id_of(made.path, settings))
        case WorkKind.UPSCALE:
            target = export_path(clip, settings.clips, settings.exports, f"_x{order.factor}.mp4")
            finished = upscale(clip, order.factor, target, settings, observer, order.upscaler)
        case WorkKind.INTERPOLATE:
            target = export_path(clip, settings.clips, settings.exports, f"_smooth{order.factor}.mp4")
            finished = interpolate(clip, order.factor, target, settings, observer, order.interpolator)
    return replace(done, file=str(finished.path), warnings=finished.warnings)


def _id_of(new: Path, settings: Settings) -> str:
    """The id of a new clip, once the gallery has found it."""
    gallery = Gallery(Database(settings.database), settings.clips)
    gallery.rescan()
    return gallery.at(new).id


def _state_file(settings: Settings, clip: Path) -> StateFile[ClipWork]:
    return StateFile(settings.cache / "clip_work" / f"{key_of(clip, settings.clips)}.json", ClipWork)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Make sound or other frames of a clip when the queue is idle.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("order", help="JSON")
    options = parser.parse_args(arguments)
    settings, clip, order = settings_of(options), options.clip, parse(WorkOrder, parse_json(options.order))
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    lock = WorkspaceLocks(settings.workspace).clip_work()
    run_alone(lock, lambda: work_when_idle(settings, clip, order), f"{order.kind} {clip.name}")


if __name__ == "__main__":
    main()
