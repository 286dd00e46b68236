"""The files that keep the cuts of a project, and the versions of each that were saved."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.projects.cut.cut import Cut
from wan_pipeline.projects.naming import safe_name
from wan_pipeline.storage.files import modified, whole_file
from wan_pipeline.storage.outside import OutsideDataError, Time, parse, printable, read_json_file

MAX_VERSION_NAME = 80
"""Characters."""


@dataclass(frozen=True)
class Version:
    """A cut as it was when it was saved under a number."""

    number: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(max_length=MAX_VERSION_NAME)]
    at: Time
    cut: Cut

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat(timespec="seconds")}


class CutFiles:
    """The cuts of one project: a JSON file each, in its folder `cuts`, and one for each version below it."""

    def __init__(self, project_folder: Path) -> None:
        self._folder = project_folder / "cuts"

    def names(self) -> list[str]:
        """Of the files that can be cuts: macOS puts its own ones, such as `._main.json`, beside them."""
        return sorted(stem for path in self._folder.glob("*.json") if safe_name(stem := path.stem) == stem)

    def state(self, name: str) -> tuple[int, ...]:
        """Changes whenever a cut is made or deleted, or this one is saved."""
        path = self._path(name)
        return *modified(self._folder), *modified(path)

    def same_name(self, name: str) -> str:
        """The cut whose file would be the same on a system that tells no case apart; empty if there is none."""
        wanted = _key(check_name(name))
        return next((each for each in self.names() if _key(each) == wanted), "")

    def find(self, name: str) -> Cut | None:
        """The cut under the name that is asked for: a copied file is a cut of its own, whatever name is written in it.

        Raises ProjectError for a file that cannot be read.
        """
        path = self._path(name)
        try:
            return replace(parse(Cut, read_json_file(path)), name=name)
        except FileNotFoundError:
            return None
        except (OutsideDataError, OSError) as error:
            raise ProjectError(f"The cut {path} cannot be read: {error}; correct or delete it.") from error

    def save(self, cut: Cut) -> Path:
        """Raises StorageError."""
        path = self._path(cut.name)
        _write(path, cut.to_dict())
        return path

    def delete(self, name: str) -> None:
        """Its versions stay, and are those of the next cut of that name."""
        self._path(name).unlink(missing_ok=True)

    # Versions

    def versions(self, name: str) -> list[Version]:
        """The oldest first. A file that cannot be read is left out."""
        return self.read_versions(name)[0]

    def read_versions(self, name: str) -> tuple[list[Version], list[str]]:
        """The versions, the oldest first, and why others cannot be read, a sentence each."""
        found: list[Version] = []
        problems: list[str] = []
        for path in _json_files(self._versions(name)):
            try:
                version = _version(path)
            except ProjectError as error:
                problems.append(str(error))
            else:
                found.append(replace(version, cut=replace(version.cut, name=name)))
        return sorted(found, key=lambda version: version.number), problems

    def version(self, name: str, number: int) -> Version:
        """Raises ProjectError."""
        versions = self.versions(name)
        for version in versions:
            if version.number == number:
                return version
        known = ", ".join(str(version.number) for version in versions) or "none"
        raise ProjectError(f"The cut '{name}' has no version {number}; there are: {known}.")

    def save_version(self, cut: Cut, name: str) -> Version:
        """Save the cut as it is. Raises StorageError, ProjectError for a name that is too long."""
        text = printable(name).strip()
        if len(text) > MAX_VERSION_NAME:
            raise ProjectError(f"The version's name has {len(text)} characters; use at most {MAX_VERSION_NAME}.")
        files = self._versions(cut.name).glob("*.json")  # also those of a newer program, which cannot be read
        number = max((int(path.stem) for path in files if path.stem.isdecimal()), default=0) + 1
        version = Version(number, text, datetime.now(UTC), cut)
        self.put_version(version)
        return version

    def put_version(self, version: Version) -> None:
        """Save a version under the number that it has. Raises StorageError."""
        _write(self._versions(version.cut.name) / f"{version.number:04}.json", version.to_dict())

    # Clips

    def rename_clips(self, names: Mapping[str, str]) -> list[str]:
        """Give clips their new names in all cuts and versions. Returns what could not be changed, a sentence each."""
        notes: list[str] = []
        for name in self.names():
            try:
                if (cut := self.find(name)) and (renamed := _renamed(cut, names)) != cut:
                    self.save(renamed)
            except UserError as error:
                notes.append(str(error))
        for path in _json_files(self._folder / "versions", "*/*.json"):
            try:
                version = _version(path)
                if (renamed := _renamed(version.cut, names)) != version.cut:
                    _write(path, replace(version, cut=renamed).to_dict())
            except UserError as error:
                notes.append(str(error))
        return notes

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}.json"

    def _versions(self, name: str) -> Path:
        return self._folder / "versions" / check_name(name)


def _write(path: Path, value: dict[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _renamed(cut: Cut, names: Mapping[str, str]) -> Cut:
    return cut.with_items(tuple(replace(item, clip=names.get(item.clip, item.clip)) for item in cut.items))


def _json_files(folder: Path, pattern: str = "*.json") -> list[Path]:
    """Without those that macOS puts beside them."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _version(path: Path) -> Version:
    """Raises ProjectError."""
    try:
        return parse(Version, read_json_file(path))
    except (OutsideDataError, OSError) as error:
        raise ProjectError(f"The version {path} cannot be read: {error}; it stays as it is.") from error


def _key(name: str) -> str:
    """Equal for names that some system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_name(name: str) -> str:
    """Raises ProjectError for what cannot be the name of a file everywhere."""
    if not name or safe_name(name) != name:
        raise ProjectError(f"'{name[:80]}' cannot be the name of a cut; use letters, digits, spaces and hyphens.")
    return name
