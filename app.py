"""Wan Studio's page. `python app.py` serves it on this computer, at http://127.0.0.1:7860 if that is free."""

from __future__ import annotations

import argparse
import os

if os.environ.get("SPACES_ZERO_GPU"):  # a Space on ZeroGPU: this goes before anything that imports torch or Gradio
    import spaces  # noqa: F401

from wan_pipeline.cli.common import add_devices, add_folders, add_memory
from wan_pipeline.cli.serve import add_address, run
from wan_pipeline.errors import UserError


def main(arguments: list[str] | None = None) -> None:
    try:
        run(parse(arguments))
    except UserError as error:  # a bad option, preset file or workspace, a port in use
        raise SystemExit(f"Wan Studio cannot start: {error}") from error
    except KeyboardInterrupt:  # Ctrl+C before Gradio's own handling of it is in place
        raise SystemExit(130) from None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of `wan-studio serve`."""
    parser = argparse.ArgumentParser(prog="app.py", description="Wan Studio: text and images into video.")
    add_address(parser)
    add_memory(parser)
    add_devices(parser)
    add_folders(parser, with_defaults=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
