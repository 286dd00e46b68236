"""A clip of the gallery, and what to ask the gallery for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from wan_pipeline.requests.request import GenerationRequest

MAX_RATING = 5


@dataclass(frozen=True)
class Clip:
    """One clip of the gallery. Its files may be gone, if they were moved."""

    id: str
    path: Path
    poster: Path
    made_at: datetime
    request: GenerationRequest
    project: str
    seconds: float
    """Time that it took to make."""
    frames_sha256: str
    starred: bool
    note: str
    is_binned: bool
    made_by: str = ""
    """Id of the key of the guest who made it; empty for the owner's."""
    rating: int = 0
    """From 1 to 5; 0 for none."""
    is_rejected: bool = False
    request_error: str | None = None
    """Why the stored request cannot be run here; `request` then holds only what could be read."""


@dataclass(frozen=True)
class GalleryQuery:
    """Which clips to show. Empty texts match all; each word of `text` must be in the prompt or the note."""

    text: str = ""
    project: str = ""
    model: str = ""
    preset: str = ""
    lora: str = ""
    starred: bool = False
    binned: bool = False
    made_by: tuple[str, ...] = ()
    """Ids of the keys whose clips to show, "" for the owner's; none means all."""


@dataclass(frozen=True)
class GalleryPage:
    items: tuple[Clip, ...]
    total: int
    """Clips on all pages."""
    newest: int = 0
    """A mark for `page` and `count_newer`: of the newest clip among them."""


@dataclass(frozen=True)
class Facets:
    """The values to filter by, of clips outside the bin."""

    projects: tuple[str, ...]
    models: tuple[str, ...]
    presets: tuple[str, ...]
    loras: tuple[str, ...]
