"""`export`: a clip as a file, or a sequence, for another program."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from wan_pipeline.cli.common import Commands, add_folders, add_memory, opened_studio, warn

EXPORT = (
    "Write a clip in another format, decoded again from its latents with all their levels; without them from the 8 "
    "bits of its MP4. The output is whole or not there. Prints its path."
)


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    from wan_pipeline.clips.export.formats import FORMATS, PROGRAMS

    parser = commands.add_parser(
        "export", help="write a clip for another program", description=EXPORT, allow_abbrev=False
    )
    parser.add_argument("clip", metavar="CLIP", help="an MP4, or the id of a clip of the gallery")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--format", metavar="NAME", help=", ".join(FORMATS))
    programs = ", ".join(f"{program} ({form})" for program, form in PROGRAMS.items())
    choice.add_argument("--for", dest="program", choices=PROGRAMS, help=f"the format for a program: {programs}")
    output = "the file to write; for a sequence the folder, which must be new or empty"
    parser.add_argument("--output", type=Path, required=True, metavar="PATH", help=output)
    parser.add_argument("--fps", metavar="RATE", help="the same frames at this rate, such as 24000/1001 (the clip's)")
    add_handles(parser)
    parser.add_argument("--timecode", default="", metavar="HH:MM:SS:FF", help="of its own first frame (01:00:00:00)")
    parser.add_argument("--reel", default="", metavar="NAME", help="reel name in QuickTime files (from the clip's id)")
    transfer = "light in EXR files: linear, or as displayed (linear)"
    parser.add_argument("--transfer", choices=("linear", "display"), default="linear", help=transfer)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_memory(parser, limit_only=True)
    add_folders(parser)
    parser.set_defaults(run=run, stopped="stopped; nothing was written.")


def add_handles(parser: argparse.ArgumentParser) -> None:
    text = "held frames before the first and after the last one (0)"
    parser.add_argument("--handles", type=int, default=0, metavar="N", help=text)


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.progress_line import ProgressLine  # here and below: --help needs none of it
    from wan_pipeline.clips.export.exr import Transfer
    from wan_pipeline.clips.export.formats import PROGRAMS, find_format
    from wan_pipeline.clips.export.order import ExportOrder
    from wan_pipeline.clips.export.rates import parse_rate

    form = find_format(options.format or PROGRAMS[options.program])
    rate = parse_rate(options.fps) if options.fps else None
    transfer, named = Transfer(options.transfer), (options.timecode, options.reel)
    order = ExportOrder(form, options.output, rate, options.handles, transfer, *named)
    with opened_studio(options) as studio, ProgressLine(sys.stderr) as observer:
        exported = studio.exports.write(studio.exports.find(options.clip), order, observer)
    for warning in exported.warnings:
        warn(warning)
    print(json.dumps(exported.to_dict()) if options.json else exported.path)
    return 0
