"""The final latents of a clip, kept in a file beside it: what the clip can be decoded from again, with more bits."""

from __future__ import annotations

import hashlib
from pathlib import Path

from wan_pipeline.clips.naming import latents_path
from wan_pipeline.clips.receipt import SavedLatents
from wan_pipeline.errors import UserError
from wan_pipeline.storage.files import whole_file


class NoLatentsError(UserError):
    """A clip without latents that can be used. Its frames are those of its MP4, with 8 bits."""


def facts_of(content: bytes, clip: Path) -> SavedLatents:
    """What the clip's receipt says of its latents."""
    return SavedLatents(latents_path(clip).name, len(content), hashlib.sha256(content).hexdigest())


def write_latents(content: bytes, clip: Path) -> Path:
    """Write packed latents beside their clip. Raises StorageError."""
    path = latents_path(clip)
    with whole_file(path) as part:
        part.write_bytes(content)
    return path


def read_latents(clip: Path, kept: SavedLatents | None) -> bytes:
    """The packed latents of a clip whose receipt says `kept`, checked by their hash.

    Raises NoLatentsError if it has none, or if they are not here or not the ones that were kept.
    """
    if kept is None:
        raise NoLatentsError(f"{clip.name} was made without keeping its latents; make it again to have them.")
    for path in (latents_path(clip), clip.with_name(kept.file)):
        if (content := _read(path, kept)) is not None:
            return content
    raise NoLatentsError(
        f"The latents of {clip.name} are not beside it, or were changed; put {kept.file} there as it was, under the "
        f"name {latents_path(clip).name}."
    )


def _read(path: Path, kept: SavedLatents) -> bytes | None:
    """None for a file that is not there, or is another."""
    try:
        if not path.is_file() or path.stat().st_size != kept.bytes:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == kept.sha256 else None
