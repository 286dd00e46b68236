"""The command line: clips without the page. Light to import, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

from wan_pipeline import __version__
from wan_pipeline.cli import (
    clips,
    cluster,
    generate,
    loras,
    models,
    plan,
    projects,
    queue,
    serve,
    share,
    train,
    trainings,
)
from wan_pipeline.cli.common import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NO_READER,
    EXIT_USER_ERROR,
    Parser,
    add_folders,
    complain,
)
from wan_pipeline.cli.film import characters, contact_sheet, finish, prompt, review, shots, take
from wan_pipeline.cli.handover import cut, export, sound, upscale
from wan_pipeline.errors import Cancelled, StudioError, UserError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give the exit status.

    0 done, 1 failed, 2 to be put right by the user, 130 interrupted, 141 no reader: `queue list | head` has enough.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()  # also what --help printed
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        return EXIT_NO_READER


def _run(arguments: list[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name may hold letters outside the terminal's encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    options = argparse.Namespace(stopped="stopped.")
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
    except UserError as error:
        return complain(str(error), EXIT_USER_ERROR)
    except (KeyboardInterrupt, Cancelled):
        return complain(options.stopped, EXIT_INTERRUPTED)
    except StudioError as error:
        return complain(str(error), EXIT_FAILED)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=_prog(), description="Wan Studio: text and images into video.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"Wan Studio {__version__}")
    parser.set_defaults(stopped="stopped.")
    add_folders(parser, with_defaults=True)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for room in (
        serve,
        share,
        generate,
        queue,
        cluster,
        projects,
        characters,
        prompt,
        shots,
        take,
        finish,
        contact_sheet,
        review,
        clips,
        export,
        cut,
        sound,
        upscale,
        models,
        loras,
        plan,
        train,
        trainings,
    ):
        room.add_to(commands)
    return parser


def _prog() -> str:
    """The command as it was called: by the name that pip installs, or as a module."""
    name = Path(sys.argv[0]).stem
    return name if name == "wan-studio" else "python -m wan_pipeline"
