"""`contact-sheet`: many clips on one picture, page or wall."""

from __future__ import annotations

import argparse
import json

from wan_pipeline.cli.common import Commands, add_folders, opened_studio, warn
from wan_pipeline.cli.film.take import find_clip
from wan_pipeline.errors import UserError
from wan_pipeline.requests.options import path as options_path

CONTACT_SHEET = (
    "Write a contact sheet and print its path: clips with what differs on each, a shot's takes, or a project's shots. "
    "A .png is one picture, a .pdf has pages of A4, in an .mp4 all clips play side by side."
)


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "contact-sheet", help="many clips on one page", description=CONTACT_SHEET, allow_abbrev=False
    )
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="a clip's file, or the beginning of its id")
    parser.add_argument("--project", metavar="NAME", help="one tile for each shot of the project")
    parser.add_argument("--shot", metavar="SHOT", help="all takes of this shot")
    text = "where to: a name that ends in .png, .pdf or .mp4"
    parser.add_argument("--output", type=options_path, metavar="FILE", required=True, help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_folders(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if bool(options.clips) == (options.project is not None or options.shot is not None):
        raise UserError("Either clips, or --project or --shot, are required; see contact-sheet --help.")
    with opened_studio(options) as studio:
        label = studio.projects.label(options.project or "")
        if options.clips:
            clips = [find_clip(studio, text, label) for text in options.clips]
            notes = studio.contact_sheets.of_clips(clips, "Contact sheet", options.output)
        elif options.shot:
            notes = studio.contact_sheets.of_shot(studio.shots.existing(options.shot, label), options.output)
        else:
            notes = studio.contact_sheets.of_project(studio.projects.existing(label).label, options.output)
    for note in notes:
        warn(note)
    path = options.output.resolve()
    facts = {"path": str(path), "bytes": path.stat().st_size, "warnings": list(notes)}
    print(json.dumps(facts) if options.json else path)
    return 0
