"""The programs of docs/api.md run as they stand there, against a running server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import Served
from tests.support.commands import python
from tests.support.studios import wait_for
from wan_pipeline.access.roles import Role
from wan_pipeline.settings import REPOSITORY

BLOCKS = re.findall(
    r"```(python|bash)\n(.*?)```", (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL
)
SMALL = (
    ('seconds="2"', 'seconds="0.25"'),
    ("seconds=1", "seconds=0.25, steps=2"),
    ('size="320x192"', 'size="160x160"'),
    ("sleep(2)", "sleep(0.2)"),
)


@pytest.mark.soak
@pytest.mark.parametrize("block", [text for kind, text in BLOCKS if kind == "python" and "Settings()" not in text])
def test_a_program_of_the_docs(served: Served, block: str, tmp_path: Path) -> None:
    key = served.key(Role.MAKE)
    for old, new in (("http://127.0.0.1:7860", served.address), ("Bearer KEY", f"Bearer {key}"), *SMALL):
        block = block.replace(old, new)
    assert len(block.strip().splitlines()) <= 10
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", block], cwd=tmp_path, env=environment, check=True, timeout=200)
    (job,) = served.studio.jobs.recent()
    wait_for(lambda: served.studio.jobs.existing(job.id).clip, "the clip")


@pytest.mark.soak
def test_the_studio_in_python(tmp_path: Path) -> None:
    (block,) = [text for _, text in BLOCKS if "Settings()" in text]
    block = "from pathlib import Path\n" + block.replace(
        "Settings()", f"Settings(workspace=Path({str(tmp_path / 'own')!r}))"
    )
    block = block.replace("seed=7", "seed=7, width=160, height=160, num_frames=5")
    ran = python(block)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_file()


def test_the_command_of_the_docs(served: Served) -> None:
    (block,) = [text for kind, text in BLOCKS if kind == "bash"]
    command = block.replace("http://127.0.0.1:7860", served.address)
    ran = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    assert '"status":"queued"' in ran.stdout
