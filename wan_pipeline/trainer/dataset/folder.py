"""A dataset: a folder of images and short clips, each with its caption in a text file of the same stem."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.clips.inputs.sequence import SUFFIXES as IMAGE_SUFFIXES
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.wording import plural

CAPTION_SUFFIX = ".txt"
CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi"})
MAX_ITEMS = 20_000
MAX_CAPTION_BYTES = 20_000
"""A text encoder of Wan reads 512 tokens, which is about 2,500 letters; what is longer by far is another file."""


class DatasetError(UserError):
    """A dataset that cannot be trained on."""


@dataclass(frozen=True)
class Item:
    """One image or clip of a dataset."""

    path: Path
    name: str
    """Its path within the dataset, with forward slashes."""
    caption: str
    """Empty if there is none."""
    caption_problem: str = ""
    """Why there is no caption, or only a part of one: the rest of a sentence. Empty where all is well."""

    @property
    def is_clip(self) -> bool:
        return self.path.suffix.lower() in CLIP_SUFFIXES


def read_items(folder: Path, captions: str = CAPTION_SUFFIX) -> list[Item]:
    """The images and clips in a folder and those below it, by name. Nothing of them is decoded.

    `captions` is the suffix of the files that hold them.
    Raises DatasetError for a folder that is not there, holds none, or more than MAX_ITEMS.
    """
    if not folder.is_dir():
        raise DatasetError(f"The dataset {folder} is not a folder; name one that holds images and their captions.")
    paths = [path for path in sorted(folder.rglob("*")) if _is_item(path, folder)]
    if not paths:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES | CLIP_SUFFIXES))
        raise DatasetError(
            f"The dataset {folder} holds no images and no clips; put files of these kinds there: {kinds}."
        )
    if len(paths) > MAX_ITEMS:
        raise DatasetError(
            f"The dataset {folder} holds {plural(len(paths), 'file')}; at most {MAX_ITEMS:,} are taken: "
            "choose the best of them, 20 to 200 are usual."
        )
    return [_item(path, folder, captions) for path in paths]


def _is_item(path: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not is_hidden and path.suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES and path.is_file()


def _item(path: Path, folder: Path, captions: str) -> Item:
    caption, problem = _read_caption(path, path.with_suffix(captions))
    return Item(path, path.relative_to(folder).as_posix(), caption, problem)


def _read_caption(path: Path, text: Path) -> tuple[str, str]:
    """The caption of an image or clip, from the file `text`, and what is wrong with it. A clip of this studio brings
    its own prompt.
    """
    if not text.exists():
        prompt = _own_prompt(path)
        return prompt, "" if prompt else f"there is no {text.name}"
    try:
        if not stat.S_ISREG(text.stat().st_mode):
            return "", f"{text.name} is not a regular file"
        with text.open("rb") as file:
            content = file.read(MAX_CAPTION_BYTES + 1)
        caption = " ".join(content.decode("utf-8-sig").split())
    except OSError as error:
        return "", f"{text.name} cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return "", f"{text.name} is not text in UTF-8"
    if len(content) > MAX_CAPTION_BYTES:
        return "", f"{text.name} is longer than {MAX_CAPTION_BYTES:,} bytes"
    return caption, "" if caption else f"{text.name} is empty"


def _own_prompt(path: Path) -> str:
    """The prompt in the receipt of a clip that this studio made; empty for any other file."""
    if path.suffix.lower() not in CLIP_SUFFIXES:
        return ""
    from wan_pipeline.clips.read import read_receipt  # here: it imports ffmpeg's wrapper

    try:
        receipt = read_receipt(path)
    except StorageError:  # broken, which the check of the clip itself will say
        return ""
    request = (receipt or {}).get("request")
    prompt = request.get("prompt") if isinstance(request, dict) else None
    return " ".join(prompt.split()) if isinstance(prompt, str) else ""
