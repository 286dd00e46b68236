"""The picture that shows what a LoRA does: a file beside it, as other programs keep it too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ENDINGS = tuple(f"{part}{suffix}" for suffix in (".webp", ".png", ".jpg", ".jpeg") for part in ("", ".preview"))
"""`anna.png` or `anna.preview.png` belongs to `anna.safetensors`."""


def picture_beside(paths: Sequence[Path]) -> Path | None:
    """The first picture beside one of a LoRA's files."""
    beside = (path.with_name(path.stem + ending) for path in paths for ending in ENDINGS)
    return next((picture for picture in beside if picture.is_file()), None)
