"""The input image at the clip's size."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from wan_pipeline.errors import ImageError


def load_image(inputs: Path, sha256: str, width: int, height: int) -> Image.Image:
    """The normalised image, scaled to cover width x height and cropped to its middle, RGB. Raises ImageError."""
    path = inputs / f"{sha256}.png"
    try:
        with Image.open(path) as image:
            return ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    except OSError as error:
        raise ImageError(f"The input image {path.name} is no longer in {inputs}; choose the image again.") from error
