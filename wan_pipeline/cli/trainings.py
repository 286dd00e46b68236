"""`trainings`: the checkpoints of earlier trainings, listed and used as LoRAs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_folders, settings
from wan_pipeline.requests import options as words

if TYPE_CHECKING:
    from wan_pipeline.trainer.files.checkpoints import Checkpoint

LIST = "List the trainings whose checkpoints are kept, or the checkpoints of one, with their losses."
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
