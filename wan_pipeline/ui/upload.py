"""An image box that never decodes what it is given: `clips.images` judges uploads, with limits and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.data_classes import ImageData


def image_upload(value: str | None, **settings: Any) -> gr.Image:
    """gr.Image whose value is the uploaded file's path, unopened. Gradio admits only files from its upload folder.

    Two methods are replaced on this instance. A subclass would do, but Gradio writes a .pyi beside every subclass.
    """
    image = gr.Image(value, type="filepath", sources=["upload"], buttons=[], **settings)
    image.preprocess = _path_of
    image.postprocess = lambda value: _cached(value, image.GRADIO_CACHE)
    return image


def _path_of(payload: ImageData | None) -> str | None:
    return payload.path if payload else None


def _cached(value: str | Path | None, cache: str) -> ImageData | None:
    """Show a file of ours: copied into Gradio's cache, so that its own folder need not be served."""
    if value is None:
        return None
    return ImageData(path=processing_utils.save_file_to_cache(value, cache), orig_name=Path(value).name)
