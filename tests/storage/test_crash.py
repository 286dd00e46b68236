"""A crash point kills the process at the point and count that are asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from wan_pipeline.settings import REPOSITORY
from wan_pipeline.storage.crash import VARIABLE, CrashPoint, crash_point

FOUR_TIMES = """
from wan_pipeline.storage.crash import CrashPoint, crash_point
for turn in range(4):
    print(turn, flush=True)
    crash_point(CrashPoint.CLAIMED)
"""


@pytest.mark.parametrize(("wanted", "turns"), [("claimed", 1), ("claimed:3", 3), ("claimed:9", 4), ("finished", 4)])
def test_the_process_ends_the_time_that_is_named(wanted: str, turns: int) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FOUR_TIMES],
        cwd=REPOSITORY,
        env={**os.environ, VARIABLE: wanted},
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(process.stdout.split()) == turns
    if turns < 4:
        assert process.returncode == (-signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        assert process.stderr == "crash point claimed\n"


def test_without_the_variable_nothing_happens() -> None:
    assert VARIABLE not in os.environ
    for point in CrashPoint:
        crash_point(point)
