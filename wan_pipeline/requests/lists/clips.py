"""One row of a list as a clip: from its values to a draft, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wan_pipeline.errors import LoraError, ModelError, RequestError, UserError
from wan_pipeline.requests import options
from wan_pipeline.requests.layers import PROFILES, with_none_read
from wan_pipeline.requests.lists.columns import COLUMNS, FIELDS, LISTS, OF_THE_SHOT, TEXTS
from wan_pipeline.requests.lists.pictures import PICTURE_FOLDER, PictureSource
from wan_pipeline.requests.lists.shots import ShotOfRow, read_shot
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.sampling.guidance_interval import interval_text
from wan_pipeline.requests.texts import MAX_NOTE_CHARACTERS, check_note, check_project
from wan_pipeline.storage.outside import printable

_OPTIONS = {option.name: option for option in options.OPTIONS}
_FILES = {option.name: option for option in options.FILES}
_WITHOUT_SHOT = tuple(name for name in COLUMNS if name not in OF_THE_SHOT)
_YES = ("yes", "true", "1", "1.0")
_NO = ("no", "false", "0", "0.0", "")


@dataclass(frozen=True)
class Row:
    """One clip of a list. `number` is its row in the spreadsheet or its line in the file, from 1."""

    number: int
    draft: Draft
    project: str = ""
    note: str = ""
    """The user's note, with the values of unknown columns."""
    deterministic: bool = False
    shot: ShotOfRow | None = None
    """The shot that the clip is a take of."""
    profile: str = ""
    """The project's "draft" or "final", or "" for neither."""
    request: GenerationRequest | None = field(default=None, compare=False)
    """What the draft was resolved to when the row was checked, so that it is checked once. Files are PENDING."""


@dataclass(frozen=True)
class BadRow:
    """A row that is no clip, with a sentence that says why. `column` is the one at fault, if one is."""

    number: int
    reason: str
    column: str = ""

    @classmethod
    def of(cls, number: int, error: UserError) -> BadRow:
        match error:
            case RequestError(field=fault):
                column = FIELDS.get(fault, fault if fault in COLUMNS else "")
            case LoraError():
                column = "lora"
            case ModelError():
                column = "model"
            case _:
                column = ""
        return cls(number, str(error), column)

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"Row {self.number}{column}: {self.reason}"


def read_row(number: int, values: Mapping[str, Any], pictures: PictureSource) -> Row:
    """The clip of a row. Raises UserError, a RequestError where one column is at fault."""
    settings = {
        option.field: _parsed(option, values[name])
        for name, option in _OPTIONS.items()
        if name in values and name not in _FILES
    }
    settings |= {
        option.field: pictures.find(_text(name, values[name])) for name, option in _FILES.items() if name in values
    }
    loras, references = (_texts(name, values.get(name, [])) for name in LISTS)
    draft = Draft(
        **settings,
        loras=tuple(_lora(lora) for lora in loras) if "lora" in values else None,
        reference_images=tuple(pictures.find(name.strip()) for name in references),
    )
    project = _text("project", values.get("project", "")).strip()
    check_project(project)
    draft = with_none_read(draft)
    note = _note(values)
    shot = read_shot(values, note)
    if shot and not draft.prompt:
        draft = replace(draft, prompt=shot.description)
    return Row(
        number, draft, project, note, is_yes(values.get("deterministic", "")), shot, profile_of(values.get("profile"))
    )


def row_values(row: Row) -> dict[str, Any]:
    """The inverse of `read_row`, with files as the members of a ZIP. What is None is left out."""
    draft = row.draft
    values = {name: getattr(draft, option.field) for name, option in _OPTIONS.items()}
    values |= {name: member_name(getattr(draft, option.field)) for name, option in _FILES.items()}
    values["reference-image"] = [member_name(path) for path in draft.reference_images] or None
    loras = [lora.text for lora in draft.loras or ()]
    values["lora"] = loras if draft.loras is not None else None  # an empty list means no LoRAs, not the project's
    values["guidance-interval"] = draft.guidance_interval and interval_text(draft.guidance_interval)
    values |= {"project": row.project or None, "profile": row.profile or None, "note": row.note or None}
    values["deterministic"] = "yes" if row.deterministic else None
    if row.shot:  # not the number of the take, which is taken where the clip is
        values |= {"scene": row.shot.scene or None, "shot": row.shot.shot, "description": row.shot.description or None}
    return {name: value for name, value in values.items() if value is not None}


def member_name(path: Path | None) -> str | None:
    """The name of an input picture in a ZIP."""
    return None if path is None else f"{PICTURE_FOLDER}{path.name}"


def unknown_columns(values: Mapping[str, Any]) -> list[str]:
    """The columns of a row that set nothing. Without a shot, a scene and a description do not either."""
    known = COLUMNS if str(values.get("shot", "")).strip() else _WITHOUT_SHOT
    return [name for name in values if name not in known]


def _parsed(option: options.Option, value: object) -> Any:
    try:
        return option.parse(_text(option.name, value))
    except RequestError:
        raise
    except UserError as error:
        raise RequestError(option.field, str(error)) from error


def _lora(text: str) -> Any:
    try:
        return options.lora(text)
    except UserError as error:
        raise RequestError("loras", str(error)) from error


def _note(values: Mapping[str, Any]) -> str:
    """What the column `note` holds, and then each unknown column with its name, as much of it as a note takes."""
    given = values.get("note")
    note = "" if given is None else printable(_shown(given))
    check_note(note)
    unknown = "\n".join(f"{name}: {_shown(values[name])}" for name in unknown_columns(values))
    unknown = "".join(character if character in "\n\t" or character.isprintable() else " " for character in unknown)
    note = "\n".join(part for part in (note, unknown) if part).strip()
    return note if len(note) <= MAX_NOTE_CHARACTERS else f"{note[: MAX_NOTE_CHARACTERS - 1]}…"


def _shown(value: object) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def profile_of(value: object) -> str:
    """The profile that somebody wrote; "" for none. Raises RequestError."""
    text = str(value or "").strip()
    if text.casefold() not in ("", *PROFILES):
        raise RequestError("profile", f"Its profile is '{text[:40]}'; write {' or '.join(PROFILES)}, or nothing.")
    return text.casefold()


def is_yes(value: object) -> bool:
    """Whether somebody wrote that a clip is deterministic. Raises RequestError."""
    text = str(value).strip().casefold()
    if text not in (*_YES, *_NO):
        raise RequestError("deterministic", f"Its deterministic is '{text[:40]}'; write yes or no.")
    return text in _YES


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        shown = json.dumps(value, default=str)[:80]
        raise RequestError(name, f"Its {name} is {shown}; write text or a number.")
    return value if name in TEXTS and isinstance(value, str) else str(value).strip()


def _texts(column: str, value: object) -> list[str]:
    """The texts of a list, or of one text with semicolons."""
    names = value.split(";") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        one = "NAME=WEIGHT" if column == "lora" else "FILE"
        shown = json.dumps(value, default=str)[:80]
        raise RequestError(column, f"Its {column} is {shown}; write {one};{one} or a list of such texts.")
    return [name for name in names if name.strip()]
