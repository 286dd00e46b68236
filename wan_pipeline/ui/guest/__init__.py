"""The page of guests: a template, a stylesheet and a script that asks the HTTP API. No Gradio."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.access.roles import ALLOWED, Action, Role
from wan_pipeline.ui.common.templates import Templates

STATIC = Path(__file__).parent / "static"
MODAL = Path(__file__).parents[1] / "common" / "assets" / "modal.js"
FILES = {path.name: path for path in (*STATIC.iterdir(), MODAL)}
"""The files that the page loads, by name: nothing else of the folder's neighbours can be asked for."""
KINDS = {".css": "text/css", ".js": "text/javascript"}


def guest_page(templates: Templates, role: Role, project: str, login: str = "") -> str:
    """The page as one role sees it. What is on it is asked for by its script.

    `login` is where the owner may log in; empty if there is no such place.
    """
    may_make = Action.GENERATE in ALLOWED[role]
    return templates.render("guest/page.html", may_make=may_make, project=project, login=login)
