"""The images and videos that a clip is conditioned on, at its own size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

from wan_pipeline.clips.inputs.videos import too_short, video_path
from wan_pipeline.errors import ImageError
from wan_pipeline.requests.inputs.image_fit import MIDDLE, ImageFit
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class Conditioning:
    """RGB images of the clip's size. Masks are white where the model makes new content."""

    image: Image.Image | None = None
    last_image: Image.Image | None = None
    video: tuple[Image.Image, ...] = ()
    mask: tuple[Image.Image, ...] = ()
    references: tuple[Image.Image, ...] = ()
    warnings: tuple[str, ...] = ()
    """What was assumed of the videos, a sentence each."""


def load_conditioning(inputs: Path, request: GenerationRequest) -> Conditioning:
    """Read what the request names. Raises ImageError for a file that is gone from `inputs`, or a video too short."""
    videos = {"control video": request.control_video, "control mask": request.control_mask}
    return Conditioning(
        image=_framed(inputs, request.image, request),
        last_image=_framed(inputs, request.last_image, request),
        video=_frames(inputs, "control video", request.control_video, request),
        mask=_frames(inputs, "control mask", request.control_mask, request),
        references=tuple(
            image for name in request.reference_images if (image := _covering(inputs, name, request)) is not None
        ),
        warnings=tuple(text for what, name in videos.items() if (text := _assumption(inputs, what, name))),
    )


def read_image(inputs: Path, name: str | None) -> Image.Image | None:
    """A stored input image, RGB; None for no name. Raises ImageError."""
    if name is None:
        return None
    path = inputs / f"{name}.png"
    try:
        with Image.open(path) as image:
            rgb: Image.Image = image.convert("RGB")
            return rgb
    except OSError as error:
        raise ImageError(f"The input image {path.name} is no longer in {inputs}; choose the image again.") from error


def _framed(inputs: Path, name: str | None, request: GenerationRequest) -> Image.Image | None:
    """The first or the last image, fitted as the request says."""
    image = read_image(inputs, name)
    return None if image is None else fit_image(image, request)


def fit_image(image: Image.Image, request: GenerationRequest) -> Image.Image:
    """The image in the clip's size: cropped where the request says, or within black bars."""
    match request.image_fit:
        case ImageFit.CROP:
            return _cover(image, (request.width, request.height), request.image_crop)
        case ImageFit.PAD:
            padded: Image.Image = ImageOps.pad(image, (request.width, request.height), Image.Resampling.LANCZOS)
            return padded


def _covering(inputs: Path, name: str, request: GenerationRequest) -> Image.Image | None:
    image = read_image(inputs, name)
    return None if image is None else _cover(image, (request.width, request.height))


def _cover(image: Image.Image, size: tuple[int, int], position: float = MIDDLE) -> Image.Image:
    """Scaled to cover the size, and cropped. `position` is 0 to keep its left or top, 1 its right or bottom."""
    fitted: Image.Image = ImageOps.fit(image, size, Image.Resampling.LANCZOS, centering=(position, position))
    return fitted


def _frames(inputs: Path, what: str, name: str | None, request: GenerationRequest) -> tuple[Image.Image, ...]:
    """One image for each frame of the clip: a video's, at the clip's frames per second, or the same image for all."""
    size, count = (request.width, request.height), request.num_frames
    if name is None:
        return ()
    path = video_path(inputs, name)
    if not path.is_file():
        image = _covering(inputs, name, request)
        return () if image is None else (image,) * count
    from wan_pipeline.clips.inputs.stream import probe_stream
    from wan_pipeline.clips.read import read_frames  # here and below: they import ffmpeg's wrapper

    read = read_frames(path, request.fps, probe_stream(path).filters)
    images = (Image.fromarray(frame) for frame in islice(read, count))
    frames = tuple(_cover(image, size) for image in images)
    if len(frames) < count:
        raise too_short(what, len(frames), request.fps, count)
    return frames


def _assumption(inputs: Path, what: str, name: str | None) -> str:
    """What is assumed of a video's colours, as a sentence; empty where nothing is, or for a picture."""
    if name is None or not video_path(inputs, name).is_file():
        return ""
    from wan_pipeline.clips.inputs.stream import probe_stream

    stream = probe_stream(video_path(inputs, name))
    lines = f"{stream.width}x{stream.height}"
    if not stream.assumption:
        return ""
    return f"The {what} names no colour matrix; {stream.assumption} was assumed, as is usual at {lines}."
