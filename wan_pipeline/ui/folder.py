"""Showing a clip in the computer's own file manager: only for the person who sits at that computer."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gradio as gr

from wan_pipeline.errors import UserError

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def is_at_this_computer(request: gr.Request) -> bool:
    """Whether the browser runs here: by its address and by the name it asked for, since a tunnel ends here too."""
    client = request.client.host if request.client else ""
    host = request.headers.get("host", "")
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    forwarded = any(header in request.headers for header in ("x-forwarded-for", "forwarded", "x-forwarded-host"))
    try:
        return ipaddress.ip_address(client).is_loopback and name in LOCAL_NAMES and not forwarded
    except ValueError:
        return False


def open_folder(path: Path) -> None:
    """Show the folder of a file, the file selected where that is possible. Raises UserError where there is no way."""
    if not path.is_file():
        raise UserError(f"The clip {path.name} is no longer there; it may have been moved or deleted.")
    if sys.platform == "win32":
        subprocess.Popen(["explorer", f"/select,{path}"])
    elif sys.platform == "darwin":
        subprocess.Popen(["open", "-R", str(path)])
    elif shutil.which("xdg-open") and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        subprocess.Popen(["xdg-open", str(path.parent)], start_new_session=True)
    else:
        raise UserError(f"This computer has no desktop to show a folder on; the clip lies in {path.parent}.")
