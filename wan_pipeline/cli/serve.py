"""`serve`: the page in a browser."""

from __future__ import annotations

import argparse
import os
import sys

from wan_pipeline.cli.common import (
    Commands,
    add_devices,
    add_enhancer,
    add_folders,
    add_latents,
    add_memory,
    settings,
)
from wan_pipeline.errors import UserError
from wan_pipeline.settings import is_on_space

PASSWORD_VARIABLE = "WAN_STUDIO_PASSWORD"  # noqa: S105 (its name)
SERVE = "Serve the page until Ctrl+C. Clips that are being made or wait go on without it."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="open the page", description=SERVE, allow_abbrev=False)
    add_address(parser)
    add_latents(parser)
    add_devices(parser)
    add_enhancer(parser)
    add_memory(parser)
    add_folders(parser)
    parser.set_defaults(run=run)


def add_address(parser: argparse.ArgumentParser) -> None:
    """Where the page is served. Hugging Face Spaces names the host in the environment."""
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if is_on_space() else "127.0.0.1")  # noqa: S104
    parser.add_argument("--host", default=host, help="address to listen on (this computer only by default)")
    parser.add_argument("--port", type=int, help="port to listen on (the first free one from 7860 by default)")
    text = f"for you from other computers: asked for here, or taken from {PASSWORD_VARIABLE}"
    parser.add_argument("--password", action="store_true", help=text)
    parser.add_argument("--share", action="store_true", help="also give a public address, through Gradio's servers")
    name = "another name of this computer that the page answers to, such as studio.lan; repeatable"
    parser.add_argument("--host-name", action="append", default=[], metavar="NAME", help=name)


def _password() -> str:
    """Never an argument: those are seen by every program of the computer."""
    from getpass import getpass  # here: --help needs none of it

    return os.environ.pop(PASSWORD_VARIABLE, "") or getpass("Password for the page: ")


def _tell(link: str) -> None:
    """On the terminal and in no log: the link lets its holder in."""
    print(link, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.api.serve import serve  # here: --help needs none of it

    try:
        serve(
            settings(options),
            options.host,
            options.port,
            _tell,
            share=options.share,
            host_names=options.host_name,
            password=_password() if options.password else None,
        )
    except OSError as error:
        raise UserError(f"The page cannot be served: {error}") from error
    return 0
