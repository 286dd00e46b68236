"""The characters and places of projects: listed, added, changed, removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.file import checked
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.inputs.pictures import Pictures
from wan_pipeline.requests.prompts.characters import MAX_NAME, MENTION, Character, find_character
from wan_pipeline.wording import listed


class ProjectCharacters:
    """They are in the project's file, their pictures among the workspace's input files.

    Every method that changes something raises ProjectError for what the file cannot hold, and LookingOnError in an app
    that only looks on.
    """

    def __init__(self, projects: Projects, pictures: Pictures) -> None:
        self._projects, self._pictures = projects, pictures

    def all(self, project: str) -> Mapping[str, Character]:
        """Those of the project of that name, by their names; none for a project without a file."""
        found = self._projects.find(project)
        return found.characters if found else {}

    def existing(self, project: str, name: str) -> tuple[str, Character]:
        """One, with its name as the project writes it; an `@` before it is skipped. Raises ProjectError."""
        characters = self.all(project)
        if (found := find_character(characters, name.strip().removeprefix("@"))) is not None:
            return found
        known = f"it has {listed([f'@{each}' for each in characters])}" if characters else "it has none yet"
        raise ProjectError(f"There is no character or place '{name[:60]}' in the project; {known}.")

    def add(self, project: str, name: str, character: Character, pictures: Sequence[Path] = ()) -> str:
        """Add one and return its name. A project that does not exist is made. Raises ProjectError, ImageError."""
        name = _checked_name(name)
        if find_character(self.all(project), name):
            raise ProjectError(f"There is a character or place @{name} already; edit it, or choose another name.")
        shown = self.with_pictures(character, pictures)  # a picture with a fault makes no project
        self._write(self._projects.ensure(project)[0], name, name, shown)
        return name

    def change(self, project: str, name: str, character: Character, new_name: str = "") -> str:
        """Give one other words, LoRA or pictures, or another name. Returns the name. Raises ProjectError."""
        name, _ = self.existing(project, name)
        new_name = _checked_name(new_name) if new_name else name
        other = find_character(self.all(project), new_name)
        if other is not None and other[0] != name:
            raise ProjectError(f"There is a character or place @{new_name} already; choose another name.")
        self._write(self._projects.existing(project), name, new_name, character)
        return new_name

    def remove(self, project: str, name: str) -> None:
        """Its pictures stay in the workspace: clips may have been made from them. Raises ProjectError."""
        name, _ = self.existing(project, name)
        owner = self._projects.existing(project)
        left = {known: each for known, each in owner.characters.items() if known != name}
        self._projects.save(replace(owner, characters=left))

    def with_pictures(self, character: Character, pictures: Sequence[Path]) -> Character:
        """The character with pictures more, which are saved in the workspace. Raises ImageError or StorageError."""
        saved = (*character.pictures, *map(self._pictures.save_picture, pictures))
        return replace(character, pictures=tuple(dict.fromkeys(saved)))

    def pictures(self, character: Character) -> list[Path]:
        """The files of its pictures, those that are there."""
        paths = (self._pictures.find(name) for name in character.pictures)
        return [path for path in paths if path and path.is_file()]

    def _write(self, project: Project, name: str, new_name: str, character: Character) -> None:
        characters = dict(project.characters)
        if name in characters:
            characters = {new_name if known == name else known: each for known, each in characters.items()}
        self._projects.save(checked(replace(project, characters={**characters, new_name: character})))


def _checked_name(name: str) -> str:
    """Raises ProjectError for a name that no prompt can hold after an `@`."""
    name = name.strip().removeprefix("@")
    match = MENTION.fullmatch(f"@{name}")
    if match is None or len(name) > MAX_NAME:
        raise ProjectError(
            f"'{name[:60]}' is no name for a character; use 1 to {MAX_NAME} letters, digits and hyphens: old-mill."
        )
    return name
