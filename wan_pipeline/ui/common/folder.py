"""The computer's own file manager, for the person who sits at the computer that the studio runs on."""

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
    """Whether the browser runs on this computer.

    The address it comes from must be the loopback, and so must the name it asked for: what comes through a tunnel or
    a proxy has a loopback address as well.
    """
    client = request.client.host if request.client else ""
    host = request.headers.get("host", "")
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    forwarded = any(header in request.headers for header in ("x-forwarded-for", "forwarded", "x-forwarded-host"))
    try:
        return ipaddress.ip_address(client).is_loopback and name in LOCAL_NAMES and not forwarded
    except ValueError:
        return False


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
