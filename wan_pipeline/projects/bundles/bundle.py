"""A project as one ZIP: its setup and what it needs, so that it goes on on another machine.

The ZIP holds `bundle.json` (the manifest), `project.toml`, and in folders what was put in: `presets/`, `loras/`,
`inputs/` and `clips/`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.project import Project
from wan_pipeline.requests.limits import Name
from wan_pipeline.requests.lists.pictures import read_member
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

MANIFEST = "bundle.json"
VERSION = 1
MAX_FILES = 50_000
MAX_FILE_BYTES = 20 * 2**30
MAX_BYTES = 500 * 2**30
"""Bytes of all files of a bundle, unpacked."""
MAX_SMALL_BYTES = 2**20
"""Bytes of the manifest, the project's file, a style or a receipt."""


class NeedKind(StrEnum):
    MODEL = "model"
    PRESET = "preset"
    """A style or a quality."""
    SPEED = "speed"
    LORA = "lora"


@dataclass(frozen=True)
class Need:
    """Something that the project or one of its clips uses. A LoRA of two files is two needs of one name."""

    kind: NeedKind
    name: Annotated[str, Field(min_length=1, max_length=500)]
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """Hash of a LoRA's file, or of a user's own style; empty for what is known by its name, or is gone."""

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
    skipped: int = 0
    """Clips that were left out."""
    notes: tuple[str, ...] = ()
    """What was left out of the bundle, a sentence each."""


def read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """Raises UserError."""
    try:
        return parse(Manifest, parse_json(read_member(archive, MANIFEST, MAX_SMALL_BYTES)))
    except OutsideDataError as error:
        raise ProjectError(f"The bundle's {MANIFEST} cannot be read: {error}; export the project again.") from error


def members_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of a bundle. Raises ProjectError for more, or larger ones, than a bundle may hold."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_FILES or sum(member.file_size for member in members) > MAX_BYTES:
        raise ProjectError(
            f"A bundle holds at most {MAX_FILES:,} files and {MAX_BYTES // 2**30} GB; export fewer clips."
        )
    if large := next((member for member in members if member.file_size > MAX_FILE_BYTES), None):
        raise ProjectError(f"{large.filename[:80]} is larger than {MAX_FILE_BYTES // 2**30} GB; leave it out.")
    return members
