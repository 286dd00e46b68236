"""What the page's boxes may open: files that were uploaded to this page or that it showed, and no other of the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from pydantic import BaseModel

REFUSED = "That is not a file that was uploaded here; drop it on the box again."


def check_boxes(page: gr.Blocks) -> None:
    """Let every component of the page look at the paths in a request before it opens one.

    Gradio checks the paths of `FileData` that say so themselves, and of `ImageData` none.
    """
    for block in page.blocks.values():
        if isinstance(block, gr.components.Component):
            block.preprocess = _checked(block.preprocess, Path(block.GRADIO_CACHE))  # type: ignore[method-assign]


def _checked(preprocess: Callable[[Any], Any], cache: Path) -> Callable[[Any], Any]:
    def checked(payload: Any) -> Any:
        for path in _paths(payload):
            if not any(
                path.resolve().is_relative_to(folder.resolve()) for folder in (cache, Path(get_upload_folder()))
            ):
                raise gr.Error(REFUSED, print_exception=False)
        return preprocess(payload)

    return checked


def _paths(payload: Any) -> Iterator[Path]:
    """All paths in the value of a component."""
    path = getattr(payload, "path", None)
    if isinstance(payload, BaseModel) and isinstance(path, str):
        yield Path(path)
    elif isinstance(payload, BaseModel):
        for value in payload:
            yield from _paths(value[1])
        yield from _paths(getattr(payload, "root", None))
    elif isinstance(payload, list | tuple):
        for value in payload:
            yield from _paths(value)
