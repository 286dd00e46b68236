"""A worker on a node: makes one clip at a time by the engine, and knows neither the queue nor Ray."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from wan_pipeline import __version__
from wan_pipeline.cluster.files import NodeFiles
from wan_pipeline.cluster.runs import RunFolder
from wan_pipeline.cluster.wire import Hello, NodeSetup, Outcome, Report, Sealed, Seen, SentFile, Task
from wan_pipeline.errors import NodeLost, StudioError, UserError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file

if TYPE_CHECKING:
    from wan_pipeline.jobs.worker.render import Renderer

MakeEngine = Callable[[Settings, bool], "Renderer"]

logger = logging.getLogger(__name__)


def default_folder() -> Path:
    return Path.home() / ".cache" / "wan-studio-node"


class NodeWorker:
    """Implements `NodeCalls`. Holds the engine, and so the loaded model, between clips."""

    def __init__(self, setup: NodeSetup, make_engine: MakeEngine | None = None) -> None:
        folder = Path(setup.folder) if setup.folder else default_folder()
        self._run = RunFolder(folder / "runs")
        run = self._run.path
        self._settings = _settings(setup, folder, run)
        self._settings.make_folders()
        self._files = NodeFiles(folder / "sent", self._settings.inputs, self._settings.loras, run / "received.part")
        self._checkpoint = run / "checkpoint.safetensors"
        self._make_engine = make_engine or _engine_here
        self._engine: Renderer | None = None
        self._is_deterministic = False
        self._task_id = ""
        self._observer = _NodeObserver()
        self._outcome: Outcome | None = None
        """How the last clip ended; None while it is being made."""

    def hello(self) -> Hello:
        """Raises UserError for a node with a GPU that torch cannot use: its processor would make the clips."""
        if self._settings.device != "cpu":
            from wan_pipeline.engine.device.placement import choose_device  # here: torch takes seconds

            if choose_device(self._settings.device).type == "cpu":
                raise UserError("torch finds no GPU there; install the build of torch for it, or use --gpus 0")
        models = tuple(model.spec.id for model in ModelLibrary(self._settings).installed())
        return Hello(__version__, socket.gethostname(), models)

    def missing(self, files: tuple[SentFile, ...]) -> tuple[str, ...]:
        return self._files.missing(files)

    def receive(self, sha256: str, offset: int, content: bytes, *, is_last: bool) -> None:
        self._files.receive(sha256, offset, content, is_last=is_last)

    def start(self, task: Task) -> None:
        """Begin the clip in a thread. Raises NodeLost or StorageError for what was sent.

        Raises NodeLost too while the last clip is still being made: they would share its files and the engine.
        """
        if task.id == self._task_id:
            return
        if self._task_id and self._outcome is None:
            raise NodeLost("Its last clip is still being made.")
        self._files.lay_out(task.files)
        self._remember_experts(task.files)
        self._checkpoint.unlink(missing_ok=True)
        if task.checkpoint is not None:
            content = task.checkpoint.opened("A checkpoint")
            with whole_file(self._checkpoint) as part:
                part.write_bytes(content)
        self._task_id, self._outcome, self._observer = task.id, None, _NodeObserver()
        Thread(target=self._make, args=(task, self._observer), name="clip", daemon=True).start()

    def report(self, seen: Seen) -> Report:
        is_over = self._outcome is not None  # asked first: what was reported before the end is then told too
        reports, progress = self._observer.new(seen.reports)
        mark, checkpoint = self._new_checkpoint(seen.checkpoint)
        return Report(Seen(reports, mark), progress, checkpoint, is_over)

    def stop(self) -> None:
        self._observer.stop()

    def take(self) -> Outcome:
        assert self._outcome is not None  # noqa: S101 (only asked for after a report that the clip is over)
        return self._outcome

    def _make(self, task: Task, observer: _NodeObserver) -> None:
        try:
            engine = self._ready_engine(deterministic=task.deterministic)
            request = GenerationRequest.from_json(task.request)
            rendered = engine.render(request, observer, self._checkpoint, task.plan)
            latents = b"" if rendered.latents is None else rendered.latents
            self._end(task, Outcome(rendered, Sealed.of(latents).sha256, None))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the studio's machine hears of it
            told = error if isinstance(error, StudioError) else RuntimeError(f"{type(error).__name__}: {error}")
            self._end(task, Outcome(None, "", told, traceback.format_exc()))

    def _end(self, task: Task, outcome: Outcome) -> None:
        if task.id == self._task_id:
            self._outcome = outcome

    def _ready_engine(self, *, deterministic: bool) -> Renderer:
        if self._engine is None or self._is_deterministic is not deterministic:
            if self._engine is not None:
                self._engine.close()
            self._engine, self._is_deterministic = self._make_engine(self._settings, deterministic), deterministic
        return self._engine

    def _remember_experts(self, files: tuple[SentFile, ...]) -> None:
        library = LoraLibrary.of(self._settings)
        for file in files:
            if file.expert is not None:
                library.remember_expert(file.sha256, file.expert)

    def _new_checkpoint(self, seen: tuple[int, int] | None) -> tuple[tuple[int, int] | None, Sealed | None]:
        """The mark of the checkpoint that there is, and the file if it is not the one that was seen."""
        try:
            facts = self._checkpoint.stat()
            mark = facts.st_mtime_ns, facts.st_size
            if mark == seen:
                return mark, None
            return mark, Sealed.of(self._checkpoint.read_bytes())  # replaced as a whole, so never half of it
        except FileNotFoundError:
            return None, None


class _NodeObserver:
    """Keeps the newest progress until it is asked for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0
        self._newest: Progress | None = None
        self._begun: tuple[int, Progress] | None = None
        """The first report of denoising, and which it was of all."""
        self._stopped = Event()

    def progress(self, progress: Progress) -> None:
        with self._lock:
            if progress.preview is None and self._newest is not None:
                progress = replace(progress, preview=self._newest.preview)  # it may not have been told yet
            self._count, self._newest = self._count + 1, progress
            if self._begun is None and progress.stage is Stage.DENOISING:
                self._begun = self._count, replace(progress, preview=None)

    def cancelled(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        self._stopped.set()

    def new(self, seen: int) -> tuple[int, tuple[Progress, ...]]:
        """How many reports there were, and what to tell after so many `seen`, as `Report.progress` says."""
        with self._lock:
            if self._count == seen or self._newest is None:
                return self._count, ()
            begun = (self._begun[1],) if self._begun and seen < self._begun[0] < self._count else ()
            newest, self._newest = self._newest, replace(self._newest, preview=None)
            return self._count, (*begun, newest)


def _settings(setup: NodeSetup, folder: Path, run: Path) -> Settings:
    named = {"models": setup.models, "demo_checkpoint": setup.demo_checkpoint}
    return Settings(
        workspace=folder,
        loras=run / "loras",
        **{name: Path(text) for name, text in named.items() if text},  # type: ignore[arg-type]
        **({"device": setup.device} if setup.device else {}),  # type: ignore[arg-type]
        memory_limit=setup.memory_limit,
        plan=setup.plan,
        compiled=setup.compiled,
        attention=setup.attention,
        keep_latents=setup.keep_latents,
        checkpoint_seconds=setup.checkpoint_seconds,
    )


def _engine_here(settings: Settings, deterministic: bool) -> Renderer:
    from wan_pipeline.engine.engine import Engine  # here: torch takes seconds, and a fault in it is the clip's

    return Engine(settings, deterministic=deterministic)
