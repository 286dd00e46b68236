"""Aspect buckets: every image is trained at the size of about the same area that is nearest to its own shape."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from wan_pipeline.models.spec import ModelSpec, frames_up_to

WIDEST = 2.0
"""Aspect ratio; a panorama is cropped to it."""


@dataclass(frozen=True, order=True)
class Bucket:
    """Size in pixels and frames that examples are trained at together."""

    width: int
    height: int
    frames: int = 1

    @property
    def is_still(self) -> bool:
        return self.frames == 1

    def __str__(self) -> str:
        return f"{self.width}x{self.height}" + ("" if self.is_still else f"x{self.frames}")


class Buckets:
    """The sizes that a model is trained at, each of about `pixels` pixels (0: the model's own), and clips' lengths."""

    def __init__(self, spec: ModelSpec, pixels: int = 0, max_frames: int = 33) -> None:
        self._spec = spec
        self.max_frames = max_frames
        own = spec.sizes[0]
        self.pixels = pixels or own.width * own.height
        self._sizes = _grid(spec, self.pixels) if spec.any_shape else [(size.width, size.height) for size in spec.sizes]

    def of(self, width: int, height: int, frames: int = 1) -> Bucket:
        """The bucket of an image, or of a clip with this many frames at the model's rate."""
        aspect = math.log(width / height)
        best = min(self._sizes, key=lambda size: (abs(math.log(size[0] / size[1]) - aspect), size))
        return Bucket(*best, frames_up_to(min(frames, self.max_frames), self._spec.temporal_compression))

    @property
    def of_made(self) -> Bucket:
        """Of clips that the base model makes: the shape that it likes best, in this area."""
        size = self._spec.sizes[0]
        return self.of(size.width, size.height, frames_up_to(self._spec.num_frames, self._spec.temporal_compression))

    def with_made(self, counts: Mapping[Bucket, int], clips: int) -> Counter[Bucket]:
        """The examples of each bucket, with so many regularisation clips that the base model is to make."""
        counted = Counter(counts)
        if clips:
            counted[self.of_made] += clips
        return counted


def _grid(spec: ModelSpec, pixels: int) -> list[tuple[int, int]]:
    """Sizes on the model's grid of at most `pixels`, each the largest of its width."""
    step = spec.size_multiple
    shortest = max(math.sqrt(pixels / WIDEST), spec.min_side)
    sizes = []
    for width in range(step, int(math.sqrt(pixels * WIDEST)) + step, step):
        height = int(pixels / width) // step * step
        if (
            height
            and min(width, height) >= shortest // step * step
            and max(width, height) / min(width, height) <= WIDEST
        ):
            sizes.append((width, height))
    return sizes or [(spec.sizes[0].width, spec.sizes[0].height)]
