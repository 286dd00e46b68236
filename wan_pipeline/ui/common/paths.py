"""Paths in sentences for the page, which may be seen from another computer: of an absolute one the last name alone."""

from __future__ import annotations

import re

_FOLDERS = re.compile(r"(?<![\w.:/\\~-])(?:/|[A-Za-z]:[/\\])(?:[^\s/\\'\":;,()]+[/\\])+")


def without_folders(text: str) -> str:
    """For example: "/tmp/gradio/ab/a.mp4 is gone" becomes "a.mp4 is gone"."""
    return _FOLDERS.sub("", text)
