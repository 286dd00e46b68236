"""`sound`: sound under a clip."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wan_pipeline.cli.common import Commands, add_folders, opened_studio
from wan_pipeline.requests import options as words

SOUND = "Put sound under clips. The old clip stays; the new one has the same frames."
ADD = "Make a new clip with the sound of a file, cut to the picture's length, and print its path."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("sound", help="put sound under clips", description=SOUND, allow_abbrev=False)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    add = actions.add_parser("add", help="put a file's sound under a clip", description=ADD, allow_abbrev=False)
    add.add_argument("clip", metavar="CLIP", help="an MP4, or the id of a clip of the gallery")
    add.add_argument("file", type=words.path, metavar="FILE", help="a WAV, FLAC, MP3 or M4A file")
    add.add_argument("--gain", type=float, default=0.0, metavar="DB", help="louder by so many decibels (0)")
    at = "seconds of the clip at which it begins; if negative, so much of the file is left out (0)"
    add.add_argument("--at", type=float, default=0.0, metavar="S", help=at)
    lufs = "bring it to this loudness by EBU R128, such as -16 for the web or -23 for television"
    add.add_argument("--loudness", type=float, metavar="LUFS", help=lufs)
    output = "where to put the new clip (beside the old one)"
    add.add_argument("--output", type=Path, metavar="FILE.mp4", help=output)
    add.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add.set_defaults(run=_add)
    add_folders(add)


def _add(options: argparse.Namespace) -> int:
    from wan_pipeline.clips.receipt import load_receipt  # here: --help needs none of it
    from wan_pipeline.clips.sound import SoundOrder, add_sound, loudness

    order = SoundOrder(options.file, options.gain, options.at, options.loudness)
    with opened_studio(options) as studio:
        clip = add_sound(studio.exports.find(options.clip), order, options.output)
        studio.gallery.rescan()
    sound = load_receipt(clip).sound
    report = {
        "clip": str(clip.resolve()),
        "sound_sha256": sound.sha256 if sound else None,
        "lufs": loudness(clip),
    }
    print(json.dumps(report) if options.json else clip)
    return 0
