"""The process that makes sound, larger frames and more frames of clips, one after another, while the queue is idle.

`python -m wan_pipeline.jobs.clip_works.process --workspace DIR`
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from wan_pipeline.clips.copies.output import copy_clip
from wan_pipeline.clips.files import name_in
from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.clips.naming import export_path
from wan_pipeline.clips.sound.add import SoundOrder
from wan_pipeline.errors import Cancelled, StudioError, UserError
from wan_pipeline.jobs.background.process import run_alone
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.jobs.clip_works import rows
from wan_pipeline.jobs.clip_works.rows import StoredWork
from wan_pipeline.jobs.clip_works.work import ClipWork, WorkKind, WorkOrder, WorkState
from wan_pipeline.jobs.clip_works.works import MODULE, works_log
from wan_pipeline.jobs.handover.enlarge import post_process
from wan_pipeline.jobs.handover.sound import SoundDraft, make_for_clip
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks

logger = logging.getLogger(__name__)


def run_all(settings: Settings) -> int:
    """Do all works, in order, and return how many. Raises StorageError if the database cannot be used."""
    database, count = Database(settings.database), 0
    while True:
        with database.transaction() as connection:
            claimed = rows.claim(connection, str(works_log(settings)))
        if claimed is None:
            return count
        logger.info("Work %d on the clip %s: %s", claimed.number, claimed.clip_id, claimed.work.order)
        end = work_when_idle(settings, database, claimed)
        logger.info("Work %d is %s. %s", claimed.number, end.state, end.error or end.file or "")
        count += 1


def work_when_idle(settings: Settings, database: Database, claimed: StoredWork) -> ClipWork:
    """Wait for the queue, do one work in this process, and store how it ended.

    When the queue gets a job it stops, and later starts again. Raises StorageError if it cannot store.
    """
    order = claimed.work.order

    def store(work: ClipWork) -> None:
        with database.transaction() as connection:
            rows.write(connection, claimed.number, work)

    def report(progress: Progress) -> None:
        state = WorkState.WAITING if progress.stage is Stage.QUEUED else WorkState.WORKING
        store(ClipWork(state, order, progress.stage, progress.step, progress.total))

    def is_stopped() -> bool:
        with database.connection() as connection:
            return rows.is_stopped(connection, claimed.number)

    try:
        end = when_idle(settings, report, partial(_work, settings, database, claimed), is_stopped)
    except Cancelled:
        end = ClipWork(WorkState.STOPPED, order)
    except StudioError as error:
        end = ClipWork(WorkState.FAILED, order, error=str(error))
    store(end)
    return end


def _work(settings: Settings, database: Database, claimed: StoredWork, observer: Observer) -> ClipWork:
    gallery = Gallery(database, settings.clips)
    clip, order = _clip(gallery, claimed.clip_id), claimed.work.order
    observer.progress(Progress(Stage.LOADING))  # from here on a process that dies counts
    started = time.monotonic()
    match order.kind:
        case WorkKind.SOUND:
            end = _make_sound(clip.path, order, settings, gallery, observer)
        case WorkKind.FRAMES:
            end = _make_frames(clip.path, order, settings, observer)
    return replace(end, seconds=time.monotonic() - started)


def _clip(gallery: Gallery, clip_id: str) -> Clip:
    found = gallery.existing([clip_id])
    if not found or found[0].is_binned:
        raise UserError("The clip is not in the gallery any more, so nothing was made of it.")
    return found[0]


def _make_sound(clip: Path, order: WorkOrder, settings: Settings, gallery: Gallery, observer: Observer) -> ClipWork:
    made = make_for_clip(clip, order.sound or SoundDraft(""), settings, observer, SoundOrder(Path(), lufs=order.lufs))
    gallery.rescan()
    return ClipWork(WorkState.DONE, order, file=str(made.path), clip=gallery.at(made.path).id)


def _make_frames(clip: Path, order: WorkOrder, settings: Settings, observer: Observer) -> ClipWork:
    target = export_path(clip, settings.clips, settings.exports, f"{order.frames.suffix}.mp4")
    made = post_process(clip, order.frames, target, settings, observer)
    copied = copy_clip(target, name_in(settings.exports, target), order.copy_to)
    pixels = made.width * made.height * made.frames
    return ClipWork(WorkState.DONE, order, file=str(target), warnings=(*made.warnings, *copied), pixels=pixels)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Make sound and other frames of clips when the queue is idle.")
    settings = settings_of(parser.parse_args(arguments))
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    run_alone(WorkspaceLocks(settings.workspace).clip_work(), lambda: run_all(settings), "works on clips")


if __name__ == "__main__":
    main()
