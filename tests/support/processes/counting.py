"""A background process for tests: counts until it is asked to stop, and writes down the environment it got.

`python -m tests.support.processes.counting --workspace DIR counts|dies`
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.settings import Settings

MODULE = "tests.support.processes.counting"


@dataclass(frozen=True)
class Count:
    number: int = 0
    end: str = ""

    @property
    def is_over(self) -> bool:
        return bool(self.end)

    def died(self, log: Path) -> Count:
        return replace(self, end=f"died: {log.name}")


def state_file(settings: Settings) -> StateFile[Count]:
    return StateFile(settings.cache / "counts" / "count.json", Count)


def process(settings: Settings) -> BackgroundProcess:
    return BackgroundProcess(MODULE, settings, lock(settings), settings.logs / "count.log")


def lock(settings: Settings) -> FileLock:
    return FileLock(settings.workspace / "count.lock", timeout=3)


def count(settings: Settings, how: str) -> Count:
    file, state = state_file(settings), Count()
    while not file.stop_is_requested():
        state = Count(state.number + 1)
        file.write(state)
        if how == "dies":
            os._exit(1)
        time.sleep(0.01)
    end = replace(state, end="stopped")
    file.write(end)
    (settings.cache / "environment.json").write_text(json.dumps(dict(os.environ)))
    return end


def main() -> None:
    parser = settings_parser(MODULE, "Count.")
    parser.add_argument("how")
    options = parser.parse_args()
    settings = settings_of(options)
    run_alone(lock(settings), lambda: count(settings, options.how), "count")


if __name__ == "__main__":
    main()
