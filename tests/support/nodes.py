"""Nodes without Ray: in this process, with a renderer that computes nothing, and lost when a test says so."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from wan_pipeline.clips.frame_hash import frames_sha256
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.cluster.node_worker import NodeWorker
from wan_pipeline.cluster.wire import Hello, Node, NodeSetup, Outcome, Report, Seen, SentFile, Task, call_error
from wan_pipeline.engine.rendered import Rendered
from wan_pipeline.errors import NodeLost
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file

STEPS = 4


class StepRenderer:
    """Takes STEPS steps, each written to the checkpoint as a digit. Waits at a step for as long as it is told to.

    `steps` holds every step that was taken, so that a test sees which were taken twice.
    """

    def __init__(self, settings: Settings, steps: list[int] | None = None, *, waits_at: int = 0) -> None:
        self._loras = settings.loras
        self._inputs = settings.inputs
        self.steps: list[int] = [] if steps is None else steps
        self.found: list[str] = []
        """Names of the input files that lay there."""
        self.waits_at = waits_at
        self.reached = Event()
        self.goes_on = Event()

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered:
        assert checkpoint is not None
        first = int(checkpoint.read_text()) if checkpoint.exists() else 0
        self.found = sorted(path.name for folder in (self._loras, self._inputs) for path in folder.glob("*.*"))
        observer.progress(Progress(Stage.DENOISING, first, STEPS))
        for step in range(first + 1, STEPS + 1):
            self._take(step, observer, checkpoint)
        frames = np.full((5, 32, 32, 3), request.seed % 256, np.uint8)
        return Rendered(
            frames, frames_sha256(frames), {"denoising": 1.0}, 0.0, Provenance(request.model), first, latents=b"latents"
        )

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None: ...

    def close(self) -> None: ...

    def _take(self, step: int, observer: Observer, checkpoint: Path) -> None:
        self.steps.append(step)
        with whole_file(checkpoint) as part:
            part.write_text(str(step))
        observer.progress(Progress(Stage.DENOISING, step, STEPS))
        if step == self.waits_at:
            self.reached.set()
            while not self.goes_on.wait(0.01):
                check_cancelled(observer)
        check_cancelled(observer)


class LocalNode:
    """Implements `Node` by a `NodeWorker` of this process."""

    def __init__(self, folder: Path, name: str, make: Callable[[Settings], StepRenderer] = StepRenderer) -> None:
        self.made: list[StepRenderer] = []
        self.received: list[str] = []
        self.is_lost = False
        self.damages_frames = False
        self._name = name
        self._make = make
        self._worker = NodeWorker(NodeSetup(folder=str(folder)), self._renderer)

    @property
    def name(self) -> str:
        return self._name

    @property
    def models(self) -> frozenset[str]:
        return frozenset({"demo"})

    def hello(self) -> Hello:
        answer: Hello = self._call("hello")
        return answer

    def missing(self, files: tuple[SentFile, ...]) -> tuple[str, ...]:
        answer: tuple[str, ...] = self._call("missing", files)
        return answer

    def receive(self, sha256: str, offset: int, content: bytes, *, is_last: bool) -> None:
        self.received.append(sha256)
        self._call("receive", sha256, offset, content, is_last=is_last)

    def start(self, task: Task) -> None:
        self._call("start", task)

    def report(self, seen: Seen) -> Report:
        answer: Report = self._call("report", seen)
        return answer

    def stop(self) -> None:
        self._call("stop")

    def take(self) -> Outcome:
        outcome: Outcome = self._call("take")
        if self.damages_frames and outcome.rendered is not None:
            outcome.rendered.frames[0] += 1
        return outcome

    def _call(self, method: str, *arguments: object, **named: object) -> Any:
        """As `RayNode` does: what travels is pickled, and an error is what `call_error` makes of it."""
        if self.is_lost:
            raise NodeLost(f"{self._name} is gone.")
        arguments, named = pickle.loads(pickle.dumps((arguments, named)))  # noqa: S301 (its own)
        try:
            answer = getattr(self._worker, method)(*arguments, **named)
        except Exception as error:
            raise call_error(self._name, pickle.loads(pickle.dumps(error))) from error  # noqa: S301
        return pickle.loads(pickle.dumps(answer))  # noqa: S301

    def _renderer(self, settings: Settings, deterministic: bool) -> StepRenderer:
        self.made.append(self._make(settings))
        return self.made[-1]


class LocalPool:
    """Implements `Pool`: a list that a test changes. What is dropped stays away."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = list(nodes)
        self.dropped: list[Node] = []

    def refresh(self) -> list[Node]:
        return list(self.nodes)

    def drop(self, node: Node) -> None:
        self.nodes.remove(node)
        self.dropped.append(node)
