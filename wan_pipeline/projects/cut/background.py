"""Exports cuts for the page, one at a time, in a process of its own. It waits for the queue only to decode latents.

`python -m wan_pipeline.projects.cut.background --workspace DIR CHOICE`
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

from wan_pipeline.clips.export.rates import frame_at, parse_rate
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.gallery.comments import Comments
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background.exports import ExportState, PageExport, pack, told
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.background.when_idle import Report, ReportingObserver, when_idle
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.projects.cut.cut import MAIN
from wan_pipeline.projects.cut.cuts import Cuts
from wan_pipeline.projects.cut.orders import CutFormat, CutOrder, Reels
from wan_pipeline.projects.cut.takes import clips_of
from wan_pipeline.projects.naming import safe_name
from wan_pipeline.projects.project import DEFAULT
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.store import Projects
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import parse, parse_json
from wan_pipeline.storage.temporary import temporary_folder

MODULE = "wan_pipeline.projects.cut.background"


@dataclass(frozen=True)
class CutChoice:
    """What the page lets a person choose of the export of a cut, as it was typed."""

    project: str
    cut: str = MAIN
    format: CutFormat = CutFormat.MP4
    media: str = ""
    fps: str = ""
    handles: int = 0
    timecode: str = ""
    reels: Reels = Reels.ID

    @property
    def name(self) -> str:
        """Of the file, without ending."""
        return f"{self.folder}_{safe_name(self.cut)}"

    @property
    def folder(self) -> str:
        """Of the project's exports."""
        return safe_name(self.project or DEFAULT)

    def order(self, folder: Path) -> CutOrder:
        """The order to write it into a folder. Raises RequestError."""
        rate = parse_rate(self.fps) if self.fps.strip() else None
        handles, timecode = (self.handles, self.timecode.strip()) if self.format.is_timeline else (0, "")
        if timecode and rate:
            frame_at(timecode, rate)  # or it is refused
        output = folder / f"{self.name}{self.format.ending}"
        return CutOrder(self.format, output, rate, handles, self.media, timecode, self.reels)


class CutExports:
    """The exports of cuts that the page asks for."""

    def __init__(self, settings: Settings, check_main_app: CheckMainApp = unchecked) -> None:
        self._settings, self._check_main_app = settings, check_main_app
        log, lock = settings.logs / "export.log", WorkspaceLocks(settings.workspace).cut_exporter()
        self._process = BackgroundProcess(MODULE, settings, lock, log)

    @main_app_only
    def start(self, choice: CutChoice) -> None:
        """Export a cut. Raises UserError for a choice that cannot be, or while busy."""
        choice.order(self._settings.exports)
        if self._process.is_alive:
            raise UserError("Another cut is being exported; wait until that is done.")
        waiting = PageExport(ExportState.WAITING, choice.format)
        file = _state_file(self._settings, choice.project, choice.cut)
        self._process.start(file, waiting, json.dumps(asdict(choice)))

    def of(self, project: str, cut: str) -> PageExport | None:
        """How far the last export of a cut is, or how it ended; None if there was none."""
        return self._process.state(_state_file(self._settings, project, cut))


def export_cut(settings: Settings, choice: CutChoice) -> PageExport:
    """Export a cut in this process: with latents to decode once the queue is idle, else at once.

    Raises StorageError if it cannot store how it ended.
    """

    def run(report: Report) -> PageExport:
        cuts = _cuts(settings)
        has_media = _has_media(cuts, choice, choice.order(settings.exports))
        work = partial(_export, settings, cuts, choice, has_media)
        if has_media or choice.format is CutFormat.PRORES:
            return when_idle(settings, report, work, guest=WorkspaceLocks(settings.workspace).cut_decoder())
        report(Progress(Stage.SAVING))
        return work(ReportingObserver(report))

    return told(_state_file(settings, choice.project, choice.cut), choice.format, run)


def _cuts(settings: Settings) -> Cuts:
    database, projects = Database(settings.database), Projects(settings.projects)
    gallery = Gallery(database, settings.clips)
    return Cuts(settings, projects, clips_of(Shots(database, settings.clips), gallery, Comments(database)))


def _has_media(cuts: Cuts, choice: CutChoice, order: CutOrder) -> bool:
    """Whether media are made beside a timeline. Raises UserError."""
    if not order.format.is_timeline:
        return False
    return bool(order.media_for(cuts.look(cuts.existing(choice.project, choice.cut), order.rate)))


def _export(settings: Settings, cuts: Cuts, choice: CutChoice, has_media: bool, observer: Observer) -> PageExport:
    """Into the project's folder of exports; a timeline and its media become one ZIP, which a browser can save."""
    exports = settings.exports / choice.folder
    with temporary_folder(settings.cache, "export") as temporary:
        folder = Path(temporary) / choice.name if has_media else exports
        exported = cuts.export(choice.project, choice.cut, choice.order(folder), observer)
        target = exported.path
        if has_media:
            target = exports / f"{choice.name}_{choice.format}.zip"
            pack(folder, target)
    return PageExport(ExportState.DONE, choice.format, file=str(target), warnings=exported.warnings)


def _state_file(settings: Settings, project: str, cut: str) -> StateFile[PageExport]:
    folder = settings.cache / "exported" / "cuts" / CutChoice(project).folder
    return StateFile(folder / f"{safe_name(cut)}.json", PageExport)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Export a cut.")
    parser.add_argument("choice")
    options = parser.parse_args(arguments)
    settings, choice = settings_of(options), parse(CutChoice, parse_json(options.choice))
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    lock = WorkspaceLocks(settings.workspace).cut_exporter()
    run_alone(lock, lambda: export_cut(settings, choice), f"export the cut {choice.cut}")


if __name__ == "__main__":
    main()
