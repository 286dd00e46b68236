"""The studio's side of a cluster as a process: hands a workspace's jobs out until none waits."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event

from tests.support.studios import read_settings
from wan_pipeline.cluster.dispatcher import Dispatcher
from wan_pipeline.cluster.ray_pool import joined
from wan_pipeline.cluster.wire import NodeSetup
from wan_pipeline.settings import Settings


def main(options: str, address: str, node_folder: str) -> None:
    settings = read_settings(Path(options).read_text())
    with joined(address, setup_of(settings, node_folder), 0, _tell) as pool:
        Dispatcher(settings, pool, _tell, 0.05).run(Event(), until_done=True)


def setup_of(settings: Settings, node_folder: str) -> NodeSetup:
    """Nodes that make clips of the tests' model on their processor, with a checkpoint after each step."""
    demo = str(settings.demo_checkpoint)
    return NodeSetup(folder=node_folder, demo_checkpoint=demo, device="cpu", checkpoint_seconds=0)


def _tell(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
