"""Wan Studio's page. `python app.py` serves it on this computer, at http://127.0.0.1:7860 if that is free."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.planning.machine import parse_gib
from wan_pipeline.planning.memory_plan import parse_plan_setting
from wan_pipeline.settings import Settings

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported


def main(arguments: list[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    try:
        options = parse(arguments)
        serve(settings(options), options.host, options.port, options.share)
    except (UserError, OSError) as error:  # a bad option, preset file or workspace, a port in use
        raise SystemExit(f"Wan Studio cannot start: {error}") from error
    except KeyboardInterrupt:  # Ctrl+C before Gradio's own handling of it is in place
        raise SystemExit(130) from None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="app.py", description="Wan Studio: text and images into video.")
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")  # Hugging Face Spaces sets it
    parser.add_argument("--host", default=host, help="address to listen on (this computer only by default)")
    parser.add_argument("--port", type=int, help="port to listen on (the first free one from 7860 by default)")
    parser.add_argument("--share", action="store_true", help="also give a public address, through Gradio's servers")
    parser.add_argument("--workspace", type=Path, default=Settings.workspace, help="folder for clips and jobs")
    limit = "of the device's memory, such as 8GB (all that is free)"
    parser.add_argument("--memory-limit", type=parse_gib, default=0.0, metavar="SIZE", help=limit)
    plan = "how clips use memory: resident, offload, streamed, or a whole plan's text (the quickest that fits)"
    parser.add_argument("--plan", type=parse_plan_setting, metavar="TEXT", help=plan)
    parser.add_argument("--compiled", action="store_true", help="compile models: slow to start, then quicker steps")
    return parser.parse_args(arguments)


def settings(options: argparse.Namespace) -> Settings:
    return Settings(
        workspace=options.workspace.absolute(),
        memory_limit=options.memory_limit,
        plan=options.plan or "",
        compiled=options.compiled,
    )


def serve(settings: Settings, host: str, port: int | None, share: bool) -> None:
    """Serve the page until it is stopped. Raises UserError or OSError when it cannot begin."""
    from wan_pipeline.studio import Studio
    from wan_pipeline.ui.address import check_address
    from wan_pipeline.ui.page import build_ui
    from wan_pipeline.ui.theme import launch_options

    check_address(host, port)
    with Studio(settings) as studio:
        studio.start()
        build_ui(studio).launch(server_name=host, server_port=port, share=share, **launch_options(studio))


if __name__ == "__main__":
    main()
