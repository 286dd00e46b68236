"""`sound`: sound under a clip, from a file or made by a model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import Commands, add_folders, add_memory, opened_studio
from wan_pipeline.requests import options as words

if TYPE_CHECKING:
    from wan_pipeline.clips.sound.add import SoundOrder

SOUND = "Put sound under clips. The old clip stays; the new one has the same frames."
ADD = "Make a new clip with the sound of a file, cut to the picture's length, and print its path."
MAKE = "Make a sound from a text by a model for sound, and a new clip that has it; print its path."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("sound", help="put sound under clips", description=SOUND, allow_abbrev=False)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    add = actions.add_parser("add", help="put a file's sound under a clip", description=ADD, allow_abbrev=False)
    add.add_argument("clip", metavar="CLIP", help="an MP4, or the id of a clip of the gallery")
    add.add_argument("file", type=words.path, metavar="FILE", help="a WAV, FLAC, MP3 or M4A file")
    _add_place(add)
    add.set_defaults(run=_add)
    make = actions.add_parser("make", help="make a clip's sound from a text", description=MAKE, allow_abbrev=False)
    make.add_argument("clip", metavar="CLIP", help="an MP4, or the id of a clip of the gallery")
    make.add_argument("--prompt", help="what is heard (proposed from the clip's prompt, for all but speech)")
    make.add_argument("--model", default="", metavar="ID", help="a model for sound (the first one that is here)")
    make.add_argument("--seconds", type=float, metavar="S", help="length of the sound (the clip's)")
    make.add_argument("--seed", type=int, help="the same seed gives the same sound (random)")
    _add_place(make)
    add_memory(make, limit_only=True)
    make.set_defaults(run=_make, stopped="stopped; no clip was made.")


def _add_place(parser: argparse.ArgumentParser) -> None:
    """How a sound lies under the pictures."""
    add = parser.add_argument
    add("--gain", type=float, default=0.0, metavar="DB", help="louder by so many decibels (0)")
    at = "seconds of the clip at which it begins; if negative, so much of the sound is left out (0)"
    add("--at", type=float, default=0.0, metavar="S", help=at)
    add("--fade-in", type=float, default=0.0, metavar="S", help="seconds in which it becomes audible (0)")
    add("--fade-out", type=float, default=0.0, metavar="S", help="seconds in which it ends (0)")
    lufs = "bring the whole to this loudness by EBU R128, such as -16 for the web or -23 for television"
    add("--loudness", type=float, metavar="LUFS", help=lufs)
    duck = "a second sound, such as a voice, mixed with it: the first is lowered while that is heard"
    add("--duck", type=words.path, metavar="FILE", help=duck)
    add("--output", type=Path, metavar="FILE.mp4", help="where to put the new clip (beside the old one)")
    add("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_folders(parser)


def _order(options: argparse.Namespace, file: Path) -> SoundOrder:
    from wan_pipeline.clips.sound.add import SoundOrder  # here and below: --help needs none of it

    fades = options.fade_in, options.fade_out
    return SoundOrder(file, options.gain, options.at, options.loudness, *fades, options.duck)


def _add(options: argparse.Namespace) -> int:
    from wan_pipeline.clips.receipt import load_receipt
    from wan_pipeline.clips.sound.add import add_sound, name_with_sound

    order = _order(options, options.file)
    with opened_studio(options) as studio:
        source = studio.exports.find(options.clip)
        clip = add_sound(source, order, options.output or name_with_sound(source, studio.settings.clips))
        studio.gallery.rescan()
    sound = load_receipt(clip).sound
    report = {
        "clip": str(clip.resolve()),
        "sound_sha256": sound.sha256 if sound else None,
        "lufs": sound.measured_lufs if sound else None,
    }
    print(json.dumps(report) if options.json else clip)
    return 0


def _make(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.progress_line import ProgressLine
    from wan_pipeline.clips.receipt import load_receipt
    from wan_pipeline.jobs.handover.sound import SoundDraft, make_now
    from wan_pipeline.requests.sound import propose_prompt

    place = _order(options, Path())
    with opened_studio(options) as studio, ProgressLine(sys.stderr) as observer:
        clip, prompt = studio.exports.find(options.clip), options.prompt
        if prompt is None:
            spec = studio.models.find_sound(options.model).spec
            prompt = propose_prompt(spec, load_receipt(clip).request.prompt)
        draft = SoundDraft(prompt, options.model, options.seconds, options.seed)
        made = make_now(clip, draft, studio.settings, observer, place, options.output)
        studio.gallery.rescan()
    print(json.dumps(made.to_dict()) if options.json else made.path)
    return 0
