"""The command of benchmarks that measure the first page of a room."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ALLOWED_MS = 300


def run(about: str, things: str, count: int, measure: Callable[[Path, int], dict[str, Any]], visit: str) -> None:
    """Measure a room with so many `things` in a temporary folder, print the result and store it where `--output` says.

    Exits with an error if the slowest `visit`, a key of the result, took longer than is allowed.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(f"--{things}", dest="count", type=int, default=count)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        result = measure(Path(folder), options.count)
    text = json.dumps(result, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    if result[visit]["slowest"] > ALLOWED_MS:
        raise SystemExit(f"The first page took longer than {ALLOWED_MS} ms.")
