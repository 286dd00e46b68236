"""Many clips in one ZIP."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
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
    taken: Counter[str] = Counter()
    with whole_file(target) as part, zipfile.ZipFile(part, "w", strict_timestamps=False) as archive:
        for clip in there:
            name = clip.path.name
            taken[name.casefold()] += 1
            number = taken[name.casefold()]
            archive.write(clip.path, name if number == 1 else f"{clip.path.stem} ({number}){clip.path.suffix}")
    return target
