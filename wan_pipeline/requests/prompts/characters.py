"""Characters and places of a project, which prompts name by `@anna`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.requests.request import LoraChoice

MAX_NAME = 40
MAX_SENTENCE = 1000
MAX_PICTURES = 8
MAX_CHARACTERS = 200
"""Of one project."""
MENTION = re.compile(r"(?<![\w@./-])@(\w+(?:-\w+)*)")
"""`@anna`, and not the address in `anna@example.org`."""

CharacterName = Annotated[str, Field(max_length=MAX_NAME, pattern=r"^\w+(-\w+)*$")]
PictureName = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""SHA-256 of a picture in the workspace's `inputs` folder."""


class CharacterKind(StrEnum):
    CHARACTER = "character"
    PLACE = "place"


@dataclass(frozen=True)
class Character:
    """A character or a place: what brings it into a clip. A model uses what it can of it."""

    kind: CharacterKind = CharacterKind.CHARACTER
    sentence: Annotated[str, Field(max_length=MAX_SENTENCE)] = ""
    """What a prompt says in its place: "a woman with short red hair"."""
    lora: LoraChoice | None = None
    pictures: Annotated[tuple[PictureName, ...], Field(max_length=MAX_PICTURES)] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def to_dict(self) -> dict[str, Any]:
        """For a project's file, without what is empty."""
        lora = {"lora": self.lora.to_dict()} if self.lora else {}
        pictures = {"pictures": list(self.pictures)} if self.pictures else {}
        return {"kind": self.kind.value, **({"sentence": self.sentence} if self.sentence else {}), **lora, **pictures}


Characters = Annotated[dict[CharacterName, Character], Field(max_length=MAX_CHARACTERS)]
"""Characters and places by their names."""


def mentions(prompt: str) -> Iterator[str]:
    """The names after `@` in a prompt, as they are written, each once."""
    yield from dict.fromkeys(found[1] for found in MENTION.finditer(prompt))


def find_character(characters: Mapping[str, Character], name: str) -> tuple[str, Character] | None:
    """The character of that name, whatever its case, with the name as the project writes it."""
    wanted = name.casefold()
    return next(((known, each) for known, each in characters.items() if known.casefold() == wanted), None)
