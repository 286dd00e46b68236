"""Exports cuts for the page, one at a time, in a process that waits until the queue is idle.

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
from wan_pipeline.jobs.background.exports import ExportState, PageExport, pack, told_when_idle
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.progress import Observer
from wan_pipeline.projects.cut.cut import MAIN
from wan_pipeline.projects.cut.cuts import Cuts
from wan_pipeline.projects.cut.orders import CutFormat, CutOrder, Reels
from wan_pipeline.projects.cut.takes import clips_of
from wan_pipeline.projects.naming import safe_name
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
        return safe_name(f"{self.project or 'default'}_{self.cut}")

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
        """Export a cut as soon as the queue is idle. Raises UserError for a choice that cannot be, or while busy."""
        choice.order(self._settings.exports)
        if self._process.is_alive:
            raise UserError("Another cut is being exported; wait until that is done.")
        waiting = PageExport(ExportState.WAITING, choice.format)
        file = _state_file(self._settings, choice.project, choice.cut)
        self._process.start(file, waiting, json.dumps(asdict(choice)))

    def of(self, project: str, cut: str) -> PageExport | None:
        """How far the last export of a cut is, or how it ended; None if there was none."""
        return self._process.state(_state_file(self._settings, project, cut))


def export_when_idle(settings: Settings, choice: CutChoice) -> PageExport:
    """Export a cut once the queue is idle, in this process. Raises StorageError if it cannot store how it ended."""
    file = _state_file(settings, choice.project, choice.cut)
    return told_when_idle(settings, file, choice.format, partial(_export, settings, choice))


def _export(settings: Settings, choice: CutChoice, observer: Observer) -> PageExport:
    """Into the workspace's folder of exports; a timeline and its media become one ZIP, which a browser can save."""
    database, projects = Database(settings.database), Projects(settings.projects)
    gallery = Gallery(database, settings.clips)
    cuts = Cuts(settings, projects, clips_of(Shots(database, settings.clips), gallery, Comments(database)))
    with temporary_folder(settings.cache, "export") as temporary:
        rate = parse_rate(choice.fps) if choice.fps.strip() else None
        has_other_rates = cuts.look(cuts.existing(choice.project, choice.cut), rate).has_other_rates
        has_media = choice.format.is_timeline and bool(choice.media or choice.handles or has_other_rates)
        folder = Path(temporary) / choice.name if has_media else settings.exports
        exported = cuts.export(choice.project, choice.cut, choice.order(folder), observer)
        target = exported.path
        if has_media:
            target = settings.exports / f"{choice.name}_{choice.format}.zip"
            pack(folder, target)
    return PageExport(ExportState.DONE, choice.format, file=str(target), warnings=exported.warnings)


def _state_file(settings: Settings, project: str, cut: str) -> StateFile[PageExport]:
    name = safe_name(f"{project or 'default'}_{cut}")
    return StateFile(settings.cache / "exported" / "cuts" / f"{name}.json", PageExport)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Export a cut when the queue is idle.")
    parser.add_argument("choice")
    options = parser.parse_args(arguments)
    settings, choice = settings_of(options), parse(CutChoice, parse_json(options.choice))
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    lock = WorkspaceLocks(settings.workspace).cut_exporter()
    run_alone(lock, lambda: export_when_idle(settings, choice), f"export the cut {choice.cut}")


if __name__ == "__main__":
    main()
