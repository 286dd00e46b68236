"""A cut, and the files that keep the cuts of projects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.clips.export.rates import parse_rate
from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.naming import safe_name
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

MAIN = "main"
"""Name of a cut that was given none."""
MAX_ITEMS = 2_000


@dataclass(frozen=True)
class CutItem:
    """A clip, or a part of it."""

    clip: Annotated[str, Field(min_length=1, max_length=4096)]
    """Its path from the workspace's folder of clips, with "/"; of one elsewhere its whole path."""
    first: Annotated[int, Field(ge=0, le=10**6)] = 0
    """The first frame that is seen, counted from 0."""
    end: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """The frame after the last one that is seen; None for all."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Cut:
    """Clips in order, one after the other."""

    name: str
    rate: str = ""
    """Frames a second, an exact fraction as text; empty for that of the first clip."""
    items: Annotated[tuple[CutItem, ...], Field(max_length=MAX_ITEMS)] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @property
    def fraction(self) -> Fraction | None:
        """Raises RequestError."""
        return parse_rate(self.rate) if self.rate else None

    def added(self, items: tuple[CutItem, ...]) -> Cut:
        return replace(self, items=(*self.items, *items))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class CutFiles:
    """The cuts of one project: a JSON file each, in the folder `cuts` of its own."""

    def __init__(self, project_folder: Path) -> None:
        self._folder = project_folder / "cuts"

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def find(self, name: str) -> Cut | None:
        """Raises ProjectError for a file that cannot be read."""
        path = self._path(name)
        try:
            return parse(Cut, read_json_file(path))
        except FileNotFoundError:
            return None
        except (OutsideDataError, OSError) as error:
            raise ProjectError(f"The cut {path} cannot be read: {error}; correct or delete it.") from error

    def save(self, cut: Cut) -> Path:
        """Raises StorageError."""
        path = self._path(cut.name)
        with whole_file(path) as part:
            part.write_text(json.dumps(cut.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def _path(self, name: str) -> Path:
        return self._folder / f"{_checked(name)}.json"


def _checked(name: str) -> str:
    """Raises ProjectError for what cannot be the name of a file everywhere."""
    if not name or safe_name(name) != name:
        raise ProjectError(f"'{name[:80]}' cannot be the name of a cut; use letters, digits, spaces and hyphens.")
    return name


def path_of(item: CutItem, clips: Path) -> Path:
    """Where an item's clip is; `clips` is the workspace's folder of clips."""
    return clips / item.clip


def item_of(clip: Path, clips: Path, first: int = 0, end: int | None = None) -> CutItem:
    """An item for a clip, by its path from the folder of clips if it is there."""
    whole, folder = clip.resolve(), clips.resolve()
    named = whole.relative_to(folder) if whole.is_relative_to(folder) else whole
    return CutItem(named.as_posix(), first, end)


def pieces(cut: Cut, clips: Path) -> Iterator[tuple[CutItem, Path]]:
    """Each item and where its clip is. Raises ProjectError for one that is gone."""
    for item in cut.items:
        path = path_of(item, clips)
        if not path.is_file():
            raise ProjectError(f"The clip {item.clip} of the cut is not at {path}; put it back, or make the cut anew.")
        yield item, path
