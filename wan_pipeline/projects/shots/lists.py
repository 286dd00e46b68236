"""Shots of a list's rows, made where they are not there yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wan_pipeline.projects.shots.settings import to_json
from wan_pipeline.projects.shots.shot import NewShot, Shot
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.requests.inputs.pictures import Pictures
from wan_pipeline.requests.lists.clips import Row
from wan_pipeline.requests.lists.shots import ShotOfRow


def shots_of_rows(
    rows: Sequence[Row], shots: Shots, labels: Mapping[str, str], project: str, pictures: Pictures
) -> dict[int, Shot]:
    """The shots of those rows that have one, by row number. `labels` are the projects' by name, `project` the default.

    A shot that is there already stays as it is. Raises UserError for what no shot can be.
    """
    found: dict[int, Shot] = {}
    for name in {row.project or project for row in rows if row.shot}:
        own = [row for row in rows if row.shot and (row.project or project) == name]
        new = [new_shot(row.shot, row, pictures) for row in own if row.shot]
        found |= dict(zip((row.number for row in own), shots.ensure(labels[name], new), strict=True))
    return found


def new_shot(shot: ShotOfRow, row: Row, pictures: Pictures) -> NewShot:
    """What a row says of its shot. A prompt that is the description is not stored twice."""
    draft = replace(row.draft, prompt="") if row.draft.prompt == shot.description else row.draft
    return NewShot(shot.shot, shot.scene, shot.description, shot.notes, to_json(draft, pictures))
