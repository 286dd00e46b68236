"""Many clips in one ZIP."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import UserError
from wan_pipeline.storage.files import check_room, whole_file


def zip_clips(clips: Sequence[Clip], target: Path) -> Path:
    """Write the MP4s of clips, not packed again, under names of their own. Raises UserError, StorageError."""
    there = [clip for clip in clips if clip.path.is_file()]
    if not there:
        raise UserError("None of these clips has a file any more; choose others.")
    check_room(target.parent, sum(clip.path.stat().st_size for clip in there), "the ZIP")
    taken: set[str] = set()
    with whole_file(target) as part, zipfile.ZipFile(part, "w", strict_timestamps=False) as archive:
        for clip in there:
            name = _free_name(clip.path, taken)
            taken.add(name.casefold())
            archive.write(clip.path, name)
    return target


def _free_name(clip: Path, taken: set[str]) -> str:
    """The clip's name, with a number if it is taken; `taken` are casefolded, as some systems tell no case apart."""
    numbered = (f"{clip.stem} ({number}){clip.suffix}" for number in count(2))
    return next(name for name in chain([clip.name], numbered) if name.casefold() not in taken)
