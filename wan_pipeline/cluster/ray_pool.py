"""Nodes of a Ray cluster: the only module that imports Ray, and only when it is used.

It joins a cluster that somebody started and never starts one, so nothing listens that the person has not named.
"""

from __future__ import annotations

import importlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from wan_pipeline import __version__
from wan_pipeline.cluster.node_worker import NodeWorker
from wan_pipeline.cluster.wire import Hello, Node, NodeSetup, Outcome, Report, Seen, SentFile, Task, call_error
from wan_pipeline.errors import NodeLost, UserError

ADDRESS = re.compile(r"auto|(ray://)?[^\s:/]+:\d{1,5}|(ray://)?\[[0-9a-fA-F:]+\]:\d{1,5}")
CALL_SECONDS = 120.0
"""A node that does not answer for so long is lost. Ray itself notices a dead one within seconds."""
PAUSE_SECONDS = 1.0
RETRY_SECONDS = 30.0
"""Before a place whose worker did not start is tried again."""
REFRESH_SECONDS = 1.0

Place = tuple[str, int]
"""A node's id in Ray, and which of its workers."""

logger = logging.getLogger(__name__)


def import_ray() -> Any:
    """Raises UserError without Ray."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UserError(
            "Clips on other machines need Ray, which is not installed here; run: pip install -r requirements-ray.txt"
        ) from error


@contextmanager
def joined(address: str, setup: NodeSetup, gpus: float, tell: Callable[[str], None]) -> Iterator[RayPool]:
    """Context manager: the workers of the Ray cluster at `address`, which end with it. Raises UserError."""
    if not ADDRESS.fullmatch(address):
        raise UserError(
            f"'{address[:80]}' is no address of a Ray cluster; write HOST:PORT, ray://HOST:PORT, or auto on a machine "
            "that is part of it."
        )
    ray = import_ray()
    try:
        ray.init(address=address, namespace="wan-studio", log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The Ray cluster at {address} cannot be joined ({reason}); start it as docs/cluster.md says, and join "
            "this machine to it by `ray start`."
        ) from error
    pool = RayPool(ray, setup, gpus, tell)
    try:
        yield pool
    finally:
        pool.close()
        ray.shutdown()


class RayNode:
    """Implements `cluster.wire.Node` by calls to an actor."""

    def __init__(self, ray: Any, actor: Any, name: str, models: frozenset[str]) -> None:
        self._ray = ray
        self._actor = actor
        self._name = name
        self._models = models

    @property
    def name(self) -> str:
        return self._name

    @property
    def models(self) -> frozenset[str]:
        return self._models

    def hello(self) -> Hello:
        answer: Hello = self._call("hello")
        return answer

    def missing(self, files: tuple[SentFile, ...]) -> tuple[str, ...]:
        answer: tuple[str, ...] = self._call("missing", files)
        return answer

    def receive(self, sha256: str, offset: int, content: bytes, *, is_last: bool) -> None:
        self._call("receive", sha256, offset, content, is_last=is_last)

    def start(self, task: Task) -> None:
        self._call("start", task)

    def report(self, seen: Seen) -> Report:
        answer: Report = self._call("report", seen)
        return answer

    def stop(self) -> None:
        self._call("stop")

    def take(self) -> Outcome:
        answer: Outcome = self._call("take")
        return answer

    def _call(self, method: str, *arguments: object, **named: object) -> Any:
        """A call's answer. Repeated while the network is away for a moment."""
        errors, deadline = self._ray.exceptions, time.monotonic() + CALL_SECONDS
        while True:
            try:
                reference = getattr(self._actor, method).remote(*arguments, **named)
                return self._ray.get(reference, timeout=CALL_SECONDS)
            except errors.ActorUnavailableError as error:
                if time.monotonic() > deadline:
                    raise NodeLost(f"{self._name} does not answer.") from error
                time.sleep(PAUSE_SECONDS)
            except errors.RayTaskError as error:
                raise call_error(self._name, error.cause or error) from error
            except errors.RayError as error:
                raise NodeLost(f"{self._name} is gone ({type(error).__name__}).") from error


@dataclass
class _Worker:
    """A place's actor, from its start on."""

    actor: Any
    hello: Any
    """The answer that is waited for."""
    node: RayNode | None = None
    """Once it has answered."""


class RayPool:
    """Keeps one worker for each GPU of the cluster, or one for each machine where `gpus` is 0."""

    def __init__(self, ray: Any, setup: NodeSetup, gpus: float, tell: Callable[[str], None]) -> None:
        self._ray = ray
        self._gpus = gpus
        self._tell = tell
        self._start = partial(_start, ray, setup, gpus)
        self._workers: dict[Place, _Worker] = {}
        self._not_before: dict[Place, float] = {}
        self._count = 0
        self._refreshed_at = float("-inf")

    def refresh(self) -> list[Node]:
        """The workers that are ready. Starts those of new machines, forgets those of machines that are gone."""
        if time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
            self._refreshed_at = time.monotonic()
            places = self._places()
            for place in self._workers.keys() - places.keys():
                self._forget(place, "its machine has left")
            for place in places.keys() - self._workers.keys():
                if time.monotonic() >= self._not_before.get(place, 0.0):
                    self._workers[place] = _Worker(actor := self._start(place[0]), actor.hello.remote())
            for place, worker in list(self._workers.items()):
                self._welcome(place, worker, places[place])
        return [worker.node for worker in self._workers.values() if worker.node is not None]

    def drop(self, node: Node) -> None:
        """End the worker. At its place another is started, if the machine is there."""
        for place, worker in list(self._workers.items()):
            if worker.node is node:
                self._kill(worker)
                del self._workers[place]

    def close(self) -> None:
        for worker in self._workers.values():
            self._kill(worker)

    def _places(self) -> dict[Place, str]:
        """The address of each place of the machines that are alive."""
        alive = [machine for machine in self._ray.nodes() if machine["Alive"]]
        return {
            (machine["NodeID"], number): machine["NodeManagerAddress"]
            for machine in alive
            for number in range(self._count_on(machine["Resources"]))
        }

    def _count_on(self, resources: dict[str, float]) -> int:
        if self._gpus:
            return int(resources.get("GPU", 0) / self._gpus)
        return int(resources.get("CPU", 0) >= 1)

    def _welcome(self, place: Place, worker: _Worker, address: str) -> None:
        """Take a worker in that has answered, if it is of this version."""
        if worker.node is not None or not self._ray.wait([worker.hello], timeout=0)[0]:
            return
        try:
            hello: Hello = self._ray.get(worker.hello)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            reason = (str(cause).strip().splitlines() or [""])[-1]
            self._forget(place, f"its worker did not start: {reason[:300]}", address)
            return
        if hello.version != __version__:
            wanted = f"it has Wan Studio {hello.version}, this machine {__version__}; install the same"
            self._forget(place, wanted, address)
            return
        self._count += 1
        name = f"{hello.host} ({address}), worker {self._count}"
        worker.node = RayNode(self._ray, worker.actor, name, frozenset(hello.models))
        self._tell(f"{name} has joined with {', '.join(hello.models) or 'no model'}.")

    def _forget(self, place: Place, why: str, address: str = "") -> None:
        worker = self._workers.pop(place)
        self._not_before[place] = time.monotonic() + RETRY_SECONDS
        self._kill(worker)
        self._tell(f"{worker.node.name if worker.node else address or 'A machine'} is left out: {why}.")

    def _kill(self, worker: _Worker) -> None:
        with suppress(self._ray.exceptions.RayError):  # it is gone already
            self._ray.kill(worker.actor, no_restart=True)


def _start(ray: Any, setup: NodeSetup, gpus: float, node_id: str) -> Any:
    """A worker on this machine of the cluster, with so many GPUs. Ray starts it when they are free."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    actor = ray.remote(NodeWorker).options(
        num_gpus=gpus,
        num_cpus=0 if gpus else 1,
        max_restarts=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
    return actor.remote(setup)
