"""The worker as a process of its own, started by `python -m wan_pipeline.jobs.worker --workspace DIR`."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
import time
from types import FrameType

import psutil

from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.jobs.log import FORMAT
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.settings import Settings

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    settings = settings_of(settings_parser("wan_pipeline.jobs.worker", "Process a queue.").parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    faulthandler.enable()
    sys.exit(work(settings))


def work(settings: Settings) -> Ending:
    """Be the worker of a workspace, until there is nothing to do or another process had better go on.

    For the main thread of a process of its own: SIGTERM makes it leave, and give its job back.
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        settings.make_folders()
        age = time.time() - psutil.Process().create_time()
        return Worker(settings, age_seconds=age).run()
    except (StorageError, OSError):
        logger.exception("The worker cannot go on.")
        return Ending.NO_DATABASE


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
