"""`cut`: clips of a project in order, for an editor's program or as one video."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_folders, add_memory, opened_studio, warn
from wan_pipeline.cli.handover.export import add_handles
from wan_pipeline.requests import options as words
from wan_pipeline.wording import upper_first

if TYPE_CHECKING:
    from fractions import Fraction

    from wan_pipeline.projects.cut.cut import Cut
    from wan_pipeline.studio import Studio

CUT = "Clips of a project in order: OTIO, EDL and XML for editors' programs, or one video."
FORMATS = ("otio", "edl", "xml", "mp4", "prores")


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("cut", help="put clips in order", description=CUT, allow_abbrev=False)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    new = _action(actions, "new", _new, "make an empty cut")
    new.add_argument("--fps", metavar="RATE", help="frames a second, such as 24000/1001 (the first clip's)")
    add = _action(actions, "add", _add, "add clips to the end of a cut")
    add.add_argument("clips", nargs="+", metavar="CLIP", help="an MP4, or the id of a clip of the gallery")
    add.add_argument("--in", dest="first", type=int, default=0, metavar="N", help="first frame that is seen, from 0")
    add.add_argument("--out", dest="end", type=int, metavar="N", help="the frame after the last one (all)")
    _action(actions, "show", _show, "list the clips of a cut")
    export = _action(actions, "export", _export, "write a cut; without one, the project's picked takes")
    export.add_argument("--format", choices=FORMATS, required=True, help="a timeline, or one video")
    export.add_argument("--output", type=words.path, required=True, metavar="PATH", help="the file to write")
    export.add_argument("--fps", metavar="RATE", help="the same frames at this rate (the cut's)")
    media = "for a timeline, write the clips anew beside it, as prores or dnxhr (only with handles or other rates)"
    export.add_argument("--media", choices=("prores", "dnxhr"), default="", help=media)
    add_handles(export)
    add_memory(export, limit_only=True)
    export.set_defaults(stopped="stopped; no cut was written.")


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{upper_first(text)}.", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--project", required=True, metavar="NAME", help="the project that it belongs to")
    parser.add_argument("--cut", default="", metavar="NAME", help="its name (main)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_folders(parser)
    return parser


def _new(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        studio.projects.ensure(options.project)
        cut = studio.cuts.new(options.project, _name(options), _rate(options.fps))
    print(json.dumps(cut.to_dict()) if options.json else cut.name)
    return 0


def _add(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        clips = [studio.exports.find(clip) for clip in options.clips]
        cut = studio.cuts.add(options.project, _name(options), clips, options.first, options.end)
        _tell(studio, cut, as_json=options.json)
    return 0


def _show(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        _tell(studio, studio.cuts.existing(options.project, _name(options)), as_json=options.json)
    return 0


def _export(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.progress_line import ProgressLine  # here: --help needs none of it
    from wan_pipeline.projects.cut.cuts import CutFormat, CutOrder

    rate, form = _rate(options.fps), CutFormat(options.format)
    order = CutOrder(form, options.output, rate, options.handles, options.media)
    with opened_studio(options) as studio, ProgressLine(sys.stderr) as observer:
        exported = studio.cuts.export(options.project, options.cut, order, observer)
    for warning in exported.warnings:
        warn(warning)
    print(json.dumps(exported.to_dict()) if options.json else exported.path)
    return 0


def _tell(studio: Studio, cut: Cut, *, as_json: bool) -> None:
    report = _report(studio, cut)
    if as_json:
        print(json.dumps(report))
        return
    print(f"{cut.name}: {report['frames']} frames at {report['fps'] or 'no rate yet'}")
    for item in report["clips"]:
        print(f"{item['at']:>6}  {item['frames']:>5} frames from {item['first']:>4}  {Path(item['clip']).name}")


def _report(studio: Studio, cut: Cut) -> dict[str, Any]:
    """`at` is the frame of the cut at which a clip begins."""
    if not cut.items:
        return {"cut": cut.name, "fps": cut.rate, "frames": 0, "clips": []}
    sequence, at, clips = studio.cuts.look(cut), 0, []
    for piece in sequence.pieces:
        facts = {"clip": str(piece.source.clip), "first": piece.first, "end": piece.end, "frames": piece.frames}
        clips.append({**facts, "at": at})
        at += piece.frames
    return {"cut": cut.name, "fps": str(sequence.rate), "frames": at, "clips": clips}


def _name(options: argparse.Namespace) -> str:
    return options.cut or "main"


def _rate(text: str | None) -> Fraction | None:
    from wan_pipeline.clips.export.rates import parse_rate

    return parse_rate(text) if text else None
