"""The dialogs of a project's characters and places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.requests import options
from wan_pipeline.requests.prompts.characters import Character, CharacterKind
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click
from wan_pipeline.ui.common.parts.thumbnails import Thumbnails
from wan_pipeline.ui.common.templates import Templates

Shown = tuple[str, str]
"""A dialog, and the name of the character that it is of."""


class CastDialogs:
    """Each method raises UserError. A subject is the name of a character or a place; `project` is a label."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._characters, self._templates = studio, studio.characters, templates
        self._thumbnails = Thumbnails(studio.requests.pictures)

    @property
    def opens(self) -> Mapping[str, Callable[[Click, str], Shown]]:
        """What opens a dialog, or shows the open one anew."""
        return {
            "characters": lambda click, project: self.all(project),
            "character": lambda click, project: self.one(project, click.text or click.subject),
            "character-new": self._add,
            "character-name": self._rename,
            "character-no-picture": self._drop_picture,
            "character-remove": self._remove,
        }

    @property
    def changes(self) -> Mapping[str, Callable[[Click, str], str]]:
        """Boxes of the open dialog, which stays as it is."""
        return dict.fromkeys(("character-sentence", "character-lora", "character-weight", "character-kind"), self._set)

    def all(self, project: str) -> Shown:
        characters = self._characters.all(project)
        pictures = {name: self._first(each) for name, each in characters.items()}
        return self._templates.render("shots/cast.html", characters=characters, pictures=pictures), ""

    def one(self, project: str, name: str) -> Shown:
        name, character = self._characters.existing(project, name)
        pictures = [(picture, self._thumbnails.of_picture(picture)) for picture in character.pictures]
        html = self._templates.render(
            "shots/character.html", name=name, character=character, pictures=pictures, loras=self._studio.loras.names()
        )
        return html, name

    def add_pictures(self, project: str, name: str, paths: Sequence[Path]) -> Shown:
        name, character = self._characters.existing(project, name)
        self._characters.change(project, name, self._characters.with_pictures(character, paths))
        return self.one(project, name)

    def _first(self, character: Character) -> Path | None:
        """Thumbnail of its first picture that can be read."""
        return next(filter(None, map(self._thumbnails.of_picture, character.pictures)), None)

    def _add(self, click: Click, project: str) -> Shown:
        if not click.text.strip():
            raise UserError("A character needs a name, such as anna; write one first.")
        return self.one(project, self._characters.add(project, click.text, Character()))

    def _rename(self, click: Click, project: str) -> Shown:
        name, character = self._characters.existing(project, click.subject)
        return self.one(project, self._characters.change(project, name, character, click.text))

    def _drop_picture(self, click: Click, project: str) -> Shown:
        name, character = self._characters.existing(project, click.subject)
        left = tuple(picture for picture in character.pictures if picture != click.text)
        self._characters.change(project, name, replace(character, pictures=left))
        return self.one(project, name)

    def _remove(self, click: Click, project: str) -> Shown:
        self._characters.remove(project, click.subject)
        return self.all(project)

    def _set(self, click: Click, project: str) -> str:
        name, character = self._characters.existing(project, click.subject)
        self._characters.change(project, name, replace(character, **_change(click, character)))
        return ""


def _change(click: Click, character: Character) -> dict[str, Any]:
    text, lora = click.text.strip(), character.lora
    match click.act:
        case "character-sentence":
            return {"sentence": text}
        case "character-kind":
            return {"kind": CharacterKind(text)}
        case "character-lora":
            return {"lora": LoraChoice(text, lora.weight if lora else 1.0) if text else None}
        case _:
            if lora is None:
                raise UserError("Choose a LoRA before its weight.")
            return {"lora": options.lora(f"{lora.name}={text}")}
