"""A real Ray cluster of two nodes on this computer, one of which is lost: no clip is lost and none made twice.

WAN_STUDIO_CLUSTER_JOBS sets how many clips, for a small machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.support.processes.cluster_studio import setup_of
from tests.support.processes.hosts import hosts
from tests.support.studios import PATIENCE, QUICK, wait_for, write_settings
from wan_pipeline.cluster.dispatcher import Dispatcher
from wan_pipeline.cluster.ray_pool import joined
from wan_pipeline.cluster.wire import NodeSetup
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.studio import Studio

JOBS = int(os.environ.get("WAN_STUDIO_CLUSTER_JOBS", "100"))
HOST_JOBS = min(JOBS, 12)
STEPS = 60
"""So many that a clip takes a second or two."""
HAS_RAY = find_spec("ray") is not None
SMALL = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster on loopback whose head has no processor to make clips with; gives it and the node to be killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "num_cpus": 0})
    try:
        cluster.add_node(**SMALL)
        yield cluster, cluster.add_node(**SMALL)
    finally:
        cluster.shutdown()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install -r requirements-ray.txt")
def test_a_node_is_killed_and_every_clip_is_made_once(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", paths)  # of the nodes
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ids = [studio.submit(replace(QUICK, seed=seed, num_inference_steps=STEPS)) for seed in range(JOBS)]
    setup = setup_of(settings, str(tmp_path / "node"))
    told: list[str] = []
    leaving = Event()
    with two_nodes() as (cluster, victim), joined(cluster.address, setup, 0, told.append) as pool:
        work = Dispatcher(settings, pool, told.append, 0.05).run
        thread = Thread(target=work, args=(leaving,), kwargs={"until_done": True}, daemon=True)
        thread.start()
        wait_for(lambda: studio.jobs.counts()[JobState.DONE] >= JOBS // 4, "a quarter of the clips")
        wait_for(lambda: sum(job.step > 5 for job in studio.jobs.active()) == 2, "a clip on each node")
        cluster.remove_node(victim, allow_graceful=False)
        thread.join(JOBS * PATIENCE)
        assert not thread.is_alive(), told
    check_all_made_once(studio, settings, ids)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install -r requirements-ray.txt")
def test_a_host_loses_its_power_and_every_clip_is_made_once(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    """Studio and nodes are hosts of their own; one falls silent within a clip, and closes no connection."""
    ids = [studio.submit(replace(QUICK, seed=seed, num_inference_steps=STEPS)) for seed in range(HOST_JOBS)]
    options = tmp_path / "options"
    options.write_text(write_settings(settings))
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    paths = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    environment |= {"PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    start = f"{sys.executable} -m ray.scripts.scripts start --object-store-memory={100 * 2**20}"
    with hosts(tmp_path, 3) as (head, victim, other):
        address = f"{head.address}:6379"
        work = f"{sys.executable} -m tests.support.processes.cluster_studio {options} {address} /tmp/ray/node"
        here = f"--head --port=6379 --node-ip-address={head.address} --num-cpus=0 --include-dashboard=false"
        process = head.boot(["sh", "-c", f"{start} {here} && exec {work}"], environment)
        for node in (victim, other):
            joins = f"{start} --address={address} --node-ip-address={node.address} --num-cpus=1 --block"
            joins = f"until {joins}; do sleep 1; done"  # the head may not be there yet
            node.boot(["sh", "-c", joins], environment)
        wait_for(lambda: studio.jobs.counts()[JobState.DONE] >= HOST_JOBS // 4, "a quarter of the clips")
        wait_for(lambda: sum(job.step > 5 for job in studio.jobs.active()) == 2, "a clip on each node")
        victim.lose()
        code = process.wait(HOST_JOBS * PATIENCE)
        told = head.log.read_text()
    assert code == 0, told
    assert all(f"{node.name} ({node.address}), worker" in told for node in (victim, other)), told
    check_all_made_once(studio, settings, ids)


def check_all_made_once(studio: Studio, settings: Settings, ids: list[str]) -> None:
    """Also that the clip of the lost node went on elsewhere, from its checkpoint."""
    jobs = [studio.jobs.existing(job_id) for job_id in ids]
    assert [job.error for job in jobs if job.state is not JobState.DONE] == []
    clips = [job.clip for job in jobs]
    assert len(set(clips)) == len(ids) == len(list(settings.clips.glob("*.mp4"))), "each clip is there once"
    history = [[event.kind for event in studio.jobs.events(job_id)] for job_id in ids]
    assert all(kinds.count(EventKind.DONE) == 1 for kinds in history), "and was finished once"
    [lost] = [kinds for kinds in history if EventKind.INTERRUPTED in kinds]
    assert lost[2:4] == [EventKind.INTERRUPTED, EventKind.STARTED], "the killed node's clip was given to the other"
    assert EventKind.RESUMED in lost[4:], "which went on from its checkpoint"


@pytest.mark.parametrize("address", ["", "local", "10.0.0.1", "10.0.0.1:6379 --x", "http://a:1"])
def test_an_address_names_a_cluster_that_somebody_started(address: str) -> None:
    with pytest.raises(UserError, match="no address of a Ray cluster"), joined(address, NodeSetup(), 1, print):
        pass
