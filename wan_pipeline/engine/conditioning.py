"""The pictures and videos that a clip is made from, at its size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

from wan_pipeline.clips.videos import too_short, video_path
from wan_pipeline.errors import ImageError
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class Given:
    """All at the clip's size, RGB; masks are white where something new is wanted."""

    image: Image.Image | None = None
    last_image: Image.Image | None = None
    video: tuple[Image.Image, ...] = ()
    mask: tuple[Image.Image, ...] = ()
    references: tuple[Image.Image, ...] = ()


def load_conditioning(inputs: Path, request: GenerationRequest) -> Given:
    """Raises ImageError for what is not in `inputs` any more, or for a video that is too short."""
    size = (request.width, request.height)
    return Given(
        image=load_image(inputs, request),
        last_image=_fitted(inputs, request.last_image, size),
        video=_frames(inputs, "control video", request.control_video, request),
        mask=_frames(inputs, "control mask", request.control_mask, request),
        references=tuple(
            picture for name in request.reference_images if (picture := _fitted(inputs, name, size)) is not None
        ),
    )


def load_image(inputs: Path, request: GenerationRequest) -> Image.Image | None:
    """The request's image, RGB, scaled to cover the clip's size and cropped to its middle; None if it has none.

    Raises ImageError if the normalised image is not in `inputs` any more.
    """
    return _fitted(inputs, request.image, (request.width, request.height))


def read_image(inputs: Path, name: str | None) -> Image.Image | None:
    """A normalised image as it is kept, RGB; None for no name. Raises ImageError."""
    if name is None:
        return None
    path = inputs / f"{name}.png"
    try:
        with Image.open(path) as image:
            rgb: Image.Image = image.convert("RGB")
            return rgb
    except OSError as error:
        raise ImageError(f"The input image {path.name} is no longer in {inputs}; choose the image again.") from error


def _fitted(inputs: Path, name: str | None, size: tuple[int, int]) -> Image.Image | None:
    picture = read_image(inputs, name)
    return None if picture is None else _cover(picture, size)


def _cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    fitted: Image.Image = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return fitted


def _frames(inputs: Path, what: str, name: str | None, request: GenerationRequest) -> tuple[Image.Image, ...]:
    """One for each frame of the clip, at its frames per second: of a video, or the same picture for all."""
    size, count = (request.width, request.height), request.num_frames
    if name is None:
        return ()
    path = video_path(inputs, name)
    if not path.is_file():
        picture = _fitted(inputs, name, size)
        return () if picture is None else (picture,) * count
    from wan_pipeline.clips.read import read_frames  # here: it brings in ffmpeg's wrapper

    pictures = (Image.fromarray(frame) for frame in islice(read_frames(path, request.fps), count))
    frames = tuple(_cover(picture, size) for picture in pictures)
    if len(frames) < count:
        raise too_short(what, len(frames), request.fps, count)
    return frames
