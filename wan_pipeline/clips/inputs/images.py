"""Input pictures: checked before anything large is decoded, and normalised to upright 8-bit sRGB."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from wan_pipeline.errors import ImageError
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.hashes import pixels_sha256

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MOVING = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats whose frames are an animation. A JPEG's or TIFF's further pictures are not."""
MAX_PIXELS = 64_000_000
"""A photograph of 64 megapixels takes 200 MB as RGB; more is a mistake or an attack."""
MIN_SIDE = 32
BACKGROUND = (255, 255, 255)
"""Transparent pixels are composited over this."""

# What Pillow's decoders raise for damaged files.
DAMAGED = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, struct.error)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputImage:
    """A normalised image in the workspace, named by the SHA-256 of its size and pixels."""

    sha256: str
    path: Path
    width: int
    height: int


def image_path(inputs: Path, sha256: str) -> Path:
    """The file of a normalised image."""
    return inputs / f"{sha256}.png"


def measure(path: Path) -> tuple[int, int]:
    """Width and height after EXIF rotation, read from the header. Raises ImageError."""
    with _opened(path) as image:
        return _upright_size(image)


def ingest(path: Path, inputs: Path) -> InputImage:
    """Normalise an image and save it in `inputs` as an RGB PNG. Raises ImageError or StorageError."""
    rgb = read_rgb(path)
    sha256 = pixels_sha256(rgb)
    target = image_path(inputs, sha256)
    if not target.exists():
        with whole_file(target) as part:
            rgb.save(part, format="PNG", compress_level=1)
    return InputImage(sha256, target, rgb.width, rgb.height)


def read_rgb(path: Path) -> Image.Image:
    """Decode an image, normalised. Raises ImageError."""
    with _opened(path) as image:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image), path)


def check_still(path: Path) -> None:
    """Decode a picture that a person has just chosen. Raises ImageError for a bad one, and for an animation."""
    with _opened(path) as image:
        frames = getattr(image, "n_frames", 1) if image.format in MOVING else 1
        image.load()
    if frames > 1:
        raise ImageError(f"The image {path.name} is an animation of {frames} frames; save one of them as PNG.")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image whose header gives an allowed size. Raises ImageError, also for what goes wrong within."""
    name = f"The image {path.name}"
    if not path.is_file():
        raise ImageError(f"{name} is not there; choose another file.")
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{name} is empty (0 bytes); choose another file.")
        with _opened_quietly(path) as image:
            _check_size(image, name)
            yield image
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise ImageError(f"{name} is not a picture that can be read here ({kinds}); save it as PNG.") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name} is too large; at most {MAX_PIXELS:,} pixels are allowed: make it smaller.") from None
    except DAMAGED as error:
        raise ImageError(f"{name} is damaged or incomplete ({error}); choose another file or save it again.") from error


def _opened_quietly(path: Path) -> Image.Image:
    """Open without Pillow's warning from 89 megapixels on: MAX_PIXELS is lower, and an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=FORMATS)


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are allowed: make it smaller."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"{name} has {width} x {height} pixels; each side must have {MIN_SIDE} or more: choose a larger one."
        )


def _upright_size(image: Image.Image) -> tuple[int, int]:
    sideways = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if sideways else image.size


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Convert to 8-bit sRGB: deep greys scaled (not clipped), colour profile applied, transparency over white."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _eight_bits(image, path).convert("RGB")
    alpha = _alpha(image)
    if image.mode in ("P", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
    rgb = _through_profile(image, path)
    if alpha is None:
        return rgb
    return Image.composite(rgb, Image.new("RGB", rgb.size, BACKGROUND), alpha)


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """Scale grey of 16 or 32 bits or floating point; the range is inferred from format and largest value."""
    values = np.asarray(image).astype(np.float32)
    top = float(values.max())
    if not np.isfinite(values).all() or values.min() < 0 or top > 65535:
        raise ImageError(
            f"The image {path.name} has values from {values.min():g} to {top:g}; grey values must lie within "
            "0 to 65535: save it as an 8- or 16-bit PNG."
        )
    is_sixteen = image.mode.startswith("I;16") or top > 255
    full = 65535.0 if is_sixteen else 1.0 if image.mode == "F" and top <= 1 else 255.0
    return Image.fromarray(np.rint(values * (255.0 / full)).astype(np.uint8))


def _alpha(image: Image.Image) -> Image.Image | None:
    """The alpha channel; None if the format has none."""
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    return image.convert("RGBA").getchannel("A") if has_alpha else None


def _through_profile(image: Image.Image, path: Path) -> Image.Image:
    """Convert to sRGB by the embedded colour profile; without one by Pillow's own conversion."""
    plain = image.convert("RGB") if image.mode in ("RGBA", "LA", "1") else image
    profile = image.info.get("icc_profile")
    if not profile:
        return plain.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        logger.warning("The colour profile of %s cannot be used (%s); its colours are taken as sRGB.", path.name, error)
        return plain.convert("RGB")
    if converted is None:
        raise ImageError(f"The colours of {path.name} cannot be converted; save it as an sRGB PNG.")
    return converted
