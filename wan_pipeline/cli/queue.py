"""`queue`: clips that are made one after another, unattended."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import (
    Commands,
    add_action,
    add_devices,
    add_folders,
    add_memory,
    add_project,
    add_settings,
    draft,
    opened_studio,
    reporting_new_projects,
    warn,
)
from wan_pipeline.errors import UserError
from wan_pipeline.requests.options import path as options_path

if TYPE_CHECKING:
    from wan_pipeline.jobs.job import Job
    from wan_pipeline.studio import Studio

ALL = 10**9
QUEUE = "Clips that are made one after another, unattended."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("queue", help="work with the queue", description=QUEUE, allow_abbrev=False)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    _add_add(actions)
    _add_list(actions)
    work = add_action(actions, "work", _work, "make the clips that wait, until there are none")
    add_memory(work)
    add_devices(work)
    work.set_defaults(stopped="stopped; the clip that was being made waits again.")
    pause = add_action(actions, "pause", _pause, "start no further clip; the one that is being made goes on")
    pause.add_argument("--after-current", action="store_true", help="only when the clip that is being made is done")
    add_action(actions, "resume", _resume, "go on after a pause")
    _add_ids(add_action(actions, "retry", _retry, "queue failed clips again"), "*", "all that failed")
    _add_cancel(actions)
    clear = add_action(actions, "clear", _clear, "take finished jobs off the list; their clips stay")
    clear.add_argument("--project", metavar="NAME", help="only those of a project")
    export = add_action(actions, "export", _export, "write all that waits to a file that `add --file` reads")
    export.add_argument("--project", metavar="NAME", help="only those of a project")
    export.add_argument("output", type=Path, metavar="FILE", help="a .jsonl file; a .zip if there are input images")
    add_action(actions, "template", _template, "print a CSV file to fill in for `add --file`")


def _add_add(actions: Commands[argparse.ArgumentParser]) -> None:
    parser = add_action(actions, "add", _add, "put clips at the end of the queue and print their job ids, one a line")
    add_settings(parser)
    add_project(parser, "what the clips belong to, whose setup they get; made if it is new", profile=True)
    parser.add_argument(
        "--file", type=options_path, metavar="FILE", help="a CSV, Excel, JSON or exported ZIP file, one clip a row"
    )
    deterministic = "compute with deterministic algorithms only; may be slower"
    parser.add_argument("--deterministic", "--strict", action="store_true", help=deterministic)
    parser.add_argument("--skip-bad", action="store_true", help="queue the good rows of the file if some are bad")
    grid = "every combination: guidance=3,4,5 or lora:anna=0.6,0.8,1; repeatable; {red|blue} in the prompt is one too"
    parser.add_argument("--grid", action="append", default=[], metavar="NAME=VALUES", help=grid)
    parser.add_argument(
        "--shot", default="", metavar="SHOT", help="a shot of the project, which the clips are takes of"
    )
    parser.add_argument("--dry-run", action="store_true", help="print how many, how long and how large; queue nothing")
    text = "print one JSON object a job instead; of a grid, and of a dry run, one in all as the last line"
    parser.add_argument("--json", action="store_true", help=text)


def _add_list(actions: Commands[argparse.ArgumentParser]) -> None:
    parser = add_action(actions, "list", _list, "show the jobs: those at work, those that wait, then the finished")
    parser.add_argument("--project", metavar="NAME", help="only those of a project")
    parser.add_argument("--json", action="store_true", help="print one JSON object a job, one a line")


def _add_cancel(actions: Commands[argparse.ArgumentParser]) -> None:
    parser = add_action(actions, "cancel", _cancel, "take clips out of the queue, or stop them")
    _add_ids(parser, "*", "")
    parser.add_argument("--project", metavar="NAME", help="all of a project that run, wait or are held")
    parser.add_argument("--all", action="store_true", help="all that run, wait or are held")


def _add_ids(parser: argparse.ArgumentParser, count: str, default: str) -> None:
    text = "a job's id, or its first characters"
    parser.add_argument("ids", nargs=count, metavar="ID", help=f"{text} ({default})" if default else text)


def _add(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.film.grid import add_grid, is_grid  # here: --help needs none of it
    from wan_pipeline.requests.request import Draft

    with opened_studio(options) as studio:
        if options.file is None and is_grid(options):
            return add_grid(studio, options)
        if options.grid or options.shot or options.dry_run:
            raise UserError("--grid, --shot and --dry-run do not go with --file; its rows name shots by themselves.")
        if options.file is None:
            clip, project = draft(options), options.project
            with reporting_new_projects(studio, [project]):
                ids = [studio.submit(clip, project, deterministic=options.deterministic, profile=options.profile)]
            for note in _job(studio, ids[0]).request.notes:
                warn(note)
        elif draft(options) != Draft():
            raise UserError("Options for one clip do not go with --file; write them into its columns.")
        else:
            ids = _add_file(studio, options)
        for job_id in ids:
            print(json.dumps(_report(_job(studio, job_id))) if options.json else job_id)
    return 0


def _add_file(studio: Studio, options: argparse.Namespace) -> list[str]:
    names = {"project": options.project, "profile": options.profile}
    with studio.lists.read(options.file, own_disk=True, **names) as content:
        for problem in (*content.warnings, *content.problems):
            warn(problem)
        content.check(options.skip_bad)
        with reporting_new_projects(studio, (row.project or options.project for row in content.rows)):
            return studio.lists.submit(
                content,
                skip_bad=options.skip_bad,
                **names,
                deterministic=options.deterministic,
            )


def _list(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        for job in studio.jobs.jobs(limit=ALL, project=_label(studio, options)):
            print(json.dumps(_report(job)) if options.json else _line(job))
        _warn_if_paused(studio)
    return 0


def _work(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        seen = {job.id: job.state for job in studio.jobs.jobs(limit=ALL)}

        waits = False

        def tell() -> None:
            nonlocal waits
            before, waits = waits, studio.jobs.queue_state().no_room is not None
            if waits and not before:
                _warn_if_paused(studio)
            for job in studio.jobs.jobs(limit=ALL):
                if seen.get(job.id) is not job.state:
                    seen[job.id] = job.state
                    print(_line(job), flush=True)

        studio.work(tell)
        tell()
        for work in studio.clip_works.run_all():
            print(work.file or f"error: {work.error}", flush=True)
        _warn_if_paused(studio)
    return 0


def _warn_if_paused(studio: Studio) -> None:
    state = studio.jobs.queue_state()
    if state.no_room is not None:
        warn(f"The queue waits for room. {state.no_room.reason} It goes on by itself; `queue resume` tries at once.")
    elif state.paused:
        warn("The queue is paused; `queue resume` lets it go on.")


def _pause(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        if options.after_current:
            studio.queue.stop_after_current()
        else:
            studio.queue.pause_queue()
    return 0


def _resume(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        studio.queue.resume_queue()
    return 0


def _retry(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        if options.ids:
            count = sum(studio.queue.retry(studio.jobs.find(text)) for text in options.ids)
        else:
            count = studio.queue.retry_failed()
    print(count)
    return 0


def _cancel(options: argparse.Namespace) -> int:
    if sum((bool(options.ids), options.project is not None, options.all)) != 1:
        raise UserError("One of these is required: ID, --project NAME or --all; see queue cancel --help.")
    with opened_studio(options) as studio:
        if options.ids:
            for job_id in [studio.jobs.find(text) for text in options.ids]:
                studio.queue.cancel(job_id)
        else:
            print(studio.queue.cancel_all(_label(studio, options)))
    return 0


def _clear(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        print(studio.queue.clear_finished(_label(studio, options)))
    return 0


def _export(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        print(studio.lists.export(options.output, _label(studio, options)))
    return 0


def _template(options: argparse.Namespace) -> int:
    from wan_pipeline.requests.lists.files import CSV_TEMPLATE

    sys.stdout.write(CSV_TEMPLATE)
    return 0


def _label(studio: Studio, options: argparse.Namespace) -> str | None:
    """What the jobs of the project asked for hold of it; None for all jobs."""
    return None if options.project is None else studio.projects.label(options.project)


def _job(studio: Studio, job_id: str) -> Job:
    job = studio.jobs.job(job_id)
    if job is None:
        raise UserError(f"There is no job {job_id[:8]}; choose one of `queue list`.")
    return job


def _report(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state,
        "attempts": job.attempts,
        "clip": str(job.clip.resolve()) if job.clip else None,
        "frames_sha256": job.frames_sha256,
        "error": job.error or job.request_error,
        "project": job.project,
        "plan": job.plan,
        "plan_steps_down": job.plan_steps_down,
        "resumed_from": job.resumed_from,
        "request": job.request.to_dict(),
    }


def _line(job: Job) -> str:
    """For a person: `1f0c9a2e  done         hills         a red ball bounces  clips/….mp4`."""
    end = job.error or job.request_error or (str(job.clip) if job.clip else "")
    prompt = " ".join(job.request.prompt.split())[:60]
    return f"{job.id[:8]}  {job.state:<11}  {job.project or '-':<12}  {prompt}  {end}".rstrip()
