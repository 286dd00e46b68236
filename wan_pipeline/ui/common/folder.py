"""The computer's file manager, for the user at the computer that the studio runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gradio as gr

from wan_pipeline.access.guard import caller_of
from wan_pipeline.errors import UserError


def is_at_this_computer(request: gr.Request) -> bool:
    """Whether the browser runs on this computer, as the guard before the page has found."""
    return caller_of(request.request.scope).is_local if request.request else False


def open_folder(path: Path) -> None:
    """Open the file's folder, with the file selected where the system can do that. Raises UserError if it cannot."""
    if not path.is_file():
        raise UserError(f"The clip {path.name} is no longer there; it may have been moved or deleted.")
    if sys.platform == "win32":
        subprocess.Popen(["explorer", f"/select,{path}"])
    elif sys.platform == "darwin":
        subprocess.Popen(["open", "-R", str(path)])
    elif shutil.which("xdg-open") and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        subprocess.Popen(["xdg-open", str(path.parent)], start_new_session=True)
    else:
        raise UserError(f"This computer has no desktop to show a folder on; the clip is in {path.parent}.")
