"""Upload boxes that never decode what they are given: `clips.inputs` checks uploads, with limits.

They open nothing outside Gradio's own folders: Gradio checks the paths of `FileData`, and of `ImageData` none. They are
subclasses, not wrapped components, for Gradio constructs a component again, by its class, whenever an event that may
change it has run.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.component_meta import ComponentMeta
from gradio.components.gallery import GalleryData, GalleryImage
from gradio.data_classes import FileData, ImageData
from gradio.utils import get_upload_folder

PICTURES = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"]
VIDEOS = [".mp4", ".mov", ".mkv", ".webm", ".avi", ".video"]


REFUSED = "That is not a file that was uploaded here; drop it on the box again."


def _path_of(box: Any, payload: FileData | ImageData | None) -> str | None:
    return _checked(box, payload.path) if payload and payload.path else None


def _paths_of(box: Any, payload: GalleryData | None) -> list[str]:
    pictures = [item for item in payload.root if isinstance(item, GalleryImage)] if payload else []
    return [_checked(box, item.image.path) for item in pictures if item.image.path]


def _checked(box: Any, path: str) -> str:
    """The path of a file that was uploaded to this page or shown by it. Raises gr.Error for any other."""
    folders = [Path(folder).resolve() for folder in (box.GRADIO_CACHE, get_upload_folder())]
    if not any(Path(path).resolve().is_relative_to(folder) for folder in folders):
        raise gr.Error(REFUSED, print_exception=False)
    return path


def _image(box: Any, value: str | Path | None) -> ImageData | None:
    return None if value is None else ImageData(**_cached(value, box.GRADIO_CACHE))


def _file(box: Any, value: str | Path | None) -> FileData | None:
    return None if value is None else FileData(**_cached(value, box.GRADIO_CACHE))


def _images(box: Any, value: Sequence[str] | None) -> GalleryData:
    return GalleryData(root=[GalleryImage(image=_image(box, path)) for path in value or ()])


def _cached(value: str | Path, cache: str) -> dict[str, Any]:
    """A copy in Gradio's cache, so that the file's own folder need not be served."""
    path = Path(value)
    copy = processing_utils.save_file_to_cache(path, cache)
    return {"path": copy, "orig_name": path.name, "size": path.stat().st_size}


def _unopened(base: type, preprocess: Callable[..., Any], postprocess: Callable[..., Any]) -> Any:
    """A subclass with the name of its base, by which the browser finds the component.

    Made without Gradio's own metaclass constructor, which would write a .pyi file beside this one.
    """
    methods = {"preprocess": preprocess, "postprocess": postprocess, "__module__": base.__module__}
    return ABCMeta.__new__(ComponentMeta, base.__name__, (base,), methods)


UnopenedImage: type[gr.Image] = _unopened(gr.Image, _path_of, _image)
UnopenedVideo: type[gr.Video] = _unopened(gr.Video, _path_of, _file)
UnopenedFile: type[gr.File] = _unopened(gr.File, _path_of, _file)
UnopenedGallery: type[gr.Gallery] = _unopened(gr.Gallery, _paths_of, _images)


def image_upload(value: str | None, **settings: Any) -> gr.Image:
    """Its value is the path of the uploaded file."""
    return UnopenedImage(value, type="filepath", sources=["upload"], buttons=[], **settings)


def video_upload(**settings: Any) -> gr.Video:
    """Its value is the path of the uploaded file, which is not converted."""
    return UnopenedVideo(sources=["upload"], buttons=[], **settings)


def file_upload(**settings: Any) -> gr.File:
    """For a picture or a video. Its value is the path of the uploaded file."""
    return UnopenedFile(file_types=[*PICTURES, *VIDEOS], **settings)


def gallery_upload(**settings: Any) -> gr.Gallery:
    """For pictures. Its value is a list of the paths of the uploaded files."""
    return UnopenedGallery(file_types=PICTURES, sources=["upload"], interactive=True, buttons=[], **settings)
