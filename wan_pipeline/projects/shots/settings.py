"""The settings of a shot, which its takes get: stored as a list's row, and as a layer above those of the project."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from wan_pipeline.errors import ImageError, ProjectError, UserError
from wan_pipeline.requests.inputs.pictures import Pictures
from wan_pipeline.requests.layers import Setup
from wan_pipeline.requests.lists.clips import Row, read_row, row_values
from wan_pipeline.requests.lists.pictures import PICTURE_FOLDER
from wan_pipeline.requests.options import FILES
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.outside import OutsideDataError, parse_json

_IN_SETUP = tuple(each.name for each in fields(Setup) if each.name in {own.name for own in fields(Draft)})


def to_json(draft: Draft, pictures: Pictures) -> str:
    """A draft's settings but its seed, its pictures saved in the workspace. Raises ImageError or StorageError."""
    values = row_values(Row(0, replace(draft, seed=None)))
    files = {option.name: getattr(draft, option.field) for option in FILES}
    values |= {name: _saved(path, pictures) for name, path in files.items() if path is not None}
    if draft.reference_images:
        values["reference-image"] = [_saved(path, pictures) for path in draft.reference_images]
    return json.dumps(values, ensure_ascii=False, sort_keys=True)


def from_json(stored: str, pictures: Pictures) -> Draft:
    """The inverse of `to_json`. Raises ProjectError for settings that cannot be read, or a picture that is gone."""
    try:
        values = parse_json(stored)
        return read_row(0, values, _SavedPictures(pictures)).draft if isinstance(values, dict) else Draft()
    except (OutsideDataError, UserError) as error:
        raise ProjectError(f"The shot's settings cannot be read ({error}); set them again.") from error


def layer_of(draft: Draft) -> tuple[Setup, Draft]:
    """The part of a shot's settings that is a layer below the form, and the rest: prompt and pictures."""
    chosen: dict[str, Any] = {name: getattr(draft, name) for name in _IN_SETUP}
    negative = chosen["negative_prompt"]
    setup = Setup(**chosen, replaces_negative_prompt=negative is not None)
    nothing: dict[str, Any] = dict.fromkeys(_IN_SETUP)
    return setup, replace(draft, **nothing)


def over(given: Draft, below: Draft) -> Draft:
    """The draft with what it leaves open filled from another one."""
    blank = Draft()
    own = {each.name: getattr(given, each.name) for each in fields(Draft)}
    return replace(below, **{name: value for name, value in own.items() if value != getattr(blank, name)})


def _saved(path: Path, pictures: Pictures) -> str:
    """A picture by its name in the workspace. A video by its own path: its frames depend on the clip's rate."""
    try:
        pictures.measure(path)
    except ImageError:
        return str(path.absolute())
    return f"{PICTURE_FOLDER}{pictures.save_picture(path)}"


class _SavedPictures:
    """Finds `images/NAME` among the workspace's pictures, and other names on the disk."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def find(self, name: str) -> Path:
        if not name.startswith(PICTURE_FOLDER):
            return Path(name)
        found = self._pictures.find(name.removeprefix(PICTURE_FOLDER))
        if found is None or not found.is_file():
            raise ImageError("its picture is gone from the workspace")
        return found
