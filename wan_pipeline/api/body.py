"""Bodies of requests: a JSON object, or a form with uploads. What cannot be read is a RequestError, no traceback."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from wan_pipeline.access.uploads import Uploads
from wan_pipeline.api.threads import Run
from wan_pipeline.errors import RequestError
from wan_pipeline.storage.outside import MAX_BYTES, OutsideDataError, parse_json

MAX_FILES = 8
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""What guests may send, by its ending."""
MAX_FIELDS = 60
MAX_JSON_BYTES = 32 * 2**20
"""With a picture in it."""
BROKEN_OFF = "The body is larger than it may be, or was cut off."

Keep = Callable[[BinaryIO, str], Path]
"""Saves an upload under a name of our own with this ending, for what a request calls its file does not matter."""


@dataclass
class Body:
    """The fields of a request, and the files that came with it."""

    values: dict[str, Any]
    files: dict[str, list[Path]] = field(default_factory=dict)


def kept_in(folder: Path) -> Keep:
    """For the owner's files, in a folder that is removed after the request."""

    def keep(content: BinaryIO, ending: str) -> Path:
        path = folder / f"{uuid4().hex}{ending}"
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        return path

    return keep


def charged_to(uploads: Uploads, key_id: str) -> Keep:
    """For a guest's pictures, which count towards what the guest may send in a day, whatever becomes of the request."""

    def keep(content: BinaryIO, ending: str) -> Path:
        check_picture(ending)
        return uploads.path(uploads.add(content, ending, key_id), key_id)

    return keep


def check_picture(ending: str) -> None:
    """Raise RequestError for a guest's file of another kind: ffmpeg reads videos, for as long as they last."""
    if ending not in PICTURES:
        raise RequestError("files", f"Guests send pictures (PNG, JPEG or WebP); '{ending}' is not one of them.")


async def read_json(request: Request, run: Run, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object of a request, parsed by `run`: a picture in it takes its time. Raises RequestError."""
    try:
        content = await request.body() or b"{}"
        values = await run(partial(parse_json, content, max_bytes))
    except OutsideDataError as wrong:
        raise RequestError("body", f"The body cannot be read: {wrong}.") from wrong
    except ClientDisconnect:
        raise RequestError("body", BROKEN_OFF) from None
    if not isinstance(values, dict):
        raise RequestError("body", 'The body is no JSON object; send one such as {"prompt": "a red ball"}.')
    return values


async def read_body(request: Request, run: Run, keep: Keep) -> Body:
    """JSON, or a form with files. Raises RequestError, and what `keep` raises."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind == "application/json":
        return Body(await read_json(request, run, MAX_JSON_BYTES))
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise RequestError("body", f"The body is '{kind[:60]}'; send JSON or a form.")
    body = Body({})
    async with form_of(request, max_fields=MAX_FIELDS) as form:
        for key, value in form.multi_items():
            name = key.removesuffix("[]")  # as some clients write the name of a list
            if isinstance(value, UploadFile):
                path = await run(partial(keep, value.file, ending_of(value)))
                body.files.setdefault(name, []).append(path)
            elif name == "lora":
                body.values.setdefault(name, []).append(value)
            elif name in body.values:
                raise RequestError(name, f"The setting '{name[:80]}' comes twice; send it once.")
            else:
                body.values[name] = value
    return body


@asynccontextmanager
async def form_of(request: Request, *, max_fields: int) -> AsyncIterator[FormData]:
    """The form of a request; its files are closed at the end of the block. Raises RequestError."""
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=max_fields)
    except HTTPException as wrong:
        raise RequestError("body", f"The form cannot be read: {wrong.detail}") from wrong
    except ClientDisconnect:
        raise RequestError("body", BROKEN_OFF) from None
    try:
        yield form
    finally:
        await form.close()


def ending_of(upload: UploadFile) -> str:
    """The ending of an upload's name, with its dot; empty for an invalid one."""
    ending = Path(upload.filename or "").suffix.lower()
    return ending if ending[1:].isalnum() and ending.isascii() and len(ending) < 8 else ""
