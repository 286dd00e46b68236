"""`take`: another take of a shot or of a clip, queued."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_folders, add_project, add_settings, draft, opened_studio, warn
from wan_pipeline.errors import UserError

if TYPE_CHECKING:
    from wan_pipeline.clips.gallery import Clip
    from wan_pipeline.projects.shots.shot import Shot
    from wan_pipeline.projects.shots.takes import Prepared
    from wan_pipeline.studio import Studio

TAKE = (
    "Queue a new take and print its job id: of a shot by its settings and its project's draft profile, or of a clip by "
    "the clip's own settings. It has another seed, unless one is given; other options change one setting each."
)


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("take", help="make another take", description=TAKE, allow_abbrev=False)
    parser.add_argument("of", metavar="SHOT|CLIP", help="a shot's id, such as 010 or SCENE/010, or a clip or its id")
    add_settings(parser)
    add_project(parser, "the project of the shot (the default project)")
    profile = "by this profile of the project; none: by neither (draft, if the project has that profile)"
    parser.add_argument("--profile", choices=("draft", "final", "none"), help=profile)
    deterministic = "compute with deterministic algorithms only; may be slower"
    parser.add_argument("--deterministic", "--strict", action="store_true", help=deterministic)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_folders(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        prepared = _prepare(studio, options)
        (job_id,) = studio.takes.queue(prepared)
        for note in prepared.requests[0].notes:
            warn(note)
        print(json.dumps(report(studio, job_id)) if options.json else job_id)
    return 0


def _prepare(studio: Studio, options: argparse.Namespace) -> Prepared:
    label = studio.projects.label(options.project)
    shot = studio.shots.find(options.of, label)
    if shot is not None:
        profile = "" if options.profile == "none" else options.profile
        return studio.takes.of_shots([shot], draft(options), profile, options.deterministic)
    if options.profile:
        raise UserError("--profile goes with a shot; a clip is made again by its own settings, or by `finish`.")
    return studio.takes.again(find_clip(studio, options.of, label), draft(options), options.deterministic)


def find_clip(studio: Studio, text: str, label: str) -> Clip:
    """The clip of that path or beginning of an id. Raises UserError."""
    path = Path(text)
    if path.suffix.lower() == ".mp4" or path.is_file():
        return _clip_at(studio, path)
    if (found := studio.gallery.find(text)) is not None:
        return found
    shots = studio.shots.all(label)
    known = f"the shots are: {', '.join(shot.address for shot in shots[:10])}" if shots else "it has no shots yet"
    raise UserError(
        f"'{text[:60]}' is no shot of the project '{label or 'default'}' and no clip; {known}. "
        "Name a shot, a clip's file, or the beginning of its id."
    )


def _clip_at(studio: Studio, path: Path) -> Clip:
    try:
        return studio.gallery.at(path)
    except UserError:
        studio.gallery.rescan()  # `generate` may have made it since
        return studio.gallery.at(path)


def report(studio: Studio, job_id: str) -> dict[str, Any]:
    """A queued take as JSON."""
    job, shot = studio.jobs.existing(job_id), studio.shots.of_take(job_id)
    return {
        "id": job.id,
        "state": job.state,
        "project": job.project,
        **_shot(shot, job_id),
        "seed": job.request.seed,
        "request": job.request.to_dict(),
    }


def _shot(shot: Shot | None, job_id: str) -> dict[str, Any]:
    if shot is None:
        return {"scene": None, "shot": None, "take": None, "final_of": None}
    take = next(take for take in shot.takes if take.id == job_id)
    return {"scene": shot.scene, "shot": shot.shot, "take": take.number, "final_of": take.final_of or None}
