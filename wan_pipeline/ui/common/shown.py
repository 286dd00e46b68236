"""What a browser tab shows, as digests that the tab itself keeps and sends along, so that only changes are answered.

The browser keeps them, and not a `gr.State` of the server: an answer that is lost on its way is then sent again with
the next poll, where a server that believes it was applied would leave the page as it is for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

Shown = dict[str, str]
"""Digests by the name of a part of the page."""


def shown_box(drawn: Shown | None = None) -> gr.JSON:
    """Holds a `Shown` in the browser: at first of what the page is drawn with."""
    return gr.JSON(drawn or {}, visible="hidden")


def digests(values: Mapping[str, Any]) -> Shown:
    return {name: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16] for name, value in values.items()}


def changed(wanted: Shown, shown: object) -> set[str]:
    """The names of what differs from what the browser says that it shows."""
    known = shown if isinstance(shown, dict) else {}
    return {name for name, digest in wanted.items() if known.get(name) != digest}
