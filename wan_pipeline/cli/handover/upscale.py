"""`upscale` and `interpolate`: larger frames, and more of them."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from wan_pipeline.cli.common import Commands, add_folders, opened_studio, warn

UPSCALE = "Write a clip with larger frames, by the small network that comes with the studio, or those of files."
INTERPOLATE = "Write a clip with more frames a second, by ffmpeg's motion compensation, or the network of a file."
MODELS = {
    "upscale": "a .safetensors file in models/upscalers, without ending, or SeedVR2's folder (realesr-animevideov3)",
    "interpolate": "a .safetensors file of RIFE in models/interpolators, without its ending (ffmpeg minterpolate)",
}


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    for name, text, factors in (("upscale", UPSCALE, (2, 3, 4)), ("interpolate", INTERPOLATE, (2, 4))):
        parser = commands.add_parser(name, help=text.partition(",")[0].lower(), description=text, allow_abbrev=False)
        parser.add_argument("clip", metavar="CLIP", help="an MP4, or the id of a clip of the gallery")
        parser.add_argument("--factor", type=int, default=2, choices=factors, help="how many times (2)")
        parser.add_argument("--output", type=Path, required=True, metavar="OUT.mp4", help="the file to write")
        parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
        parser.add_argument("--model", default="", metavar="NAME", help=MODELS[name])
        add_folders(parser)
        parser.set_defaults(run=run, stopped="stopped; nothing was written.")


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.progress_line import ProgressLine  # here: --help needs none of it
    from wan_pipeline.jobs.device import device_without_queue
    from wan_pipeline.jobs.handover.enlarge import interpolate, upscale

    with opened_studio(options) as studio, ProgressLine(sys.stderr) as observer:
        clip = studio.exports.find(options.clip)
        device = partial(device_without_queue, studio.settings, observer)
        make = upscale if options.command == "upscale" else interpolate
        finished = make(clip, options.factor, options.output, studio.settings, observer, options.model, device)
    for warning in finished.warnings:
        warn(warning)
    print(json.dumps(finished.to_dict()) if options.json else finished.path)
    return 0
