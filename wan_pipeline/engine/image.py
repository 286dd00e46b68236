"""The input image at the clip's size."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from wan_pipeline.errors import ImageError
from wan_pipeline.request import GenerationRequest


def load_image(inputs: Path, request: GenerationRequest) -> Image.Image | None:
    """The request's image, RGB, scaled to cover the clip's size and cropped to its middle; None if it has none.

    Raises ImageError if the normalised image is not in `inputs` any more.
    """
    picture = read_image(inputs, request)
    size = (request.width, request.height)
    if picture is None:
        return None
    fitted: Image.Image = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return fitted


def read_image(inputs: Path, request: GenerationRequest) -> Image.Image | None:
    """The normalised image as it is kept, RGB; None if the request has none. Raises ImageError."""
    if request.image is None:
        return None
    path = inputs / f"{request.image}.png"
    try:
        with Image.open(path) as image:
            rgb: Image.Image = image.convert("RGB")
            return rgb
    except OSError as error:
        raise ImageError(f"The input image {path.name} is no longer in {inputs}; choose the image again.") from error
