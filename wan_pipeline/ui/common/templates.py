"""HTML from jinja2 templates with automatic escaping. A template is in the folder `templates` of its room."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined

from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.ui.common.room import RoomId
from wan_pipeline.wording import data_size, duration, plural, without_folders

UI = Path(__file__).parent.parent


class Templates:
    """Renders `room/name.html`, the file `ui/<room>/templates/<name>.html`; `common` counts as a room.

    Every value is escaped. An undefined variable raises. `shared` are values that all templates may use;
    `refusal(act)`, why a button is disabled, says nothing unless it is among them.
    """

    def __init__(self, shared: Mapping[str, Any] | None = None) -> None:
        folders = {room: FileSystemLoader(UI / room / "templates") for room in ("common", "guest", *RoomId)}
        self._environment = Environment(
            loader=PrefixLoader(folders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "data_size": data_size,
            "without_folders": without_folders,
            "duration": duration,
            "plural": plural,
            "file_url": file_url,
            "webp_url": webp_url,
            "frame_size": frame_size,
            "clip_length": clip_length,
        }
        self._environment.globals |= {"refusal": lambda act: "", **(shared or {})}

    def render(self, name: str, /, **values: Any) -> str:
        """Equal values give equal HTML, so that a page can leave alone what has not changed."""
        return self._environment.get_template(name).render(values).strip()


def file_url(path: Path) -> str:
    """Where Gradio serves a file of an allowed folder. Relative, so that it works behind a proxy too."""
    return "gradio_api/file=" + quote(path.absolute().as_posix(), safe="/:")


def drawing_mark() -> int:
    """Another one each time. As `data-drawn-at` it makes equal HTML differ, so that Gradio draws it and its fields show
    their values in place of what was typed: see fields.js.
    """
    return time.monotonic_ns()


def webp_url(picture: bytes) -> str:
    """The picture itself as a URL, for a file that may be replaced while the browser loads it."""
    return f"data:image/webp;base64,{b64encode(picture).decode()}"


def frame_size(request: GenerationRequest) -> str:
    """For example: 832 × 480."""
    return f"{request.width} × {request.height}"


def clip_length(request: GenerationRequest) -> str:
    """Seconds from the first frame to the last: 2 s."""
    return f"{request.seconds:.3g} s"
