"""Files that the studio wrote and a browser may have."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from gradio import processing_utils
from gradio.utils import get_upload_folder


def served_path(name: str) -> Path:
    """Where to write a file of this name that any browser may have, in a folder of its own among Gradio's files."""
    return Path(get_upload_folder()) / uuid4().hex / name


def served_copy(path: Path) -> Path:
    """A copy in Gradio's cache, which it serves to any browser, so that the file's own folder need not be served."""
    return Path(processing_utils.save_file_to_cache(path, get_upload_folder()))
