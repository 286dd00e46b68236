"""ZeroGPU: a Space has a GPU only within a call of a function that `spaces.GPU` decorates.

Such a call runs in a process that `spaces` forks, with the GPU, and comes back by pickles. So the part of a clip
that needs the GPU, the engine, is one generator: what it yields is the progress, and at last the frames. The queue's
worker, which calls it, is a thread of the app's own process. Outside of such a Space the decorator does nothing, and
the same generator runs right here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeAlias

import spaces

from wan_pipeline.errors import Cancelled, GenerationError, StudioError, UserError
from wan_pipeline.jobs.estimates.estimator import Estimator
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker.thread import WorkerThread
from wan_pipeline.progress import Observer, Progress
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks

if TYPE_CHECKING:
    from wan_pipeline.engine.engine import Engine
    from wan_pipeline.engine.rendered import Rendered

TICK_SECONDS = 0.5
"""Without progress for so long the generator yields nothing, so that a cancelled clip ends soon."""
SAFETY = 1.5
"""Times the forecast, for the GPU is taken away at the end of the time that was asked for."""
START_SECONDS = 20.0
"""Seconds to load the weights in a new process."""
MIN_SECONDS, MAX_SECONDS = 30, 240


@dataclass(frozen=True)
class Failure:
    """What the engine raised: `spaces` brings back no exception but only its class's name."""

    error: StudioError | None
    """One of our own errors, unchanged."""
    reason: str = ""
    """The class name of any other error."""


Yielded: TypeAlias = "Progress | Rendered | Failure | None"
GpuTask = Callable[[GenerationRequest, "Path | None", str], Iterator[Yielded]]


class GpuPart:
    """The engine's part of a clip, in the process that has the GPU. The engine stays there between clips."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None

    def render(self, request: GenerationRequest, checkpoint: Path | None, plan: str) -> Iterator[Yielded]:
        """Progress, now and then None, and at the end the frames or what went wrong."""
        relay = _Relay()
        thread = Thread(target=self._work, args=(relay, request, checkpoint, plan), name="gpu", daemon=True)
        thread.start()
        try:
            while True:
                item = relay.next()
                yield item
                if item is not None and not isinstance(item, Progress):
                    return
        finally:
            relay.cancel()
            thread.join()

    def _work(self, relay: _Relay, request: GenerationRequest, checkpoint: Path | None, plan: str) -> None:
        try:
            if self._engine is None:
                from wan_pipeline.engine.engine import Engine  # here: only where the GPU is

                self._engine = Engine(self._settings)
            relay.put(self._engine.render(request, relay, checkpoint, plan))
        except StudioError as error:
            relay.put(Failure(error))
        except Exception as error:  # noqa: BLE001 (as in the worker, any fault is the job's)
            relay.put(Failure(None, f"{type(error).__name__}: {error}".splitlines()[0]))


class GpuRenderer:
    """A `Renderer` for the worker: each clip is one call of the decorated function."""

    def __init__(self, task: GpuTask) -> None:
        self._task = task

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered:
        """Raises what the engine raises, and GenerationError if there is no GPU to be had."""
        items = self._task(request, checkpoint, plan)
        try:
            return _followed(items, observer)
        except StudioError:
            raise
        except Exception as error:  # spaces has Gradio's error for quotas and the end of the time, and others
            raise GenerationError(f"The Space's GPU did not make the clip: {error}") from error
        finally:
            if close := getattr(items, "close", None):
                close()

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None:
        """Each clip encodes its own within its GPU time."""

    def close(self) -> None:
        """The GPU's process ends by itself."""


class ZeroGpu:
    """Decorates the GPU's part when a studio is opened, which is before the page is launched, as `spaces` wants it."""

    def supervisor(self, settings: Settings, jobs: JobReader, queue: WorkerQueue, locks: WorkspaceLocks) -> Supervisor:
        task = decorated(settings, jobs)
        launch = partial(WorkerThread, make_engine=lambda _, __: GpuRenderer(task))
        return Supervisor(settings, jobs, queue, locks, launch=launch)


def decorated(settings: Settings, jobs: JobReader) -> GpuTask:
    """The GPU's part, asking for the time that the clip is forecast to take."""
    part = GpuPart(settings)
    estimates = _estimator(settings, jobs)

    def seconds(request: GenerationRequest, checkpoint: Path | None, plan: str) -> int:
        return gpu_seconds(estimates, request)

    @spaces.GPU(duration=seconds)  # type: ignore[misc]
    def make_frames(request: GenerationRequest, checkpoint: Path | None, plan: str) -> Iterator[Yielded]:
        yield from part.render(request, checkpoint, plan)

    task: GpuTask = make_frames
    return task


def gpu_seconds(estimates: Estimator, request: GenerationRequest) -> int:
    try:
        forecast = estimates.of_request(request).seconds
    except UserError:  # the engine says why, within the shortest time
        forecast = 0.0
    return min(max(math.ceil(forecast * SAFETY + START_SECONDS), MIN_SECONDS), MAX_SECONDS)


class _Relay:
    """The engine's observer, which passes progress from its thread to the generator."""

    def __init__(self) -> None:
        self._items: SimpleQueue[Yielded] = SimpleQueue()
        self._cancelled = Event()

    def progress(self, progress: Progress) -> None:
        self._items.put(progress)

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def put(self, item: Yielded) -> None:
        self._items.put(item)

    def cancel(self) -> None:
        self._cancelled.set()

    def next(self) -> Yielded:
        """None if there was nothing for a while."""
        try:
            return self._items.get(timeout=TICK_SECONDS)
        except Empty:
            return None


def _followed(items: Iterator[Yielded], observer: Observer) -> Rendered:
    for item in items:
        if observer.cancelled():
            raise Cancelled("The clip was cancelled.")
        match item:
            case None:
                continue
            case Progress():
                observer.progress(item)
            case Failure(error=StudioError() as error):
                raise error
            case Failure(reason=reason):
                raise GenerationError(f"Something unexpected went wrong on the GPU ({reason}).")
            case _:
                return item
    raise GenerationError("The GPU was taken away before the clip was done; try a smaller or shorter one.")


def _estimator(settings: Settings, jobs: JobReader) -> Estimator:
    from wan_pipeline.clips.inputs.files import InputFiles
    from wan_pipeline.lora.library import LoraLibrary
    from wan_pipeline.models.library import ModelLibrary
    from wan_pipeline.requests.resolver import RequestResolver

    loras = LoraLibrary.of(settings)
    requests = RequestResolver(ModelLibrary(settings), {}, {}, loras, InputFiles(settings.inputs))
    return Estimator(settings, requests, jobs)
