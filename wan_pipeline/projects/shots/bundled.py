"""The shots of a project in its bundle: scenes, shots, takes, notes and picks, as one JSON file."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.clips.gallery import MAX_RATING, Gallery
from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.projects.shots.settings import layer_of
from wan_pipeline.projects.shots.shot import NewShot, Shot
from wan_pipeline.projects.shots.store import MAX_SHOTS, Shots, check_new_shot
from wan_pipeline.requests.layers import Setup
from wan_pipeline.requests.lists.clips import read_row
from wan_pipeline.requests.lists.pictures import PICTURE_FOLDER
from wan_pipeline.requests.lists.shots import MAX_DESCRIPTION, MAX_ID, MAX_SHOT_NOTES
from wan_pipeline.requests.options import FILES
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

MEMBER = "shots.json"
MAX_BYTES = 32 * 2**20
_PICTURE = re.compile(re.escape(PICTURE_FOLDER) + "([0-9a-f]{64})")
_REFERENCES = "reference-image"

Id = Annotated[str, Field(pattern="^[0-9A-Za-z_-]{0,64}$")]


@dataclass(frozen=True)
class BundledTake:
    id: Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,64}$")]
    """Of its clip."""
    take: Annotated[int, Field(ge=1, le=10**6)]
    final_of: Id = ""
    rating: Annotated[int, Field(ge=0, le=MAX_RATING)] = 0
    rejected: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")


@dataclass(frozen=True)
class BundledShot:
    shot: Annotated[str, Field(min_length=1, max_length=MAX_ID)]
    scene: Annotated[str, Field(max_length=MAX_ID)] = ""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION)] = ""
    notes: Annotated[str, Field(max_length=MAX_SHOT_NOTES)] = ""
    settings: dict[str, Any] = field(default_factory=dict)
    picked: Id = ""
    takes: Annotated[tuple[BundledTake, ...], Field(max_length=10_000)] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")


_Shots = Annotated[list[BundledShot], Field(max_length=MAX_SHOTS)]


def shots_to_json(shots: Sequence[Shot]) -> str:
    """The shots in their order, without the paths of files outside the workspace."""
    return json.dumps([asdict(_bundled(shot)) for shot in shots], ensure_ascii=False, indent=1)


def pictures_of(shots: Sequence[Shot]) -> set[str]:
    """Names of the input pictures that the shots' settings name."""
    return {found for shot in shots for found in _PICTURE.findall(shot.settings)}


def setups_of(shots: Sequence[Shot]) -> list[Setup]:
    """The shots' settings, as layers. Raises ProjectError for some that cannot be read."""
    return [_setup(shot) for shot in shots]


def read_shots_json(content: bytes) -> list[BundledShot]:
    """Read what `shots_to_json` wrote, perhaps by anybody. Raises UserError for what no shots can be."""
    try:
        shots = parse(_Shots, parse_json(content, MAX_BYTES))  # type: ignore[arg-type]
    except OutsideDataError as error:
        raise ProjectError(f"The bundle's {MEMBER} cannot be read: {error}; export the project again.") from error
    for shot in shots:
        check_new_shot(_new(shot))
        read_row(0, _without_files(shot.settings), _Unpacked())
    return shots


class BundledShots:
    """Takes shots into a workspace whose gallery has their clips already. `shots`: those of the workspace."""

    def __init__(self, database: Database, shots: Shots, gallery: Gallery) -> None:
        self._database, self.shots, self._gallery = database, shots, gallery

    def add(self, label: str, bundled: Sequence[BundledShot]) -> int:
        """Add the shots to a project, in their order, with the takes whose clips are here. Returns how many."""
        shots = self.shots.ensure(label, list(map(_new, bundled)))
        own = {clip.id for clip in self._gallery.of_project(label)}
        with self._database.transaction() as connection:
            for shot, each in zip(shots, bundled, strict=True):
                for take in each.takes:
                    if take.id in own:
                        _insert(connection, shot.number, take)
                if each.picked in own:
                    connection.execute("UPDATE shots SET picked = ? WHERE number = ?", (each.picked, shot.number))
        return len(shots)


def _setup(shot: Shot) -> Setup:
    try:
        return layer_of(read_row(0, _without_files(json.loads(shot.settings)), _Unpacked()).draft)[0]
    except UserError as error:
        raise ProjectError(f"The settings of shot {shot.address} cannot be read ({error}); set them again.") from error


def _insert(connection: sqlite3.Connection, shot: int, take: BundledTake) -> None:
    connection.execute("INSERT OR IGNORE INTO takes (id, shot, take) VALUES (?, ?, ?)", (take.id, shot, take.take))
    changes = (take.rating, take.rejected, take.id)
    connection.execute("UPDATE clips SET rating = ?, rejected = ? WHERE id = ?", changes)
    if take.final_of:
        connection.execute("INSERT OR IGNORE INTO finals (id, draft) VALUES (?, ?)", (take.id, take.final_of))


def _bundled(shot: Shot) -> BundledShot:
    takes = tuple(BundledTake(take.id, take.number, take.final_of, take.rating, take.is_rejected) for take in shot.done)
    settings = _without_files(json.loads(shot.settings))
    return BundledShot(shot.shot, shot.scene, shot.description, shot.notes, settings, shot.picked, takes)


def _new(shot: BundledShot) -> NewShot:
    """As a new shot. Files of the disk are left out: a bundle names none of this computer's."""
    settings = json.dumps(_without_files(shot.settings), ensure_ascii=False, sort_keys=True)
    return NewShot(shot.shot, shot.scene, shot.description, shot.notes, settings)


def _without_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose pictures are all in the workspace, by their names there."""
    names = {option.name for option in FILES}
    kept = {name: value for name, value in settings.items() if name not in names or _is_picture(value)}
    if _REFERENCES in kept:
        given = kept[_REFERENCES] if isinstance(kept[_REFERENCES], list) else []
        kept[_REFERENCES] = [each for each in given if _is_picture(each)]
    return kept


def _is_picture(value: object) -> bool:
    return isinstance(value, str) and _PICTURE.fullmatch(value) is not None


class _Unpacked:
    """Pictures by the names that they will have in the workspace."""

    def find(self, name: str) -> Path:
        return Path(name)
