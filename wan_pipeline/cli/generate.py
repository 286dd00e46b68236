"""`generate`: one clip, made in this process."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import (
    Commands,
    add_enhancer,
    add_folders,
    add_latents,
    add_memory,
    add_project,
    add_settings,
    draft,
    opened_studio,
    reporting_new_projects,
    warn,
)

if TYPE_CHECKING:
    from wan_pipeline.jobs.job import Finished
    from wan_pipeline.requests.request import Draft
    from wan_pipeline.studio import Studio

GENERATE = "Make one clip and print its path. Settings left out come from the preset, then from the model."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("generate", help="make one clip", description=GENERATE, allow_abbrev=False)
    add_settings(parser)
    add_project(parser, "what the clip belongs to, whose setup it gets; made if it is new", profile=True)
    add = parser.add_argument
    add("--output", type=Path, metavar="FILE.mp4", help="where to put the clip (the workspace's clips folder)")
    add("--strip-metadata", action="store_true", help="no receipt in the MP4, to give it away; one is saved beside it")
    deterministic = "compute with deterministic algorithms only; may be slower"
    add("--deterministic", "--strict", action="store_true", help=deterministic)
    add("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add("--enhance", action="store_true", help="make the prompt richer first, as `prompt enhance` does")
    add_enhancer(parser)
    add_latents(parser)
    add_memory(parser)
    add_folders(parser)
    parser.set_defaults(run=run, stopped="stopped; no clip was written.")


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.progress_line import ProgressLine  # here: --help needs none of it

    started = time.monotonic()
    with (
        opened_studio(options) as studio,
        reporting_new_projects(studio, [options.project]),
        ProgressLine(sys.stderr) as observer,
    ):
        given = draft(options)
        wanted = _enhanced(studio, given, options) if options.enhance else given
        finished = studio.in_process.render(
            wanted,
            options.output,
            observer,
            strip_metadata=options.strip_metadata,
            deterministic=options.deterministic,
            project=options.project,
            profile=options.profile,
        )
    seconds = time.monotonic() - started
    for warning in finished.warnings:
        warn(warning)
    report = _report(finished, seconds) | ({"enhanced_from": given.prompt} if options.enhance else {})
    print(json.dumps(report) if options.json else finished.clip)
    return 0


def _enhanced(studio: Studio, given: Draft, options: argparse.Namespace) -> Draft:
    """The draft with a richer prompt, and with the seed that it was written by."""
    from wan_pipeline.models.spec import Mode  # here and below: --help needs none of it
    from wan_pipeline.requests.resolve import seed_of

    resolver = studio.requests.within(studio.projects.layers(options.project, options.profile))
    mode, seed = Mode.IMAGE_TO_VIDEO if given.image else Mode.TEXT_TO_VIDEO, seed_of(given)
    enhanced = studio.enhancer.enhance(given.prompt, studio.models.spec(resolver.model_of(given)), mode, seed)
    print(f"note: the prompt, by {enhanced.by}: {enhanced.prompt}", file=sys.stderr)
    return replace(given, prompt=enhanced.prompt, seed=seed)


def _report(finished: Finished, seconds: float) -> dict[str, object]:
    request = finished.request
    return {
        "clip": str(finished.clip.resolve()),
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "frames": request.num_frames,
        "fps": request.fps,
        "seconds": round(seconds, 3),
        "frames_sha256": finished.frames_sha256,
        "request": request.to_dict(),
        "warnings": list(finished.warnings),
        "loras": [asdict(lora) for lora in finished.loras],
    }
