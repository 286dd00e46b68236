"""`cut`: clips of a project in order, for an editor's program or as one video."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_action, add_folders, add_memory, opened_studio, warn
from wan_pipeline.cli.handover.export import add_handles
from wan_pipeline.requests import options as words

if TYPE_CHECKING:
    from fractions import Fraction

    from wan_pipeline.projects.cut.cut import Cut
    from wan_pipeline.projects.cut.orders import CutOrder
    from wan_pipeline.studio import Studio

CUT = "Clips of a project in order: OTIO, EDL and XML for editors' programs, or one video."
FORMATS = ("otio", "edl", "xml", "mp4", "prores")
PROGRAMS = ("resolve", "premiere", "nuke", "aftereffects", "web")
PLACES = ("centre", "lower", "top")


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
    dissolve = "frames in which the clip before becomes this one (0: a cut)"
    add.add_argument("--dissolve", type=int, default=0, metavar="N", help=dissolve)
    _action(actions, "show", _show, "list the clips of a cut")
    remove = _action(actions, "remove", _remove, "take a clip out of a cut; its file stays")
    remove.add_argument("--on", type=int, required=True, metavar="N", help="the clip's number in the cut, from 1")
    _add_title(actions)
    _add_card(actions)
    _add_versions(actions)
    _action(actions, "relink", _relink, "take the finals of drafts into a cut; what it was becomes a version")
    taken = _action(actions, "import", _import, "say what an editor changed in an exported timeline, or take it over")
    taken.add_argument("file", type=words.path, metavar="FILE", help="an .otio, .edl or .xml file")
    taken.add_argument("--apply", action="store_true", help="take it over; what the cut was becomes a version")
    _add_export(actions)


def _add_title(actions: Commands[argparse.ArgumentParser]) -> None:
    title = _action(actions, "title", _title, "put a title over a clip of a cut; an empty text takes it away")
    title.add_argument("text", metavar="TEXT", help="its words")
    title.add_argument("--on", type=int, required=True, metavar="N", help="the clip's number in the cut, from 1")
    title.add_argument(
        "--at", type=int, default=0, metavar="N", help="the clip's frame in the cut, from 0, it begins at"
    )
    title.add_argument("--frames", type=int, metavar="N", help="how long (to the clip's end)")
    title.add_argument("--place", choices=PLACES, default="centre", help="where in the frame (centre)")


def _add_card(actions: Commands[argparse.ArgumentParser]) -> None:
    card = _action(actions, "card", _card, "add a title card, words on black, to a cut")
    card.add_argument("text", metavar="TEXT", help="its words")
    card.add_argument("--frames", type=int, required=True, metavar="N", help="how long")
    card.add_argument("--before", type=int, metavar="N", help="the clip's number in the cut, from 1 (at the end)")
    card.add_argument("--place", choices=PLACES, default="centre", help="where in the frame (centre)")


def _add_versions(actions: Commands[argparse.ArgumentParser]) -> None:
    versions = _action(actions, "versions", _versions, "list the versions of a cut, or save one")
    versions.add_argument("--save", metavar="NAME", help="save the cut as it is under this name")
    restore = _action(actions, "restore", _restore, "make a cut what it was in a version; what it is becomes a version")
    restore.add_argument("version", type=int, metavar="VERSION", help="its number")


def _add_export(actions: Commands[argparse.ArgumentParser]) -> None:
    export = _action(actions, "export", _export, "write a cut; without one, the project's picked takes")
    choice = export.add_mutually_exclusive_group(required=True)
    choice.add_argument("--format", choices=FORMATS, help="a timeline, or one video")
    choice.add_argument("--for", dest="program", choices=PROGRAMS, help="what a program is best given, with its media")
    export.add_argument("--output", type=words.path, required=True, metavar="PATH", help="the file to write")
    export.add_argument("--fps", metavar="RATE", help="the same frames at this rate (the cut's)")
    media = "for a timeline, write the clips anew beside it, as prores or dnxhr (only with handles or other rates)"
    export.add_argument("--media", choices=("prores", "dnxhr"), default="", help=media)
    start = "timecode of a timeline's first frame (01:00:00:00)"
    export.add_argument("--timecode", default="", metavar="HH:MM:SS:FF", help=start)
    reel = "what a clip's reel is called: by its id, or by its file's name (id)"
    export.add_argument("--reel", choices=("id", "name"), default="id", help=reel)
    add_handles(export)
    add_memory(export, limit_only=True)
    export.set_defaults(stopped="stopped; no cut was written.")


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, run, text)
    parser.add_argument("--project", required=True, metavar="NAME", help="the project that it belongs to")
    parser.add_argument("--cut", default="", metavar="NAME", help="its name (main)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
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
        part = (options.first, options.end, options.dissolve)
        cut = studio.cuts.add(options.project, _name(options), clips, *part)
        _tell(studio, cut, as_json=options.json)
    return 0


def _show(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        _tell(studio, studio.cuts.existing(options.project, _name(options)), as_json=options.json)
    return 0


def _remove(options: argparse.Namespace) -> int:
    from wan_pipeline.projects.cut.edits import removed

    with opened_studio(options) as studio:
        cut = studio.cuts.change(options.project, _name(options), lambda cut: removed(cut, options.on - 1))
        _tell(studio, cut, as_json=options.json)
    return 0


def _title(options: argparse.Namespace) -> int:
    from wan_pipeline.projects.cut.cut import Title, TitlePlace
    from wan_pipeline.projects.cut.edits import titled

    words = options.text.strip()
    title = Title(words, options.at, options.frames, TitlePlace(options.place)) if words else None
    with opened_studio(options) as studio:
        cut = studio.cuts.change(options.project, _name(options), lambda cut: titled(cut, options.on - 1, title))
        _tell(studio, cut, as_json=options.json)
    return 0


def _card(options: argparse.Namespace) -> int:
    from wan_pipeline.projects.cut.cut import TitlePlace
    from wan_pipeline.projects.cut.edits import with_card

    def edit(cut: Cut) -> Cut:
        place = len(cut.items) if options.before is None else options.before - 1
        return with_card(cut, place, options.text, options.frames, TitlePlace(options.place))

    with opened_studio(options) as studio:
        cut = studio.cuts.change(options.project, _name(options), edit)
        _tell(studio, cut, as_json=options.json)
    return 0


def _versions(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        if options.save is not None:
            studio.cuts.save_version(options.project, _name(options), options.save)
        versions = studio.cuts.versions(options.project, _name(options))
    if options.json:
        print(json.dumps({"cut": _name(options), "versions": [_told(version.to_dict()) for version in versions]}))
        return 0
    for version in versions:
        clips = len(version.cut.items)
        print(f"{version.number:>3}  {version.at:%Y-%m-%d %H:%M}  {clips:>3} clips  {version.name}")
    return 0


def _told(version: dict[str, Any]) -> dict[str, Any]:
    """A version without its cut."""
    return {**{name: value for name, value in version.items() if name != "cut"}, "clips": len(version["cut"]["items"])}


def _restore(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        cut = studio.cuts.restore(options.project, _name(options), options.version)
        _tell(studio, cut, as_json=options.json)
    return 0


def _relink(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        cut, taken = studio.cuts.relink(options.project, _name(options))
    if options.json:
        print(json.dumps({"cut": cut.name, "relinked": [each.to_dict() for each in taken]}))
        return 0
    for each in taken:
        print(f"{each.place:>3}  {Path(each.clip).name} becomes {Path(each.final).name}")
        if each.note:
            warn(f"The final of number {each.place} differs: {each.note}.")
    if not taken:
        print("No clip of the cut has a final that is not in it.")
    return 0


def _import(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        studio.projects.ensure(options.project)
        incoming = studio.cuts.read(options.project, _name(options), options.file)
        if options.apply:
            studio.cuts.take_over(options.project, incoming)
    for note in incoming.notes:
        warn(note)
    if options.json:
        print(json.dumps({**incoming.to_dict(), "applied": options.apply}))
        return 0
    for change in incoming.changes:
        print(change.sentence)
    if not incoming.changes:
        print("Nothing has changed.")
    elif not options.apply:
        print("Nothing is taken over yet; do so with --apply.")
    return 0


def _export(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.progress_line import ProgressLine  # here: --help needs none of it
    from wan_pipeline.jobs.device import device_without_queue

    order = _order(options)
    with opened_studio(options) as studio, ProgressLine(sys.stderr) as observer:
        device = partial(device_without_queue, studio.settings, observer)
        exported = studio.cuts.export(options.project, options.cut, order, observer, device)
    for warning in exported.warnings:
        warn(warning)
    print(json.dumps(exported.to_dict()) if options.json else exported.path)
    return 0


def _order(options: argparse.Namespace) -> CutOrder:
    """Raises RequestError."""
    from wan_pipeline.projects.cut.orders import PROGRAMS as KNOWN
    from wan_pipeline.projects.cut.orders import CutFormat, CutOrder, Reels

    program = KNOWN[options.program] if options.program else None
    form = program.format if program else CutFormat(options.format)
    media = options.media or (program.media if program else "")
    rate, reels = _rate(options.fps), Reels(options.reel)
    return CutOrder(form, options.output, rate, options.handles, media, options.timecode, reels)


def _tell(studio: Studio, cut: Cut, *, as_json: bool) -> None:
    report = _report(studio, cut)
    if as_json:
        print(json.dumps(report))
        return
    print(f"{cut.name}: {report['frames']} frames at {report['fps'] or 'no rate yet'}")
    for item in report["clips"]:
        more = f"  dissolve of {item['dissolve']}" if item["dissolve"] else ""
        more += f"  title {item['title']['text']!r}" if item["title"] else ""
        place = f"{item['at']:>6}  {item['frames']:>5} frames from {item['first']:>4}"
        print(f"{place}  {Path(item['clip']).name or 'title card'}{more}")
        if item["problem"]:
            warn(item["problem"])


def _report(studio: Studio, cut: Cut) -> dict[str, Any]:
    """`at` is the frame of the cut at which a clip begins to be seen."""
    if not cut.items:
        return {"cut": cut.name, "fps": cut.rate, "frames": 0, "clips": []}
    sequence, titles, clips = studio.cuts.look(cut), [item["title"] for item in cut.to_dict()["items"]], []
    for piece, at, title in zip(sequence.pieces, sequence.starts, titles, strict=True):
        facts = {
            "clip": "" if piece.is_card else str(piece.source.clip),
            "first": piece.first,
            "end": piece.end,
            "frames": piece.frames,
        }
        clips.append({**facts, "at": at, "dissolve": piece.dissolve, "title": title, "problem": piece.problem})
    return {"cut": cut.name, "fps": str(sequence.rate), "frames": sequence.frames, "clips": clips}


def _name(options: argparse.Namespace) -> str:
    return options.cut or "main"


def _rate(text: str | None) -> Fraction | None:
    from wan_pipeline.clips.export.rates import parse_rate

    return parse_rate(text) if text else None
