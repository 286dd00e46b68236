"""From the fields of a request of the HTTP API, or the arguments of a tool, to a `Draft`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wan_pipeline.access.roles import Role
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import RequestError
from wan_pipeline.requests import options
from wan_pipeline.requests.layers import with_none_read
from wan_pipeline.requests.lists.clips import is_yes, profile_of
from wan_pipeline.requests.request import Draft, LoraChoice

SECONDS = "seconds"
SIZE = "size"
REFERENCE = "input_reference"
LORA = "lora"
REFERENCES = "reference_image"
OTHERS = (SECONDS, SIZE, LORA)
PLACE = ("project", "profile", "deterministic")
"""Fields that are no settings of the clip; see `Place`."""
FILE_FIELDS = {option.field for option in options.FILES}
_BY_NAME = {option.name.replace("-", "_"): option for option in options.OPTIONS if option.field not in FILE_FIELDS}
_BY_FIELD = {option.field: option for option in options.OPTIONS if option.field not in FILE_FIELDS}
SETTINGS = {**_BY_FIELD, **_BY_NAME}
"""Options by the names of `generate` (`steps`) and by those of diffusers (`num_inference_steps`)."""
FILES = {REFERENCE: "image", REFERENCES: "reference_images", **{field: field for field in sorted(FILE_FIELDS)}}
"""Names of uploads, and the field of `Draft` that each fills."""
VIDEOS = frozenset({"control_video", "control_mask"})
"""Uploads that ffmpeg reads."""
ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "video/mp4": ".mp4", "video/webm": ".webm"}
FramesOf = Callable[[Draft, float], int]
"""The number of frames of a clip of this many seconds: `CallerStudio.frames_of`, in the clip's project."""


def draft_of(values: Mapping[str, Any], files: Mapping[str, Sequence[Path]], frames_of: FramesOf) -> Draft:
    """Raises RequestError for a name that is not known or a value that cannot be read.

    `files` are uploads by the names of FILES. The limits of values are checked when the draft is resolved.
    """
    known = {name: value for name, value in values.items() if value is not None and value != ""}
    for name in known:
        if name not in SETTINGS and name not in OTHERS:
            raise RequestError(name, _unknown(name))
    fields = {SETTINGS[name].field: _value(name, known[name]) for name in known if name in SETTINGS}
    fields |= (
        _size(known.get(SIZE)) | ({"loras": tuple(_loras(known[LORA]))} if LORA in known else {}) | _uploads(files)
    )
    draft = with_none_read(Draft(**{"prompt": "", **fields}))
    if SECONDS not in known:
        return draft
    return _with_seconds(draft, _number(SECONDS, known[SECONDS]), frames_of)


@dataclass(frozen=True)
class Place:
    """What a clip belongs to, and how it is made there, beside its settings."""

    project: str
    profile: str
    """The project's "draft" or "final", or "" for neither."""
    deterministic: bool


def place_of(studio: CallerStudio, values: dict[str, Any]) -> Place:
    """Take the place of a clip out of the fields of a request. Raises RequestError for a guest who names a project."""
    project, profile, deterministic = (values.pop(name, None) for name in PLACE)
    if project and studio.caller.role is not Role.OWNER:
        raise RequestError("project", "Clips go to the project of your key; leave the project out.")
    return Place(str(project or ""), profile_of(profile), is_yes("" if deterministic is None else deterministic))


def decode_data_url(url: str) -> tuple[bytes, str]:
    """The picture of a `data:` URL and the ending of its kind. Raises RequestError; no other address is opened."""
    head, _, data = url.partition(",")
    kind = head.removeprefix("data:").removesuffix(";base64")
    if not url.startswith("data:") or not head.endswith(";base64") or kind not in ENDINGS:
        raise RequestError(
            REFERENCE, "A picture is sent as an upload or as a data: URL in base64 (PNG, JPEG or WebP), not by address."
        )
    try:
        return base64.b64decode(data, validate=True), ENDINGS[kind]
    except binascii.Error as error:
        raise RequestError(REFERENCE, f"The picture's base64 cannot be read ({error}); send it again.") from error


def _unknown(name: str) -> str:
    if name in FILES:
        return f"'{name}' is a file: send it as an upload (multipart/form-data), not as text."
    return f"There is no setting '{name[:80]}'; choose from: {', '.join(sorted((*_BY_NAME, *OTHERS, *PLACE)))}."


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RequestError(name, f"The setting '{name}' is a {type(value).__name__}; send a text or a number.")
    text = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
    return SETTINGS[name].parse(text)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RequestError(name, f"'{name}' is a {type(value).__name__}; send a number.")
    return options.number(name)(str(value))


def _size(size: Any) -> dict[str, int]:
    """Width and height in "1280x720"."""
    if size is None:
        return {}
    width, _, height = str(size).lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()) or len(str(size)) > 20:
        raise RequestError(SIZE, f"The size '{str(size)[:40]}' is not one; write it as 832x480.")
    return {"width": int(width), "height": int(height)}


def _loras(value: Any) -> Iterable[LoraChoice]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise RequestError(LORA, "LoRAs are texts such as ink=0.8; send one, or a list of them.")
    return [options.lora(text) for text in texts]


def _uploads(files: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, paths in files.items():
        if name not in FILES:
            raise RequestError(name, f"There is no file '{name[:80]}'; choose from: {', '.join(FILES)}.")
        if name == REFERENCES:
            found[FILES[name]] = tuple(paths)
        elif len(paths) != 1:
            raise RequestError(name, f"There are {len(paths)} files '{name}'; send one.")
        else:
            found[FILES[name]] = paths[0]
    return found


def _with_seconds(draft: Draft, seconds: float, frames_of: FramesOf) -> Draft:
    """The number of frames nearest to this many seconds. Raises RequestError for both."""
    if draft.num_frames is not None:
        raise RequestError(SECONDS, "Send either the seconds or the number of frames, not both.")
    if not 0 < seconds <= 3600:
        raise RequestError(SECONDS, f"{seconds:g} seconds are no length of a clip; use one such as 4.")
    return replace(draft, num_frames=frames_of(draft, seconds))
