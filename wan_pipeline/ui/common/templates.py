"""HTML from jinja2 templates with automatic escaping. A template lies in the folder `templates` of its room."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined

from wan_pipeline.wording import duration

UI = Path(__file__).parent.parent
ROOMS = ("common", "create", "queue", "gallery", "models")


class Templates:
    """Renders `room/name.html`, a file of `ui/<room>/templates/`.

    Values are escaped, whatever they are; a name that a template uses and nobody gives is an error. `shared` are
    values that every template may use.
    """

    def __init__(self, shared: Mapping[str, Any] | None = None) -> None:
        loader = PrefixLoader({room: FileSystemLoader(UI / room / "templates") for room in ROOMS})
        self._environment = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.filters |= {"duration": duration, "file_url": file_url, "webp_url": webp_url}
        self._environment.globals |= dict(shared or {})

    def render(self, name: str, **values: Any) -> str:
        """Equal values give equal HTML, so that a page can leave alone what has not changed."""
        return self._environment.get_template(name).render(values).strip()


def file_url(path: Path) -> str:
    """Where Gradio serves a file of an allowed folder. Relative, so that it holds behind a proxy too."""
    return "gradio_api/file=" + quote(path.absolute().as_posix(), safe="/:")


def webp_url(picture: bytes) -> str:
    """The picture itself as a URL, where its file may be replaced while the browser loads it."""
    return f"data:image/webp;base64,{b64encode(picture).decode()}"
