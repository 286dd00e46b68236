"""`queue add --grid`: one clip in every combination of some settings."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import draft, reporting_new_projects, warn
from wan_pipeline.wording import are_there, data_size, plural

if TYPE_CHECKING:
    from wan_pipeline.projects.shots.grids import PreparedGrid
    from wan_pipeline.studio import Studio


def is_grid(options: argparse.Namespace) -> bool:
    """Whether more than one clip is asked for, or one of a shot, or only what it would take."""
    from wan_pipeline.requests.grids.variations import prompts_of

    return bool(options.grid or options.shot or options.dry_run) or len(prompts_of(options.prompt or "")) > 1


def add_grid(studio: Studio, options: argparse.Namespace) -> int:
    """Print count, time and disk space, then queue the clips, unless it is a dry run."""
    with reporting_new_projects(studio, [options.project]):
        return _add(studio, options)


def _add(studio: Studio, options: argparse.Namespace) -> int:
    grid = _prepare(studio, options)
    if not options.dry_run:
        studio.projects.ensure(options.project)
    seconds = studio.estimates.of_requests(grid.prepared.requests).seconds if grid.prepared.clips else 0.0
    print(f"note: {_sentence(studio, grid)}", file=sys.stderr)
    for text in dict.fromkeys(note for request in grid.prepared.requests for note in request.notes):
        warn(text)
    ids = [] if options.dry_run else studio.takes.queue(grid.prepared)
    if options.json:
        print(json.dumps(_report(grid, ids, seconds, is_dry=options.dry_run)))
    else:
        print("\n".join((*ids, *grid.shared)), end="\n" if ids or grid.shared else "")
    return 0


def _prepare(studio: Studio, options: argparse.Namespace) -> PreparedGrid:
    from wan_pipeline.projects.clips import JobOptions
    from wan_pipeline.requests.grids.variations import axis

    axes, base = [axis(text) for text in options.grid], draft(options)
    label, deterministic = studio.projects.label(options.project), options.deterministic
    if options.shot:
        shot = studio.shots.existing(options.shot, label)
        return studio.grids.of_shot(shot, base, axes, options.profile or None, deterministic)
    return studio.grids.of_clip(base, axes, label, JobOptions(deterministic=deterministic, profile=options.profile))


def _sentence(studio: Studio, grid: PreparedGrid) -> str:
    shared = f"; {are_there(len(grid.shared), 'clip', 'it')}" if grid.shared else ""
    if not grid.prepared.clips:
        return f"the grid of {plural(grid.count, 'clip')} needs nothing new{shared}."
    time = studio.estimates.of_requests(grid.prepared.requests).text
    return f"{time}, at most {data_size(grid.most_bytes)} on the disk{shared}."


def _report(grid: PreparedGrid, ids: list[str], seconds: float, *, is_dry: bool) -> dict[str, Any]:
    return {
        "count": grid.count,
        "queued": len(ids),
        "shared": list(grid.shared),
        "jobs": ids,
        "minutes": round(seconds / 60, 2),
        "bytes": grid.most_bytes,
        "dry_run": is_dry,
    }
