"""`cluster`: the queue's clips made on other machines."""

from __future__ import annotations

import argparse
import sys
from threading import Event
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import Commands, add_folders, add_latents, add_memory, opened_studio
from wan_pipeline.errors import UserError

if TYPE_CHECKING:
    from wan_pipeline.cluster.wire import NodeSetup
    from wan_pipeline.settings import Settings

CLUSTER = "Make the queue's clips on the machines of a running Ray cluster, until Ctrl+C (docs/cluster.md)."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "cluster", help="make clips on other machines", description=CLUSTER, allow_abbrev=False
    )
    add = parser.add_argument
    address = "of the Ray cluster: HOST:PORT, ray://HOST:PORT, or auto on a machine of it"
    add("--address", required=True, metavar="ADDRESS", help=address)
    gpus = "GPUs that each worker has (1); 0 for one worker a machine, on its CPU"
    add("--gpus", type=_gpus, default=1.0, metavar="NUMBER", help=gpus)
    add("--until-done", action="store_true", help="end when no clip waits")
    add("--node-models", default="", metavar="DIR", help="folder of the models on the nodes (each node's own default)")
    add("--node-folder", default="", metavar="DIR", help="where nodes store what was sent (~/.cache/wan-studio-node)")
    add_latents(parser)
    add_memory(parser)
    add_folders(parser)
    parser.set_defaults(run=run, stopped="stopped; the clips that were being made wait again.")


def _gpus(text: str) -> float:
    try:
        gpus = float(text)
    except ValueError:
        gpus = -1.0
    if not 0 <= gpus <= 64:
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is no number of GPUs from 0 to 64")
    return gpus


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.cluster.dispatcher import Dispatcher  # here and below: --help needs none of it
    from wan_pipeline.cluster.ray_pool import joined

    with (
        opened_studio(options) as studio,
        joined(options.address, node_setup(studio.settings, options), options.gpus, _tell) as pool,
    ):
        Dispatcher(studio.settings, pool, _tell).run(Event(), until_done=options.until_done)
    return 0


def node_setup(settings: Settings, options: argparse.Namespace) -> NodeSetup:
    """What the nodes are told of the options."""
    from wan_pipeline.cluster.wire import NodeSetup

    if not options.gpus:
        device = "cpu"
    elif settings.device == "cpu":
        raise UserError(f"The device is cpu, and --gpus {options.gpus:g} asks for GPUs; use --gpus 0 or unset it.")
    else:
        device = settings.device
    return NodeSetup(
        models=options.node_models,
        folder=options.node_folder,
        device=device,
        memory_limit=settings.memory_limit,
        plan=settings.plan,
        compiled=settings.compiled,
        attention=settings.attention,
        keep_latents=settings.keep_latents,
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
