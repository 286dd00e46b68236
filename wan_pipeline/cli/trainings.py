"""`trainings`: the checkpoints of earlier trainings, listed, compared and used as LoRAs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import (
    Commands,
    add_folders,
    add_project,
    opened_studio,
    reporting_new_projects,
    settings,
    warn,
)
from wan_pipeline.cli.progress_line import Line
from wan_pipeline.requests import options as words
from wan_pipeline.wording import plural

if TYPE_CHECKING:
    from wan_pipeline.projects.checkpoint_grids import CheckpointGrid
    from wan_pipeline.studio import Studio
    from wan_pipeline.trainer.files.checkpoints import Checkpoint

LIST = "List the trainings whose checkpoints are kept, or the checkpoints of one, with their losses."
GRID = (
    "Queue clips of a training's checkpoints at several weights, with the same prompts and seed, and print their job "
    "ids. With --output they are made now, and end in a contact sheet."
)
SHEET = "Write the contact sheet of a training's newest grid: checkpoints downwards, weights across."
USE = "Copy a checkpoint into the LoRA folder, as NAME-STEP, and print the paths of its files."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    trainings = commands.add_parser(
        "trainings", help="checkpoints of trained LoRAs", description=LIST, allow_abbrev=False
    )
    actions = trainings.add_subparsers(dest="action", required=True, metavar="action")
    listed = actions.add_parser("list", help="list them", description=LIST, allow_abbrev=False)
    listed.add_argument("name", nargs="?", metavar="NAME", help="of one training")
    listed.add_argument("--json", action="store_true", help="print one JSON array")
    add_folders(listed)
    listed.set_defaults(run=run_list)
    used = actions.add_parser("use", help="make one a LoRA", description=USE, allow_abbrev=False)
    used.add_argument("name", metavar="NAME")
    used.add_argument("step", type=words.whole("step"), metavar="STEP")
    add_folders(used)
    used.set_defaults(run=run_use)
    _add_grid(actions)
    sheet = actions.add_parser("sheet", help="contact sheet of its grid", description=SHEET, allow_abbrev=False)
    sheet.add_argument("name", metavar="NAME")
    sheet.add_argument("--output", type=words.path, metavar="FILE", required=True, help="a .png, .pdf or .mp4")
    add_folders(sheet)
    sheet.set_defaults(run=run_sheet)


def _add_grid(actions: Commands[argparse.ArgumentParser]) -> None:
    grid = actions.add_parser("grid", help="clips of checkpoints by weights", description=GRID, allow_abbrev=False)
    add = grid.add_argument
    add("name", metavar="NAME")
    add("--prompt", action="append", required=True, metavar="TEXT", help="of the clips; repeatable")
    add("--weights", metavar="WEIGHTS", default="0.5,1", help="such as 0,0.5,1; 0 is the base model (%(default)s)")
    add("--checkpoints", metavar="STEPS", default="", help="such as 40,80 (all of them)")
    add("--seed", type=words.whole("seed"), metavar="S", help="of all clips (the training's)")
    add("--output", type=words.path, metavar="FILE", help="make the clips now, and write their .png, .pdf or .mp4")
    add("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_project(grid, "what the clips belong to, whose setup they get; made if it is new", profile=True)
    add_folders(grid)
    grid.set_defaults(run=run_grid, stopped="stopped; the clips of the grid wait in the queue.")


def run_list(options: argparse.Namespace) -> int:
    from wan_pipeline.trainer.files.checkpoints import checkpoints, trainings  # here and below: --help needs none of it

    if options.name is None:
        names = trainings(settings(options))
        print(json.dumps(names) if options.json else "\n".join(names or ["no checkpoints are kept"]))
        return 0
    found = checkpoints(settings(options), options.name)
    print(json.dumps([_report(one) for one in found]) if options.json else "\n".join(_lines(found)))
    return 0


def run_use(options: argparse.Namespace) -> int:
    from wan_pipeline.trainer.files.checkpoints import use

    for path in use(settings(options), options.name, options.step):
        print(path)
    return 0


def run_grid(options: argparse.Namespace) -> int:
    from wan_pipeline.clips.sheets.sheet import check_ending  # here and below: --help needs none of it
    from wan_pipeline.projects.checkpoint_grids import GridOrder, read_steps, read_weights

    if options.output:
        check_ending(options.output)
    prompts, weights = tuple(options.prompt), read_weights(options.weights)
    order = GridOrder(options.name, prompts, weights, read_steps(options.checkpoints), options.seed)
    with opened_studio(options) as studio, reporting_new_projects(studio, [options.project]):
        label = studio.projects.label(options.project)
        prepared = studio.checkpoint_grids.prepare(order, label, options.profile)
        studio.projects.ensure(options.project)
        grid = studio.checkpoint_grids.queue(prepared)
        if options.output:
            _make(studio, grid)
            studio.checkpoint_grids.write_sheet(grid.name, options.output)
    if options.json:
        print(json.dumps(_grid_report(grid, len(prepared.prepared.clips), options)))
    else:
        print(options.output.resolve() if options.output else "\n".join(grid.jobs))
    return 0


def run_sheet(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        studio.checkpoint_grids.write_sheet(options.name, options.output)
    print(options.output.resolve())
    return 0


def _make(studio: Studio, grid: CheckpointGrid) -> None:
    """Process the queue until it is empty, and say what is missing then."""
    with closing(Line(sys.stderr)) as line:
        studio.work(lambda: line.write(f"clips {len(studio.checkpoint_grids.clips(grid))}/{len(grid.jobs)}", "clips"))
    if missing := len(grid.jobs) - len(studio.checkpoint_grids.clips(grid)):
        warn(f"{plural(missing, 'clip')} of the grid are missing; queue list says why.")


def _grid_report(grid: CheckpointGrid, queued: int, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": grid.name,
        "prompts": list(grid.prompts),
        "seed": grid.seed,
        "queued": queued,
        "jobs": grid.jobs,
        "cells": [vars(cell) for cell in grid.cells],
        "sheet": str(options.output.resolve()) if options.output else None,
    }


def _report(one: Checkpoint) -> dict[str, Any]:
    return {
        "name": one.name,
        "step": one.step,
        "loss": one.loss,
        "validation_loss": one.validation_loss,
        "is_result": one.is_result,
        "files": [str(path.resolve()) for path in one.paths],
    }


def _lines(found: list[Checkpoint]) -> Iterator[str]:
    """For a person, such as: step 40: loss 0.1234, validation 0.1200."""
    for one in found:
        losses = (("loss", one.loss), ("validation", one.validation_loss))
        shown = ", ".join(f"{name} {value:.4f}" for name, value in losses if value is not None)
        yield f"step {one.step}: {shown or 'losses unknown'}{' (the LoRA)' if one.is_result else ''}"
