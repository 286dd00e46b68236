"""Readable, sortable file names: 2026-11-22_154501_a-red-ball-bounces_seed42_1f0c9a2e.mp4."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import datetime
from pathlib import Path

from wan_pipeline.errors import RequestError, StorageError
from wan_pipeline.requests.request import GenerationRequest

MAX_WORDS_CHARACTERS = 40
JOINERS = "\u200c\u200d\u2060"
"""Shape the letters beside them, and are of no use in a name."""


def clip_name(request: GenerationRequest, created_at: datetime, job_id: str) -> str:
    """The clip's file name. It depends only on the job, so that a second attempt overwrites the first one's files."""
    when = created_at.astimezone().strftime("%Y-%m-%d_%H%M%S")
    return f"{when}_{words_of(request.prompt) or 'clip'}_seed{request.seed}_{job_id[:8]}.mp4"


def poster_path(clip: Path) -> Path:
    return clip.with_suffix(".webp")


def receipt_path(clip: Path) -> Path:
    return clip.with_suffix(".json")


def latents_path(clip: Path) -> Path:
    """A safetensors file, under an ending of its own: no folder of weights that is looked through takes it for one."""
    return clip.with_suffix(".latents")


def name_of(clip: Path, clips: Path) -> str:
    """A clip's path from the folder of clips, with "/"; of one that is elsewhere its whole path."""
    whole, folder = clip.resolve(), clips.resolve()
    return (whole.relative_to(folder) if whole.is_relative_to(folder) else whole).as_posix()


def key_of(clip: Path, clips: Path) -> str:
    """32 hex digits of `name_of`: clips in different folders may have the same file name."""
    return hashlib.sha256(name_of(clip, clips).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def export_path(clip: Path, clips: Path, exports: Path, end: str) -> Path:
    """Where a file made from a clip is: in the clip's own folder below that of exports, with `end` after its name."""
    name = Path(name_of(clip, clips))
    folder = key_of(clip, clips) if name.is_absolute() else name.parent
    return exports / folder / f"{clip.stem}{end}"


def clip_bytes(request: GenerationRequest) -> int:
    """Upper bound of an MP4's size, that of noise; usual clips are far smaller."""
    return request.width * request.height * request.num_frames


def check_other(clip: Path, output: Path) -> None:
    """Raise RequestError for an output that is the clip itself."""
    if output.resolve() == clip.resolve():
        raise RequestError("output", f"{output} is the clip itself; choose another name.")


def check_output(clip: Path) -> None:
    """Raise StorageError for a name that is no MP4, or whose other files would overwrite one that is there."""
    if clip.suffix.lower() != ".mp4" or clip.is_dir():
        raise StorageError(f"The output {clip} is not the name of an MP4 file; choose one that ends in .mp4.")
    for other in (poster_path(clip), receipt_path(clip), latents_path(clip)):
        if other.exists() and not clip.exists():
            raise StorageError(f"The clip's {other.name} would replace a file of that name; choose another output.")


def words_of(prompt: str) -> str:
    """A slug of letters, their marks and digits of any script, cut between words if possible."""
    slug = re.sub("-+", "-", "".join(map(_slug_character, unicodedata.normalize("NFC", prompt.lower())))).strip("-")
    if len(slug) <= MAX_WORDS_CHARACTERS:
        return slug
    whole = slug[: MAX_WORDS_CHARACTERS + 1].rpartition("-")[0]
    return whole or _cut(slug)


def _slug_character(character: str) -> str:
    """Hindi and Thai need their marks (Mn, Mc) and joiners (Cf) within words; a mark of its own is no word."""
    if character.isalnum() or unicodedata.category(character) in ("Mn", "Mc"):
        return character
    return "" if character in JOINERS else "-"


def _cut(word: str) -> str:
    """The beginning of a long word, with no letter separated from its marks."""
    end = MAX_WORDS_CHARACTERS
    while end > 1 and unicodedata.category(word[end]) in ("Mn", "Mc"):
        end -= 1
    return word[:end]
