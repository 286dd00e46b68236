"""Boxes for files that never decode what they are given: `clips.images` and `clips.videos` judge uploads, with limits
and sentences. Gradio admits only files from its upload folder.

Two methods are replaced on each instance. A subclass would do, but Gradio writes a .pyi beside every subclass. An
update of such a box may change its value only: Gradio makes a plain component of any other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.components.gallery import GalleryData, GalleryImage
from gradio.data_classes import FileData, ImageData

PICTURES = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"]
VIDEOS = [".mp4", ".mov", ".mkv", ".webm", ".avi", ".video"]


def image_upload(value: str | None, **settings: Any) -> gr.Image:
    """gr.Image whose value is the uploaded file's path, unopened."""
    image = gr.Image(value, type="filepath", sources=["upload"], buttons=[], **settings)
    image.preprocess = _path_of
    image.postprocess = lambda value: _cached(value, image.GRADIO_CACHE, ImageData)
    return image


def video_upload(**settings: Any) -> gr.Video:
    """gr.Video whose value is the uploaded file's path; nothing is converted."""
    video = gr.Video(sources=["upload"], buttons=[], **settings)
    video.preprocess = _path_of
    video.postprocess = lambda value: _cached(value, video.GRADIO_CACHE, FileData)
    return video


def file_upload(**settings: Any) -> gr.File:
    """gr.File for a picture or a video; its value is the uploaded file's path."""
    file = gr.File(file_types=[*PICTURES, *VIDEOS], **settings)
    file.preprocess = _path_of  # type: ignore[assignment]
    file.postprocess = lambda value: _cached(value, file.GRADIO_CACHE, FileData)
    return file


def gallery_upload(**settings: Any) -> gr.Gallery:
    """gr.Gallery for pictures; its value is a list of the uploaded files' paths, unopened."""
    gallery = gr.Gallery(
        file_types=PICTURES, type="filepath", sources=["upload"], interactive=True, buttons=[], **settings
    )
    gallery.preprocess = _paths_of  # type: ignore[assignment]
    gallery.postprocess = lambda value: _all_cached(value, gallery.GRADIO_CACHE)  # type: ignore[assignment]
    return gallery


def _path_of(payload: Any) -> str | None:
    return payload.path if payload else None


def _paths_of(payload: GalleryData | None) -> list[str]:
    pictures = [item for item in payload.root if isinstance(item, GalleryImage)] if payload else []
    return [item.image.path for item in pictures if item.image.path]


def _cached(value: str | Path | None, cache: str, kind: type[ImageData] | type[FileData]) -> Any:
    """Show a file of ours: copied into Gradio's cache, so that its own folder need not be served."""
    if value is None:
        return None
    size = Path(value).stat().st_size
    return kind(path=processing_utils.save_file_to_cache(value, cache), orig_name=Path(value).name, size=size)


def _all_cached(value: Sequence[str] | None, cache: str) -> GalleryData:
    return GalleryData(root=[GalleryImage(image=_cached(path, cache, ImageData)) for path in value or ()])
