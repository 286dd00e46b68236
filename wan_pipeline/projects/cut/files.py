"""The files that keep the cuts of a project, and the versions of each that were saved."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.errors import ProjectError
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
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def state(self, name: str) -> tuple[int, ...]:
        """Changes whenever a cut is made or deleted, or this one is saved."""
        path = self._path(name)
        return *modified(self._folder), *modified(path)

    def find(self, name: str) -> Cut | None:
        """Raises ProjectError for a file that cannot be read."""
        path = self._path(name)
        try:
            return parse(Cut, read_json_file(path))
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
        found = [_version(path) for path in sorted(self._versions(name).glob("*.json"))]
        return sorted(filter(None, found), key=lambda version: version.number)

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
        number = max((version.number for version in self.versions(cut.name)), default=0) + 1
        version = Version(number, text, datetime.now(UTC), cut)
        self.put_version(version)
        return version

    def put_version(self, version: Version) -> None:
        """Save a version under the number that it has. Raises StorageError."""
        _write(self._versions(version.cut.name) / f"{version.number:04}.json", version.to_dict())

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}.json"

    def _versions(self, name: str) -> Path:
        return self._folder / "versions" / check_name(name)


def _write(path: Path, value: dict[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _version(path: Path) -> Version | None:
    try:
        return parse(Version, read_json_file(path))
    except (OutsideDataError, OSError):
        return None


def check_name(name: str) -> str:
    """Raises ProjectError for what cannot be the name of a file everywhere."""
    if not name or safe_name(name) != name:
        raise ProjectError(f"'{name[:80]}' cannot be the name of a cut; use letters, digits, spaces and hyphens.")
    return name
