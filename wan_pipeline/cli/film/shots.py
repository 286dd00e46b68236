"""`shots`: the shots of a project in order, with their takes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import (
    Commands,
    add_action,
    add_folders,
    add_settings,
    draft,
    opened_studio,
    reporting_new_projects,
    warn,
)
from wan_pipeline.errors import UserError
from wan_pipeline.requests.options import path as options_path
from wan_pipeline.wording import plural

if TYPE_CHECKING:
    from wan_pipeline.projects.shots.shot import NewShot, Shot, Take
    from wan_pipeline.studio import Studio

SHOTS = "The shots of a project in order, each with its takes."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("shots", help="work with shots and takes", description=SHOTS, allow_abbrev=False)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    _action(actions, "list", _list, "list shots with their takes")
    add = _action(actions, "add", _add, "add shots, or write anew what is said of them; makes no clips")
    for name, text in (("scene", "the scene's id"), ("description", "what is seen"), ("notes", "anything")):
        add.add_argument(f"--{name}", default="", metavar="TEXT", help=text)
    text = "a shot list (CSV, Excel, JSON), or a screenplay (Fountain or text), one shot a scene"
    add.add_argument("--file", type=options_path, metavar="FILE", help=text)
    add.add_argument("--skip-bad", action="store_true", help="add the good rows of the file if some are bad")
    add_settings(add)
    renumber = _action(actions, "renumber", _renumber, "give a shot another id; its clips are renamed with it")
    renumber.add_argument("--to", metavar="SHOT", required=True, help="its new id, such as 012 or SCENE/012")
    take = "the number of the take; without it the latest finished one"
    for name, run, text in (
        ("pick", _pick, "pick a take of each of these shots, or of every shot"),
        ("reject", _reject, "reject a take of each of these shots"),
    ):
        _action(actions, name, run, text).add_argument("--take", type=int, metavar="N", help=take)


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, run, text)
    parser.add_argument("shots", nargs="*", metavar="SHOT", help="its id, such as 010 or SCENE/010 (all shots)")
    parser.add_argument("--project", default="", metavar="NAME", help="the project of the shots (the default project)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    return parser


def _list(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        label = studio.projects.label(options.project)
        return tell(options, studio, label, chosen(studio, options.shots, label, empty_is_all=True))


def _add(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        if options.file is None and len(options.shots) == 0:
            raise UserError("There is no shot to add; name it, as in: shots add 010, or give a list by --file.")
        new = _of_file(studio, options) if options.file is not None else _of_options(studio, options)
        with reporting_new_projects(studio, [options.project]):
            label = studio.projects.ensure(options.project)[0].label
            return tell(options, studio, label, studio.shots.ensure(label, new, update=True))


def _of_options(studio: Studio, options: argparse.Namespace) -> list[NewShot]:
    from wan_pipeline.projects.shots.settings import to_json
    from wan_pipeline.projects.shots.shot import NewShot

    settings = to_json(draft(options), studio.requests.pictures)
    parts = [address.rpartition("/") for address in options.shots]
    return [
        NewShot(shot, scene or options.scene, options.description, options.notes, settings) for scene, _, shot in parts
    ]


def _of_file(studio: Studio, options: argparse.Namespace) -> list[NewShot]:
    from wan_pipeline.projects.shots.lists import new_shot
    from wan_pipeline.requests.request import Draft

    if options.shots or draft(options) != Draft() or options.scene or options.description or options.notes:
        raise UserError("What is said of one shot does not go with --file; write it into its columns.")
    with studio.lists.read(options.file, own_disk=True, project=options.project) as content:
        for problem in (*content.warnings, *content.problems):
            warn(problem)
        content.check(options.skip_bad)
        if missing := [row.number for row in content.rows if row.shot is None]:
            raise UserError(f"Row {missing[0]} of {options.file.name} names no shot; write its id in the column shot.")
        return [new_shot(row.shot, row, studio.requests.pictures) for row in content.rows if row.shot]


def _renumber(options: argparse.Namespace) -> int:
    from wan_pipeline.projects.shots.shot import NewShot

    with opened_studio(options) as studio:
        label = studio.projects.label(options.project)
        if len(options.shots) != 1:
            raise UserError("Name one shot to renumber, as in: shots renumber 010 --to 012.")
        shot = studio.shots.existing(options.shots[0], label)
        scene, slash, name = options.to.strip().rpartition("/")
        new = NewShot(name, scene if slash else shot.scene, shot.description, shot.notes)
        done = studio.renumbering.edit(shot.number, new)
        for note in done.notes:
            warn(note)
        return tell(options, studio, label, [done.shot])


def _pick(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        label = studio.projects.label(options.project)
        shots = chosen(studio, options.shots, label, empty_is_all=True)
        takes = _takes(shots, options.take, is_named=bool(options.shots))
        if not takes:
            raise UserError("No shot has a finished take to pick; make some by `take SHOT`, then pick again.")
        studio.shots.pick(takes)
        now = {shot.number: shot for shot in studio.shots.all(label)}
        return tell(options, studio, label, [now[shot.number] for shot in shots])


def _reject(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        label = studio.projects.label(options.project)
        if not options.shots:
            raise UserError("Name the shots whose takes are to be rejected, as in: shots reject 010 --take 2.")
        shots = chosen(studio, options.shots, label)
        studio.shots.reject(_takes(shots, options.take, is_named=True))
        now = {shot.number: shot for shot in studio.shots.all(label)}
        return tell(options, studio, label, [now[shot.number] for shot in shots])


def chosen(studio: Studio, addresses: Sequence[str], label: str, *, empty_is_all: bool = False) -> list[Shot]:
    """The shots that were named. Raises UserError for one that is not there."""
    if not addresses and empty_is_all:
        return studio.shots.all(label)
    return [studio.shots.existing(address, label) for address in addresses]


def _takes(shots: Sequence[Shot], number: int | None, *, is_named: bool) -> list[Take]:
    """The take of that number of each shot, else its newest finished draft. A shot that was named must have one."""
    from wan_pipeline.projects.shots.store import take_of

    if number is not None:
        return [take_of(shot, number) for shot in shots]
    if is_named and (lacking := next((shot for shot in shots if shot.newest_draft is None), None)):
        raise UserError(f"Shot {lacking.address} has no finished take; make one by `take {lacking.address}`.")
    return [shot.newest_draft for shot in shots if shot.newest_draft]


def tell(options: argparse.Namespace, studio: Studio, label: str, shots: Sequence[Shot]) -> int:
    """Print shots for a person, or as one object."""
    if options.json:
        title = project.id if (project := studio.projects.find(label)) else label or "default"
        print(json.dumps({"project": title, "count": len(shots), "shots": [report(shot) for shot in shots]}))
        return 0
    for shot in shots:
        takes = plural(len(shot.takes), "take")
        picked = f", take {shot.picked_take.number} picked" if shot.picked_take else ""
        print(
            f"{shot.address:<12}  {shot.status:<8}  {takes}{picked}  {' '.join(shot.description.split())[:60]}".rstrip()
        )
    if not shots:
        print("There are no shots; add them by `shots add`.")
    return 0


def report(shot: Shot) -> dict[str, Any]:
    """A shot as JSON."""
    return {
        "scene": shot.scene,
        "shot": shot.shot,
        "description": shot.description,
        "notes": shot.notes,
        "status": shot.status,
        "picked": shot.picked_take.number if shot.picked_take else None,
        "final": shot.final_take.number if shot.final_take else None,
        "takes": [report_take(take) for take in shot.takes],
    }


def report_take(take: Take) -> dict[str, Any]:
    """A take as JSON."""
    return {
        "take": take.number,
        "id": take.id,
        "state": take.state,
        "seed": take.seed,
        "clip": _path(take.clip),
        "rating": take.rating or None,
        "rejected": take.is_rejected,
        "final_of": take.final_of or None,
        "verdict": take.verdict,
    }


def _path(path: Path | None) -> str | None:
    return str(path.resolve()) if path else None
