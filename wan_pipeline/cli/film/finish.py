"""`finish`: picked drafts made again by their project's final profile."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import Commands, add_folders, opened_studio, warn
from wan_pipeline.cli.film.take import find_clip, report
from wan_pipeline.errors import UserError
from wan_pipeline.wording import data_size

if TYPE_CHECKING:
    from wan_pipeline.clips.gallery import Clip
    from wan_pipeline.studio import Studio

FINISH = (
    "Queue finals of clips and print their job ids: by their project's final profile, with the same seed, prompt, "
    "LoRAs and pictures."
)


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("finish", help="make finals of picked drafts", description=FINISH, allow_abbrev=False)
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="a clip's file, or the beginning of its id")
    parser.add_argument("--project", default="", metavar="NAME", help="the project of --picked (the default project)")
    parser.add_argument("--picked", action="store_true", help="all picked takes of the project that have no final yet")
    keep = (
        "make the first steps at the draft's size where the final has another, so that its layout is nearly the draft's"
    )
    parser.add_argument("--keep-layout", action="store_true", help=keep)
    parser.add_argument("--dry-run", action="store_true", help="print how many and how long; queue nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_folders(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.clips.naming import clip_bytes
    from wan_pipeline.projects.shots.finals import composition_note

    if bool(options.clips) == options.picked:
        raise UserError("One of these is required: CLIP, or --picked with --project NAME; see finish --help.")
    with opened_studio(options) as studio:
        clips = _clips(studio, options)
        prepared = studio.finals.of(clips, keep_layout=options.keep_layout)
        most = sum(map(clip_bytes, prepared.requests))
        found = studio.estimates.of_requests(prepared.requests)
        then = studio.clip_works.told(job for _, job in prepared.clips)
        print(f"note: {found.text}, at most {data_size(most)} on the disk{then}.", file=sys.stderr)
        pairs = zip(clips, prepared.requests, strict=True)
        composition = filter(None, (composition_note(clip.request, final) for clip, final in pairs))
        for note in dict.fromkeys((*prepared.notes, *composition)):
            warn(note)
        ids = [] if options.dry_run else studio.takes.queue(prepared)
        if options.json:
            finals = [{**report(studio, job), "draft": clip.id} for job, clip in zip(ids, clips, strict=False)]
            minutes = round(found.seconds / 60, 2)
            print(json.dumps({"count": len(clips), "minutes": minutes, "bytes": most, "finals": finals}))
        elif ids:
            print("\n".join(ids))
    return 0


def _clips(studio: Studio, options: argparse.Namespace) -> list[Clip]:
    label = studio.projects.label(options.project)
    if not options.picked:
        return [find_clip(studio, text, label) for text in options.clips]
    if not (clips := studio.finals.picked(label)):
        raise UserError(
            f"The project '{label or 'default'}' has no picked take without a final; pick takes by `shots pick` first."
        )
    return clips
