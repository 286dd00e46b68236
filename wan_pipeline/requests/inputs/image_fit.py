"""How a picture is brought to the shape of a clip. Light to import: the command line's --help lists it."""

from __future__ import annotations

from enum import StrEnum


class ImageFit(StrEnum):
    CROP = "crop"
    """Scaled to cover the frame. What does not fit is cut off."""
    PAD = "pad"
    """Scaled to fit into the frame. The rest is black."""


MIDDLE = 0.5
"""Position of a crop: 0 keeps the left or top of the picture, 1 its right or bottom."""


def cropped_share(image_size: tuple[int, int], size: tuple[int, int]) -> float:
    """The share of a picture that is lost when it is scaled to cover a size. Both are width and height."""
    one, two = image_size[0] / image_size[1], size[0] / size[1]
    return 1 - min(one, two) / max(one, two)
