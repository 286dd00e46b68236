"""A project as one ZIP: its setup and what it needs, so that it goes on on another machine.

The ZIP holds `bundle.json` (the manifest), `project.toml`, and in folders what was put in: `presets/`, `loras/`,
`inputs/` and `clips/`. Nothing of it is unpacked but under names that the importing studio makes or checks itself.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.clips.gallery import Clip, Gallery, GalleryQuery
from wan_pipeline.clips.naming import latents_path, receipt_path
from wan_pipeline.errors import LoraError, ProjectError
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.projects.file import FILE, read_project
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.store import Projects, project_id
from wan_pipeline.requests.limits import Name
from wan_pipeline.requests.live_folder import LiveFolder
from wan_pipeline.requests.presets import Preset, load_preset
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import check_room, whole_file
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.storage.zips import DAMAGED_ZIP

MANIFEST = "bundle.json"
VERSION = 1
MAX_FILES = 50_000
MAX_FILE_BYTES = 20 * 2**30
MAX_BYTES = 500 * 2**30
"""Of all files of a bundle, unpacked."""
MAX_SMALL_BYTES = 2**20
"""Of the manifest, the project's file and a style."""
PAGE = 500
INPUT_NAME = re.compile(r"[0-9a-f]{64}\.(png|video)")
CLIP_NAME = re.compile(r"[^\x00-\x1f\\:*?\"<>|]+\.(mp4|json|webp|latents)")
LORA_NAME = re.compile(r"[^\x00-\x1f\\:*?\"<>|]+\.safetensors")


class NeedKind(StrEnum):
    MODEL = "model"
    PRESET = "preset"
    LORA = "lora"


@dataclass(frozen=True)
class Need:
    """Something that the project or one of its clips uses."""

    kind: NeedKind
    name: Annotated[str, Field(min_length=1, max_length=500)]
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """Of a LoRA's file; empty for what is known by its name."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")


@dataclass(frozen=True)
class Manifest:
    """What a bundle is, and what its project needs, whether it is in the bundle or not."""

    bundle: Annotated[int, Field(ge=1, le=VERSION)]
    project: Name
    """Id of the project."""
    needs: tuple[Need, ...] = field(default=())

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")


@dataclass(frozen=True)
class Imported:
    project: Project
    clips: int
    missing: tuple[Need, ...]
    """What the project needs and this studio does not have, or has otherwise."""


class Bundles:
    """Writes and reads bundles of a studio's projects."""

    def __init__(
        self,
        settings: Settings,
        projects: Projects,
        gallery: Gallery,
        models: ModelLibrary,
        presets: LiveFolder[Preset],
        loras: LoraLibrary,
        catalog: LoraCatalog,
        check_main_app: CheckMainApp = unchecked,
    ) -> None:
        self._settings, self._projects, self._gallery = settings, projects, gallery
        self._models, self._presets, self._loras, self._catalog = models, presets, loras, catalog
        self._check_main_app = check_main_app

    # Writing

    def write(self, name: str, target: Path, *, with_loras: bool = False, with_clips: bool = False) -> Path:
        """Write a project's bundle. The pictures that its clips were made from go with them.

        Raises ProjectError for a project that is not there, LoraError for a LoRA that is not, StorageError.
        """
        project = self._projects.existing(name)
        clips = list(self._clips(project)) if with_clips else []
        loras = self._lora_files(project, clips)
        manifest = Manifest(VERSION, project.id, tuple(self._needs(project, clips, loras)))
        files = {f"presets/{path.name}": path for path in self._own_presets(manifest)}
        files |= {f"loras/{name}": path for name, path in loras.items()} if with_loras else {}
        files |= {f"inputs/{path.name}": path for path in self._inputs(clips)}
        files |= dict(self._clip_files(clips))
        with whole_file(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1, ensure_ascii=False))
            path = self._projects.path(project.id)
            archive.writestr(FILE, path.read_text(encoding="utf-8") if path.is_file() else f'title = "{project.id}"\n')
            for member, path in files.items():
                archive.write(path, member)
        return target

    def _clips(self, project: Project) -> Iterator[Clip]:
        query, offset = GalleryQuery(project=project.label), 0
        while page := self._gallery.page(query, offset, PAGE).items:
            yield from (clip for clip in page if clip.project == project.label and clip.path.is_file())
            offset += PAGE

    def _lora_files(self, project: Project, clips: Iterable[Clip]) -> dict[str, Path]:
        """The files of LoRAs by their place below a folder. The setup's must be there, those of clips may be gone."""
        wanted = {lora.name for lora in project.setup.loras or ()}
        files = [path for name in sorted(wanted) for path in self._loras.find(name).paths]
        for name in sorted({lora.name for clip in clips for lora in clip.request.loras} - wanted):
            try:
                files += self._loras.find(name).paths
            except LoraError:
                continue  # `_needs` has its name
        return {self._below_loras(path): path for path in files}

    def _below_loras(self, path: Path) -> str:
        folder = next(folder for folder in self._loras.folders if path.is_relative_to(folder))
        return path.relative_to(folder).as_posix()

    def _needs(self, project: Project, clips: list[Clip], loras: dict[str, Path]) -> Iterator[Need]:
        setup, requests = project.setup, [clip.request for clip in clips]
        models = {setup.model, project.draft.model, project.final.model, *(request.model for request in requests)}
        presets = {setup.preset, *(request.preset for request in requests)}
        for kind, names in ((NeedKind.MODEL, models), (NeedKind.PRESET, presets)):
            yield from (Need(kind, name) for name in sorted(name for name in names if name))
        for name, path in loras.items():
            yield Need(NeedKind.LORA, name, self._catalog.sha256(path))

    def _own_presets(self, manifest: Manifest) -> Iterator[Path]:
        """The files of the styles that a person made; those that ship are everywhere."""
        for need in manifest.needs:
            path = self._settings.own_presets / f"{need.name}.toml"
            if need.kind is NeedKind.PRESET and path.is_file():
                yield path

    def _inputs(self, clips: Iterable[Clip]) -> list[Path]:
        used = {name for clip in clips for name in clip.request.input_names}
        return sorted(path for path in self._settings.inputs.glob("*") if path.stem in used)

    def _clip_files(self, clips: Iterable[Clip]) -> Iterator[tuple[str, Path]]:
        for clip in clips:
            for path in (clip.path, receipt_path(clip.path), clip.poster, latents_path(clip.path)):
                if path.is_file():
                    yield f"clips/{path.relative_to(self._settings.clips).as_posix()}", path

    # Reading

    @main_app_only
    def read(self, source: Path) -> Imported:
        """Take in a bundle: a new project, and of what came with it all that is not here yet.

        Raises ProjectError for what is no bundle or a project that is here already, StorageError.
        """
        try:
            with zipfile.ZipFile(source) as archive:
                manifest, members = _manifest(archive), _members(archive)
                project = self._project(archive, manifest)
                check_room(self._settings.workspace, sum(member.file_size for member in members))
                clips = sum(self._unpack(archive, member) for member in members)
                self._projects.create(project)  # last: a bundle that broke off is imported again
        except DAMAGED_ZIP as error:
            raise ProjectError(f"{source.name} is no whole ZIP file; export the project again.") from error
        except OSError as error:
            raise ProjectError(f"{source.name} cannot be read ({error.strerror}); choose another file.") from error
        self._gallery.rescan()
        return Imported(project, clips, tuple(need for need in manifest.needs if not self._has(need)))

    def _project(self, archive: zipfile.ZipFile, manifest: Manifest) -> Project:
        """The bundle's project. Raises ProjectError if it cannot be read, or is here already."""
        name = project_id(manifest.project)
        if name != manifest.project:  # the clips' receipts would be another project's
            raise ProjectError(f"No folder can have the name of the bundle's project '{manifest.project[:80]}'.")
        if self._projects.find(name):
            raise ProjectError(f"There is a project '{name[:80]}' here already; rename its folder, then import again.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name / FILE
            path.parent.mkdir()
            path.write_bytes(_small(archive, FILE))
            return read_project(path)

    def _unpack(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
        """Write a member to its place, unless something is there. Whether it was a clip."""
        target = self._place(member.filename)
        if target is None or target.exists():
            return False
        with whole_file(target) as part:
            with archive.open(member) as packed, part.open("wb") as file:
                shutil.copyfileobj(packed, file, 2**20)
            if target.parent == self._settings.own_presets:
                load_preset(part)
        return target.suffix == ".mp4"

    def _place(self, name: str) -> Path | None:
        """Where a member goes; None for one that has no place in a studio."""
        kind, _, rest = name.partition("/")
        parts = PurePosixPath(rest).parts
        if not rest or any(part.startswith("/") or part.endswith((" ", ".")) for part in parts):  # "..", too
            return None
        match kind:
            case "presets" if re.fullmatch(r"[\w-]+\.toml", rest):
                return self._settings.own_presets / rest
            case "inputs" if INPUT_NAME.fullmatch(rest):
                return self._settings.inputs / rest
            case "loras" if LORA_NAME.fullmatch(rest):
                return self._settings.loras.joinpath(*parts)
            case "clips" if CLIP_NAME.fullmatch(rest) and not parts[0].startswith("."):
                return self._settings.clips.joinpath(*parts)
            case _:
                return None

    def _has(self, need: Need) -> bool:
        match need.kind:
            case NeedKind.MODEL:
                return any(model.spec.id == need.name for model in self._models.installed())
            case NeedKind.PRESET:
                return need.name in self._presets.current()
            case NeedKind.LORA:
                here = [folder / need.name for folder in self._loras.folders if (folder / need.name).is_file()]
                return bool(here) and self._catalog.sha256(here[0]) == need.sha256


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    try:
        return parse(Manifest, parse_json(_small(archive, MANIFEST)))
    except OutsideDataError as error:
        raise ProjectError(f"The bundle's {MANIFEST} cannot be read: {error}; export the project again.") from error


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of a bundle. Raises ProjectError for more, or larger ones, than a bundle may hold."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_FILES or sum(member.file_size for member in members) > MAX_BYTES:
        raise ProjectError(
            f"A bundle holds at most {MAX_FILES:,} files and {MAX_BYTES // 2**30} GB; export fewer clips."
        )
    if large := next((member for member in members if member.file_size > MAX_FILE_BYTES), None):
        raise ProjectError(f"{large.filename[:80]} is larger than {MAX_FILE_BYTES // 2**30} GB; leave it out.")
    return members


def _small(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        with archive.open(name) as file:
            content = file.read(MAX_SMALL_BYTES + 1)
    except KeyError:
        raise ProjectError(f"This ZIP file is no project: it holds no {name}.") from None
    if len(content) > MAX_SMALL_BYTES:
        raise ProjectError(
            f"The bundle's {name} is larger than {MAX_SMALL_BYTES // 2**20} MB; export the project again."
        )
    return content
