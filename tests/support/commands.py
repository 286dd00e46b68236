"""The command line as a process of its own, kept inside a temporary folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wan_pipeline.settings import REPOSITORY

MODEL = "wan2.2-ti2v-5b"
"""The tiny model takes the place of this one: any registered model may lie in the models folder."""
QUICK = ["--prompt", "a red ball", "--width", "160", "--height", "128", "--frames", "5", "--steps", "2"]
PATIENCE = 90.0


def make_folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    """Options that keep a command inside `tmp_path`."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / MODEL).symlink_to(tiny_demo, target_is_directory=True)
    (tmp_path / "loras").mkdir()
    options = {"workspace": "workspace", "models-folder": "models", "loras-folder": "loras"}
    return [f"--{name}={tmp_path / folder}" for name, folder in options.items()]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "wan_pipeline", *map(str, arguments)]


def wan(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
