"""Writes and reads bundles of projects."""

from __future__ import annotations

import json
import logging
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.clips.naming import latents_path, receipt_path
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.errors import ProjectError, ReceiptError
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.projects.bundles.bundle import (
    MANIFEST,
    MAX_SMALL_BYTES,
    VERSION,
    Imported,
    Manifest,
    Need,
    NeedKind,
    members_of,
    read_manifest,
)
from wan_pipeline.projects.bundles.notes import MAX_BYTES as MAX_NOTES_BYTES
from wan_pipeline.projects.bundles.notes import MEMBER as NOTES
from wan_pipeline.projects.bundles.notes import BundledNotes, ClipNotes, notes_to_json, read_notes_json
from wan_pipeline.projects.bundles.unpacking import Unpacking
from wan_pipeline.projects.cut.bundled import MAX_BYTES as MAX_CUTS_BYTES
from wan_pipeline.projects.cut.bundled import MEMBER as CUTS
from wan_pipeline.projects.cut.bundled import BundledCuts, add_cuts, bundled_cuts, cuts_to_json, read_cuts_json
from wan_pipeline.projects.cut.files import CutFiles
from wan_pipeline.projects.cut.locking import CutLocks
from wan_pipeline.projects.cut.takes import clip_of_id
from wan_pipeline.projects.file import FILE, read_project
from wan_pipeline.projects.needs import Needs
from wan_pipeline.projects.project import DEFAULT, Project
from wan_pipeline.projects.shots.bundled import MAX_BYTES as MAX_SHOTS_BYTES
from wan_pipeline.projects.shots.bundled import (
    MEMBER,
    BundledShot,
    BundledShots,
    pictures_of,
    read_shots_json,
    setups_of,
    shots_to_json,
)
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.projects.store import Projects, project_id
from wan_pipeline.requests.lists.pictures import read_member
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.zips import DAMAGED_ZIP
from wan_pipeline.wording import plural

logger = logging.getLogger(__name__)

MAX_NAMED = 20
"""Clips of cuts that an import tells by their names."""


class Bundles:
    """Takes projects of a studio elsewhere, and others in."""

    def __init__(
        self,
        settings: Settings,
        projects: Projects,
        gallery: Gallery,
        requests: RequestResolver,
        catalog: LoraCatalog,
        bundled_shots: BundledShots,
        bundled_notes: BundledNotes,
        check_main_app: CheckMainApp = unchecked,
    ) -> None:
        self._shots, self._bundled_shots, self._bundled_notes = bundled_shots.shots, bundled_shots, bundled_notes
        self._settings, self._projects, self._gallery, self._requests = settings, projects, gallery, requests
        self._needs = Needs(settings, requests, catalog)
        self._cut_locks = CutLocks(settings.workspace)
        self._check_main_app = check_main_app

    # Writing

    def write(
        self,
        name: str,
        target: Path,
        *,
        with_loras: bool = False,
        with_clips: bool = False,
        tell: Callable[[str], None] = logger.warning,
    ) -> Path:
        """Write a project's bundle, with its shots, cuts and notes, and the pictures of shots and characters. Those
        that its clips were made from go with the clips. `tell` is told what is left out, a sentence each.

        Raises ProjectError for a project that is not there or could not be imported, LoraError for a LoRA of its
        setup that is not there, StorageError.
        """
        project = self._projects.existing(name)
        _check_id(project.id)
        clips = list(self._clips(project)) if with_clips else []
        shots, cuts = self._shots.all(project.label), self._bundled_cuts(project, tell)
        needs = self._needs.of(project, [clip.request for clip in clips], setups_of(shots))
        manifest = Manifest(VERSION, project.id, tuple(needs))
        files = {f"presets/{path.name}": path for path in self._styles(manifest.needs)}
        loras = self._needs.lora_files(manifest.needs) if with_loras else {}
        files |= {f"loras/{name}": path for name, path in loras.items()}
        files |= {f"inputs/{path.name}": path for path in self._inputs(project, clips, shots)}
        # Files of before 1980 have a time that a ZIP cannot hold.
        with whole_file(target) as part, zipfile.ZipFile(part, "w", strict_timestamps=False) as archive:
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1, ensure_ascii=False))
            archive.writestr(FILE, self._projects.path(project.id).read_text(encoding="utf-8"))
            archive.writestr(MEMBER, shots_to_json(shots))
            archive.writestr(CUTS, cuts_to_json(cuts))
            archive.writestr(NOTES, notes_to_json(self._bundled_notes.of(self._ids(project))))
            for member, path in files.items():
                archive.write(path, member)
            for clip in clips:
                self._write_clip(archive, clip)
        return target

    def _clips(self, project: Project) -> Iterator[Clip]:
        return (clip for clip in self._gallery.of_project(project.label) if clip.path.is_file())

    def _ids(self, project: Project) -> list[str]:
        return [clip.id for clip in self._gallery.of_project(project.label)]

    def _bundled_cuts(self, project: Project, tell: Callable[[str], None]) -> BundledCuts:
        with self._cut_locks.locked(project.id):
            cuts, left_out = bundled_cuts(self._cuts(project), self._settings.clips)
        for sentence in left_out:
            tell(sentence)
        return cuts

    def _cuts(self, project: Project) -> CutFiles:
        return CutFiles(self._projects.path(project.id).parent)

    def _styles(self, needs: Iterable[Need]) -> Iterator[Path]:
        for need in needs:
            if need.kind is NeedKind.PRESET and (path := self._needs.style_file(need.name)):
                yield path

    def _inputs(self, project: Project, clips: Iterable[Clip], shots: Sequence[Shot]) -> list[Path]:
        """The files that clips were made from, and the pictures of shots and characters."""
        used = {name for clip in clips for name in clip.request.input_names} | pictures_of(shots)
        used |= {name for character in project.characters.values() for name in character.pictures}
        return sorted(path for path in self._settings.inputs.glob("*") if path.stem in used)

    def _write_clip(self, archive: zipfile.ZipFile, clip: Clip) -> None:
        """Its MP4, poster, latents and receipt, which may be inside the MP4 only."""
        beside = receipt_path(clip.path)
        for path in (clip.path, clip.poster, latents_path(clip.path), beside):
            if path.is_file():
                archive.write(path, self._member(path))
        if not beside.is_file():
            try:
                receipt = load_receipt(clip.path).to_dict()
            except ReceiptError:
                return  # damaged since it was listed: it is left out on import
            archive.writestr(self._member(beside), json.dumps(receipt, ensure_ascii=False))

    def _member(self, path: Path) -> str:
        return f"clips/{path.relative_to(self._settings.clips).as_posix()}"

    # Reading

    @main_app_only
    def read(self, source: Path) -> Imported:
        """Take in a bundle: a new project, and of what came with it all that is not here yet.

        Raises ProjectError for a file that is not a bundle or a project that exists already, StorageError.
        """
        try:
            with zipfile.ZipFile(source) as archive:
                manifest, members = read_manifest(archive), members_of(archive)
                project, shots = self._project(archive, manifest), _shots_of(archive)
                cuts, said = _cuts_of(archive), _notes_of(archive)
                unpacking = Unpacking(archive, manifest.project, members, self._settings, self._requests)
                unpacking.check_room()
                clips = unpacking.write()
                notes = [*unpacking.notes, *_output_note(project)]
        except DAMAGED_ZIP as error:
            raise ProjectError(f"{source.name} is no whole ZIP file; export the project again.") from error
        except OSError as error:
            raise ProjectError(f"{source.name} cannot be read ({error.strerror}); choose another file.") from error
        self._gallery.rescan()
        self._bundled_shots.add(project.label, shots)
        if dropped := self._bundled_notes.add(said, set(self._ids(project))):
            notes.append(
                f"What was said of {plural(dropped, 'clip')} is left out, for no such clip of the project is here."
            )
        absent = add_cuts(cuts, self._cuts(project), self._settings.clips, partial(clip_of_id, self._gallery))
        notes += [f"Clip of a cut that is not here: {name[:200]}" for name in absent[:MAX_NAMED]]
        if len(absent) > MAX_NAMED:
            notes.append(f"And {len(absent) - MAX_NAMED:,} more clips of cuts that are not here.")
        project = self._projects.create(replace(project, output=""))  # last: what broke off is imported again
        missing = tuple(need for need in manifest.needs if not self._needs.has(need))
        return Imported(project, clips, missing, unpacking.skipped, tuple(notes))

    def _project(self, archive: zipfile.ZipFile, manifest: Manifest) -> Project:
        """The bundle's project. Raises ProjectError if it cannot be read, or is here already."""
        name = manifest.project
        _check_id(name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name / FILE
            path.parent.mkdir()
            path.write_bytes(read_member(archive, FILE, MAX_SMALL_BYTES))
            project = read_project(path)
        if self._projects.find(name) or self._projects.find(project.title):
            raise ProjectError(
                f"There is a project '{project.title[:80]}' here already; rename its folder and change its title, "
                "then import again."
            )
        return project


def _shots_of(archive: zipfile.ZipFile) -> list[BundledShot]:
    """None in a bundle of an older version. Raises UserError."""
    if MEMBER not in archive.namelist():
        return []
    return read_shots_json(read_member(archive, MEMBER, MAX_SHOTS_BYTES))


def _cuts_of(archive: zipfile.ZipFile) -> BundledCuts:
    """None in a bundle of an older version. Raises UserError."""
    if CUTS not in archive.namelist():
        return BundledCuts()
    return read_cuts_json(read_member(archive, CUTS, MAX_CUTS_BYTES))


def _notes_of(archive: zipfile.ZipFile) -> list[ClipNotes]:
    """None in a bundle of an older version. Raises UserError."""
    if NOTES not in archive.namelist():
        return []
    return read_notes_json(read_member(archive, NOTES, MAX_NOTES_BYTES))


def _check_id(name: str) -> None:
    """Raises ProjectError for the id of a project that no bundle can hold."""
    if name.casefold() == DEFAULT:
        raise ProjectError(
            "The default project cannot go into a bundle, because every studio has one; make a project with its setup."
        )
    if project_id(name) != name:  # the clips' receipts would be another project's
        raise ProjectError(f"No folder can have the name '{name[:80]}' on every system; rename the project's folder.")


def _output_note(project: Project) -> list[str]:
    if not project.output:
        return []
    return [f"The output folder {project.output[:200]} is another computer's, and is left out; choose one here."]
