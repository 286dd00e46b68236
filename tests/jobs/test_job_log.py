"""Each job's own log: what its threads say, and nothing of its neighbour."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.settings import REPOSITORY

ONE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> JobLogs:
    caplog.set_level(logging.INFO)
    return JobLogs(tmp_path / "logs" / "jobs")


def say(words: str) -> None:
    logging.getLogger("test").info(words)


def test_two_jobs_at_once_keep_their_words_apart(logs: JobLogs) -> None:
    """One is saved while the other is made; progress has a thread that bears the job's name."""

    def save() -> None:
        with logs.attached(OTHER):
            say("other is saved")

    with logs.attached(ONE):
        say("one is made")
        for thread in (Thread(target=save), Thread(target=say, args=["progress"], name=f"progress-{ONE[:8]}")):
            thread.start()
            thread.join()
    say("nobody's")
    assert [line.rsplit(": ")[-1] for line in logs.excerpt(ONE).splitlines()] == ["one is made", "progress"]
    assert logs.excerpt(OTHER).endswith("INFO test: other is saved")
    assert len(logs.excerpt(OTHER).splitlines()) == 1


def test_tracebacks_are_kept_and_the_excerpt_is_the_end(logs: JobLogs) -> None:
    with logs.attached(ONE):
        for number in range(2000):
            say(f"step {number}")
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("test").exception("It failed")
    lines = logs.excerpt(ONE, lines=10).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_line_by_somebody_else_and_the_end_of_a_log(logs: JobLogs) -> None:
    with logs.attached(ONE):
        say("attempt 1")
    logs.add(ONE, "The worker died here.")
    assert logs.excerpt(ONE).endswith("The worker died here.")
    logs.remove(ONE)
    logs.remove(ONE)
    assert logs.excerpt(ONE) == ""


CRASH = """
import faulthandler, sys
from pathlib import Path
from wan_pipeline.jobs.log import JobLogs, native_crashes_logged
def multiply_int8():
    faulthandler._sigsegv()
faulthandler.enable()
with JobLogs(Path(sys.argv[1])).attached("1" * 32) as log, native_crashes_logged(log):
    multiply_int8()
"""


def test_a_crash_of_native_code_is_in_the_log_of_its_job(tmp_path: Path) -> None:
    """Nothing of Python runs any more then, so no handler of ours could write it down."""
    process = subprocess.run([sys.executable, "-c", CRASH, tmp_path], cwd=REPOSITORY, check=False, capture_output=True)
    assert process.returncode != 0
    excerpt = JobLogs(tmp_path).excerpt(ONE)
    assert "multiply_int8" in excerpt, process.stderr


def test_a_folder_that_cannot_be_made_costs_the_log_and_not_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "logs").write_text("a file")
    with JobLogs(tmp_path / "logs").attached(ONE):
        say("still here")
    assert "has no log of its own" in caplog.text
    assert "still here" in caplog.text
