"""Contact sheets of clips, of a shot's takes and of projects: what stands on each tile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.clips.sheets.differing import Grid, differing, grid_of
from wan_pipeline.clips.sheets.fonts import letters_note
from wan_pipeline.clips.sheets.page import Tile
from wan_pipeline.clips.sheets.sheet import MAX_TILES, check_ending, write_sheet
from wan_pipeline.clips.sheets.wall import write_wall
from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.projects.shots.store import Shots

_IN_TEXT = ("prompt", "negative prompt")


class ContactSheets:
    """Writes sheets. Every method raises UserError for what no sheet can be made of, StorageError.

    They return what a person should know: a sentence about letters that no font here has.
    """

    def __init__(self, shots: Shots, gallery: Gallery) -> None:
        self._shots, self._gallery = shots, gallery

    def of_clips(self, clips: Sequence[Clip], title: str, target: Path) -> tuple[str, ...]:
        """Clips in this order; as a grid with labelled axes where they fill one."""
        check_ending(target)
        if not clips:
            raise UserError("There are no finished clips for a contact sheet; make some first.")
        values = differing([clip.request for clip in clips])
        grid = grid_of(values)
        if target.suffix.lower() == ".mp4":
            columns = len(grid.columns) if grid else 0
            captions = [
                _caption(clip, own, self._shots.of_take(clip.id)) for clip, own in zip(clips, values, strict=True)
            ]
            placed = sorted(range(len(clips)), key=lambda n: _place(grid, values[n])) if grid else range(len(clips))
            paths, captions = [clips[n].path for n in placed], [captions[n] for n in placed]
            write_wall(paths, captions, max(clip.request.fps for clip in clips), target, columns)
            return letters_note(captions)
        tiles = [self._tile(clip, own, in_grid=grid is not None) for clip, own in zip(clips, values, strict=True)]
        keys = [(own[grid.down], own[grid.across]) for own in values] if grid else []
        return write_sheet(tiles, title, target, grid, keys)

    def of_shot(self, shot: Shot, target: Path) -> tuple[str, ...]:
        """All finished takes of a shot."""
        clips = self._gallery.existing(take.id for take in shot.done)
        return self.of_clips(clips, f"{shot.project or 'Shot'} {shot.address}", target)

    def of_project(self, project: str, target: Path) -> tuple[str, ...]:
        """One tile for each shot: its final, picked or newest take. A project without shots: its newest clips."""
        check_ending(target)
        shots, title = self._shots.all(project), project or "Default project"
        if not shots:
            return self.of_clips(list(islice(self._gallery.of_project(project), MAX_TILES)), title, target)
        if target.suffix.lower() == ".mp4":
            taken = [take.id for shot in shots if (take := shot.shown_take or shot.newest_draft)]
            return self.of_clips(self._gallery.existing(taken), title, target)
        return write_sheet([self._tile_of_shot(shot) for shot in shots], title, target)

    def _tile(self, clip: Clip, values: dict[str, str], *, in_grid: bool) -> Tile:
        shot = self._shots.of_take(clip.id)
        shown = [] if in_grid else [f"{name} {value}" for name, value in values.items() if name not in _IN_TEXT]
        text = clip.request.prompt if "prompt" in values and not in_grid else ""
        heading = _heading(shot, clip.id) if shot else "" if in_grid else clip.path.stem[-40:]
        return Tile(clip.poster, heading, _two_a_line(shown), text, bool(shot and shot.picked == clip.id))

    @staticmethod
    def _tile_of_shot(shot: Shot) -> Tile:
        take = shot.shown_take or shot.newest_draft
        number = f"  take {take.number}" if take else ""
        lines = (f"{shot.status}, seed {take.seed}" if take else f"{shot.status}, no take yet",)
        return Tile(
            take.poster if take else None, f"{shot.address}{number}", lines, shot.description, bool(shot.picked_take)
        )


def _place(grid: Grid, values: dict[str, str]) -> tuple[int, int]:
    return grid.rows.index(values[grid.down]), grid.columns.index(values[grid.across])


def _heading(shot: Shot, take_id: str) -> str:
    number = next((take.number for take in shot.takes if take.id == take_id), 0)
    return f"{shot.address}  take {number}"


def _caption(clip: Clip, values: dict[str, str], shot: Shot | None) -> str:
    parts = [_heading(shot, clip.id)] if shot else []
    return "  ".join([*parts, *(f"{name} {value}" for name, value in values.items())]) or clip.path.stem


def _two_a_line(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(", ".join(texts[at : at + 2]) for at in range(0, len(texts), 2))
