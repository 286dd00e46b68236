"""Locks of a workspace: who is there, and who was."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.storage.locks import WorkspaceLocks


def test_locks_of_dead_apps_do_not_count(settings: Settings) -> None:
    locks = WorkspaceLocks(settings.workspace)
    command = "import sys; from pathlib import Path; from wan_pipeline.storage.locks import WorkspaceLocks\n"
    command += (
        "lock = WorkspaceLocks(Path(sys.argv[1])).app(); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", command, settings.workspace], cwd=REPOSITORY, **pipes) as app:
        app.stdout.readline()
        assert locks.any_app_is_alive()
        app.kill()
        app.wait()
    assert not locks.any_app_is_alive()
    assert list((settings.workspace / "locks").glob("app-*")) == []


def test_an_app_starts_while_a_worker_looks_who_is_there(settings: Settings) -> None:
    """To look at a lock is to hold it for a moment: an app that takes its own must wait, and keep its file."""
    locks, done = WorkspaceLocks(settings.workspace), Event()

    def look() -> None:
        while not done.is_set():
            locks.any_app_is_alive()

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        try:
            for _ in range(500):
                with locks.app() as lock:
                    assert Path(lock.lock_file).exists()
        finally:
            done.set()
        assert [look.exception() for look in looking] == [None, None]
