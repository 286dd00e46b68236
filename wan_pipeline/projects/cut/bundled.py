"""The cuts of a project in its bundle, each with its versions, as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.clips.naming import name_of
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.errors import ProjectError, ReceiptError
from wan_pipeline.projects.cut.cut import Cut, CutItem
from wan_pipeline.projects.cut.files import CutFiles, Version, check_name
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

MEMBER = "cuts.json"
MAX_BYTES = 128 * 2**20
MAX_NAME_BYTES = 200
"""Of a clip's file. A longer one is none that this program gave."""
NO_NAME = "unknown.mp4"
PathOf = Callable[[str], Path | None]
"""Where the clip of an id is; None if it is not in this workspace."""

Id = Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,64}$")]


@dataclass(frozen=True)
class BundledCut:
    cut: Cut
    versions: Annotated[tuple[Version, ...], Field(max_length=100_000)] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")


@dataclass(frozen=True)
class BundledCuts:
    cuts: Annotated[tuple[BundledCut, ...], Field(max_length=10_000)] = ()
    ids: dict[str, Id] = field(default_factory=dict)
    """Of the clips, by the names that the items have for them."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")


def bundled_cuts(files: CutFiles, clips: Path) -> tuple[BundledCuts, list[str]]:
    """What a bundle holds of a project's cuts, and what it leaves out because it cannot be read, a sentence each.

    Of clips outside the workspace it holds their names only.
    """
    found: list[BundledCut] = []
    left_out: list[str] = []
    for name in files.names():
        try:
            cut = files.find(name)
        except ProjectError as error:
            left_out.append(f"{error} It is left out of the bundle, and its versions too.")
            continue
        if cut is not None:
            versions, problems = files.read_versions(name)
            found.append(BundledCut(cut, tuple(versions)))
            left_out += [f"{problem} It is left out of the bundle." for problem in problems]
    names = _bundled_names(found)
    ids = {name: id for clip, name in names.items() if (id := _id_of(clips / clip))}
    return BundledCuts(tuple(_renamed(each, names.__getitem__) for each in found), ids), left_out


def cuts_to_json(bundled: BundledCuts) -> str:
    cuts = [{"cut": each.cut.to_dict(), "versions": [one.to_dict() for one in each.versions]} for each in bundled.cuts]
    return json.dumps({"cuts": cuts, "ids": bundled.ids}, ensure_ascii=False, indent=1)


def read_cuts_json(content: bytes) -> BundledCuts:
    """Read what `cuts_to_json` wrote, perhaps by anybody. Raises ProjectError for what no cuts can be."""
    try:
        bundled = parse(BundledCuts, parse_json(content, MAX_BYTES))
    except OutsideDataError as error:
        raise ProjectError(f"The bundle's {MEMBER} cannot be read: {error}; export the project again.") from error
    for each in bundled.cuts:
        check_name(each.cut.name)
    names = _bundled_names(bundled.cuts)
    return replace(bundled, cuts=tuple(_renamed(each, names.__getitem__) for each in bundled.cuts))


def add_cuts(bundled: BundledCuts, files: CutFiles, clips: Path, path_of_id: PathOf) -> tuple[str, ...]:
    """Write the cuts to a project. Returns the names of their clips that are not here. Raises StorageError."""
    wanted = dict.fromkeys(item.clip for item in _items(bundled.cuts))
    found = {name: _here(name, bundled.ids, clips, path_of_id) for name in wanted}
    names = {name: name_of(path, clips) if path else _free(name, bundled.ids, clips) for name, path in found.items()}
    for each in bundled.cuts:
        renamed = _renamed(each, names.__getitem__)
        files.save(renamed.cut)
        for version in renamed.versions:
            files.put_version(version)
    return tuple(name for name, path in found.items() if path is None)


def _here(name: str, ids: Mapping[str, str], clips: Path, path_of_id: PathOf) -> Path | None:
    """The clip in this workspace: that of its id, or without one the file of its name, if that has none either."""
    if id := ids.get(name):
        return path_of_id(id)
    path = clips / name
    return path if path.is_file() and not _id_of(path) else None


def _free(name: str, ids: Mapping[str, str], clips: Path) -> str:
    """The name of a clip that is not here, so that it does not name another one that is."""
    if not (clips / name).exists():
        return name
    path = PurePosixPath(name)
    return path.with_name(f"{path.stem} {ids.get(name, 'elsewhere')}{path.suffix}").as_posix()


def _items(cuts: Iterable[BundledCut]) -> Iterable[CutItem]:
    for each in cuts:
        for cut in (each.cut, *(version.cut for version in each.versions)):
            yield from (item for item in cut.items if not item.is_card)


def _renamed(bundled: BundledCut, name: Callable[[str], str]) -> BundledCut:
    def renamed(cut: Cut) -> Cut:
        items = tuple(item if item.is_card else replace(item, clip=name(item.clip)) for item in cut.items)
        return replace(cut, name=bundled.cut.name, items=items)

    versions = tuple(replace(each, cut=renamed(each.cut)) for each in bundled.versions)
    return replace(bundled, cut=renamed(bundled.cut), versions=versions)


def _bundled_names(cuts: Iterable[BundledCut]) -> dict[str, str]:
    """The names of the cuts' clips in a bundle, each another one, by those that the items have.

    A clip below the folder of clips keeps its name; one elsewhere has the file's alone, with a number where another
    clip has that.
    """
    clips = sorted(dict.fromkeys(item.clip for item in _items(cuts)), key=lambda clip: _inside(clip) != clip)
    names: dict[str, str] = {}
    taken = set[str]()
    numbered: dict[str, Iterator[str]] = {}
    for clip in clips:
        name = _inside(clip)
        if name != clip:
            of_name = numbered.setdefault(name, _numbered(name))
            name = next(each for each in of_name if each.casefold() not in taken)
        names[clip] = name
        taken.add(name.casefold())
    return names


def _inside(name: str) -> str:
    """The name of a clip below the folder of clips; of one elsewhere the file's name alone."""
    path = PureWindowsPath(name)  # it takes both kinds of slashes
    if not path.name or len(path.name.encode(errors="replace")) > MAX_NAME_BYTES:
        return NO_NAME
    return path.name if path.anchor or ".." in path.parts else name


def _numbered(name: str) -> Iterator[str]:
    """The name itself, then "take 2.mp4", "take 3.mp4" and so on."""
    yield name
    path = PurePosixPath(name)
    yield from (f"{path.stem} {number}{path.suffix}" for number in count(2))


def _id_of(path: Path) -> str:
    """Empty for a clip that is gone, or has no receipt."""
    try:
        return load_receipt(path).job
    except (ReceiptError, OSError):
        return ""
