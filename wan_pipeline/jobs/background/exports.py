"""Exports clips for the page, one at a time, in a process that waits until the queue is idle.

`python -m wan_pipeline.jobs.background.exports --workspace DIR CLIP FORMAT CHOICE`
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from functools import partial
from pathlib import Path

import psutil

from wan_pipeline.clips.export.exr import Transfer
from wan_pipeline.clips.export.formats import Format, find_format
from wan_pipeline.clips.export.order import ExportOrder
from wan_pipeline.clips.export.rates import parse_rate
from wan_pipeline.clips.export.source import open_source
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.naming import export_path, key_of
from wan_pipeline.errors import StudioError, UserError
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.background.when_idle import Report, ReportingObserver, when_idle
from wan_pipeline.jobs.handover.export import export
from wan_pipeline.jobs.handover.exports import Exports
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import parse, parse_json
from wan_pipeline.storage.temporary import temporary_folder

MODULE = "wan_pipeline.jobs.background.exports"


class ExportState(StrEnum):
    WAITING = "waiting"
    """For the queue to be idle."""
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class PageExport:
    """How far the last export of a clip is."""

    state: ExportState
    format: str
    stage: Stage = Stage.QUEUED
    step: int = 0
    total: int = 0
    file: str | None = None
    """The path of what was written, once it is done."""
    from_latents: bool = False
    warnings: tuple[str, ...] = ()
    error: str | None = None
    """One sentence for the user, if it failed."""

    @property
    def is_over(self) -> bool:
        return self.state in (ExportState.DONE, ExportState.FAILED)

    def died(self, log: Path) -> PageExport:
        error = f"The export ended unexpectedly; the reason may be in {log}."
        return PageExport(ExportState.FAILED, self.format, error=error)


@dataclass(frozen=True)
class ExportChoice:
    """What the page lets a person choose of an export, as it was typed."""

    fps: str = ""
    """A rate such as 24000/1001; empty for the clip's own."""
    handles: int = 0
    timecode: str = ""
    reel: str = ""
    transfer: Transfer = Transfer.LINEAR

    def order(self, form: Format, output: Path, own_rate: Fraction) -> ExportOrder:
        """Raises RequestError."""
        rate = parse_rate(self.fps) if self.fps.strip() else None
        order = ExportOrder(form, output, rate, self.handles, self.transfer, self.timecode.strip(), self.reel)
        order.start(rate or own_rate)  # or it is refused
        return order


class BackgroundExports(Exports):
    """The exports that the page asks for, beside those of this process."""

    def __init__(self, settings: Settings, gallery: Gallery, check_main_app: CheckMainApp = unchecked) -> None:
        super().__init__(settings, gallery)
        self._check_main_app = check_main_app
        log, lock = settings.logs / "export.log", WorkspaceLocks(settings.workspace).exporter()
        self._process = BackgroundProcess(MODULE, settings, lock, log)

    @main_app_only
    def start(self, clip: Path, form: Format, choice: ExportChoice | None = None) -> None:
        """Export a clip as soon as the queue is idle.

        Raises RequestError for a choice that cannot be, UserError while another clip is being exported.
        """
        choice = choice or ExportChoice()
        choice.order(form, self._settings.exports / clip.stem, open_source(clip, with_latents=False).rate)
        if self._process.is_alive:
            raise UserError("Another clip is being exported; wait until that is done.")
        waiting = PageExport(ExportState.WAITING, form.name)
        self._process.start(
            _state_file(self._settings, clip), waiting, str(clip), form.name, json.dumps(asdict(choice))
        )

    def of(self, clip: Path) -> PageExport | None:
        """How far the last export of a clip is, or how it ended; None if there was none."""
        return self._process.state(_state_file(self._settings, clip))


def export_when_idle(settings: Settings, clip: Path, form: Format, choice: ExportChoice | None = None) -> PageExport:
    """Export a clip in this process, with latents to decode once the queue is idle, and store how it ended.

    When the queue gets work it stops, and later starts again. Raises StorageError if it cannot store.
    """

    def run(report: Report) -> PageExport:
        work = partial(_export, settings, clip, form, choice or ExportChoice())
        if open_source(clip).latents is not None:
            return when_idle(settings, report, work, guest=WorkspaceLocks(settings.workspace).export_decoder())
        report(Progress(Stage.SAVING))
        return work(ReportingObserver(report))

    return told(_state_file(settings, clip), form.name, run)


def told(file: StateFile[PageExport], form: str, run: Callable[[Report], PageExport]) -> PageExport:
    """Run an export; write how far it is and how it ended. Raises StorageError."""

    def report(progress: Progress) -> None:
        state = ExportState.WAITING if progress.stage is Stage.QUEUED else ExportState.WRITING
        file.write(PageExport(state, form, progress.stage, progress.step, progress.total))

    try:
        end = run(report)
    except StudioError as error:
        end = PageExport(ExportState.FAILED, form, error=str(error))
    file.write(end)
    return end


def _export(settings: Settings, clip: Path, form: Format, choice: ExportChoice, observer: Observer) -> PageExport:
    """Into the workspace's folder of exports; a sequence becomes one ZIP file, which a browser can save."""
    end = f"_{form.name}{'.zip' if form.is_sequence else form.endings[0]}"
    target = export_path(clip, settings.clips, settings.exports, end)
    with temporary_folder(settings.cache, "export") as folder:
        made = Path(folder) / clip.stem if form.is_sequence else target
        order = choice.order(form, made, open_source(clip, with_latents=False).rate)
        exported = export(clip, order, settings, observer)
        if form.is_sequence:
            pack(made, target)
    return PageExport(
        ExportState.DONE,
        form.name,
        file=str(target),
        from_latents=exported.from_latents,
        warnings=exported.warnings,
    )


def pack(folder: Path, target: Path) -> None:
    """Write all files of a folder, and of those in it, to a ZIP, with the folder's name before theirs."""
    with whole_file(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder.parent).as_posix())


def _state_file(settings: Settings, clip: Path) -> StateFile[PageExport]:
    return StateFile(settings.cache / "exported" / f"{key_of(clip, settings.clips)}.json", PageExport)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Export a clip when the queue is idle.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("format")
    parser.add_argument("choice")
    options = parser.parse_args(arguments)
    settings, clip, form = settings_of(options), options.clip, find_format(options.format)
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    choice = parse(ExportChoice, parse_json(options.choice))
    lock = WorkspaceLocks(settings.workspace).exporter()
    run_alone(lock, lambda: export_when_idle(settings, clip, form, choice), f"export {clip.name}")


if __name__ == "__main__":
    main()
