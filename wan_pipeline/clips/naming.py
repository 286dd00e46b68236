"""Readable, sortable file names: 2026-11-22_154501_a-red-ball-bounces_seed42_1f0c9a2e.mp4."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from wan_pipeline.errors import StorageError
from wan_pipeline.requests.request import GenerationRequest

MAX_WORDS_CHARACTERS = 40


def clip_name(request: GenerationRequest, created_at: datetime, job_id: str) -> str:
    """The clip's file name. It depends only on the job, so that a second attempt overwrites the first one's files."""
    when = created_at.astimezone().strftime("%Y-%m-%d_%H%M%S")
    return f"{when}_{_words(request.prompt) or 'clip'}_seed{request.seed}_{job_id[:8]}.mp4"


def poster_path(clip: Path) -> Path:
    return clip.with_suffix(".webp")


def receipt_path(clip: Path) -> Path:
    return clip.with_suffix(".json")


def clip_bytes(request: GenerationRequest) -> int:
    """Upper bound of an MP4's size, that of noise; usual clips are far smaller."""
    return request.width * request.height * request.num_frames


def check_output(clip: Path) -> None:
    """Raise StorageError for a name that is no MP4, or whose poster or receipt would overwrite another file."""
    if clip.suffix.lower() != ".mp4" or clip.is_dir():
        raise StorageError(f"The output {clip} is not the name of an MP4 file; choose one that ends in .mp4.")
    for other in (poster_path(clip), receipt_path(clip)):
        if other.exists() and not clip.exists():
            raise StorageError(f"The clip's {other.name} would replace a file of that name; choose another output.")


def _words(prompt: str) -> str:
    """A slug of letters and digits of any script, cut between words if possible."""
    slug = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")
    if len(slug) <= MAX_WORDS_CHARACTERS:
        return slug
    whole, _, rest = slug[: MAX_WORDS_CHARACTERS + 1].rpartition("-")
    return whole or rest[:MAX_WORDS_CHARACTERS]
