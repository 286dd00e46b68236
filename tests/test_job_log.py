"""Each job's own log: what its threads say, and nothing of its neighbour."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Thread

import pytest

from wan_pipeline.jobs.log import JobLogs

ONE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def logs(tmp_path: Path) -> JobLogs:
    logging.getLogger().setLevel(logging.INFO)
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


def test_a_folder_that_cannot_be_made_costs_the_log_and_not_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file")
    with JobLogs(tmp_path / "logs").attached(ONE):
        say("still here")
    assert "has no log of its own" in caplog.text
    assert "still here" in caplog.text
