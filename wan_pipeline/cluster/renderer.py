"""One clip on a node, as the studio's machine sees it: a renderer like the engine."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from wan_pipeline.clips.frame_hash import frames_sha256
from wan_pipeline.cluster.files import StudioFiles, send
from wan_pipeline.cluster.wire import Node, Outcome, Report, Sealed, Seen, Task
from wan_pipeline.errors import Cancelled, NodeLost, StorageError, StudioError
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.files import whole_file

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered

POLL_SECONDS = 0.5
STALL_SECONDS = 30 * 60.0
"""A node whose clip makes no progress for so long hangs, as a worker does by `Heartbeat`."""

logger = logging.getLogger(__name__)


class NodeRenderer:
    """Implements `jobs.worker.render.Renderer` for one node.

    Raises NodeLost when the machine is gone or what it sends is damaged. When `leaving` is set the clip stops after the
    step, and SystemExit is raised, which puts the job back.
    """

    def __init__(
        self,
        node: Node,
        files: StudioFiles,
        leaving: Event,
        *,
        deterministic: bool = False,
        poll_seconds: float = POLL_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._node = node
        self._files = files
        self._leaving = leaving
        self._deterministic = deterministic
        self._poll_seconds = poll_seconds
        self._stall_seconds = stall_seconds

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered:
        logger.info("The clip is made on %s.", self._node.name)
        observer.progress(Progress(Stage.LOADING))
        files = self._files.of(request)
        send(files, self._node, observer)
        resume = _read(checkpoint)
        self._node.start(Task(uuid.uuid4().hex, request.to_json(), plan, self._deterministic, tuple(files), resume))
        warnings = self._follow(observer, checkpoint)
        rendered = self._result(self._node.take())
        return replace(rendered, warnings=(*rendered.warnings, *warnings))

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None:
        """Do nothing: a node encodes each clip's texts when it makes it."""

    def close(self) -> None:
        """Leave the model loaded on the node, for its next clip."""

    def _follow(self, observer: Observer, checkpoint: Path | None) -> list[str]:
        """Until the clip is over: progress and checkpoints come here, and a wish to stop goes there.

        Returns what failed here, one sentence each, which must not end a clip that is made elsewhere.
        """
        seen, is_stopping, active_at = Seen(), False, time.monotonic()
        warnings: dict[str, None] = {}
        while True:
            report = self._node.report(seen)
            if report.seen != seen:
                seen, active_at = report.seen, time.monotonic()
                warnings |= dict.fromkeys(self._pass_on(report, observer, checkpoint))
            if report.is_over:
                return list(warnings)
            if not is_stopping and (observer.cancelled() or self._leaving.is_set()):
                self._node.stop()
                is_stopping = True
            if time.monotonic() - active_at > self._stall_seconds:
                raise NodeLost(f"{self._node.name} made no progress for {self._stall_seconds / 60:.0f} minutes.")
            time.sleep(self._poll_seconds)

    def _pass_on(self, report: Report, observer: Observer, checkpoint: Path | None) -> list[str]:
        """Keep the checkpoint and tell the progress. Returns what failed."""
        for progress in report.progress:
            observer.progress(progress)
        if report.checkpoint is None or checkpoint is None:
            return []
        content = report.checkpoint.opened(f"A checkpoint of {self._node.name}")
        try:
            with whole_file(checkpoint) as part:
                part.write_bytes(content)
        except StorageError as error:
            warning = f"A checkpoint could not be saved: {error}"
            logger.warning(warning)
            return [warning]
        return []

    def _result(self, outcome: Outcome) -> Rendered:
        """The clip, checked by its hashes; or what went wrong, as the engine would raise it here."""
        if outcome.rendered is not None:
            return self._checked(outcome.rendered, outcome.latents_sha256)
        match outcome.error:
            case Cancelled() if self._leaving.is_set():
                raise SystemExit
            case StorageError() as error:  # its disk, not this machine's
                raise NodeLost(f"{self._node.name} could not make the clip: {error}") from error
            case StudioError() as error:
                raise error
            case error:
                logger.error("On %s:\n%s", self._node.name, outcome.trace)
                raise RuntimeError(f"On {self._node.name}: {error}")

    def _checked(self, rendered: Rendered, latents_sha256: str) -> Rendered:
        latents = b"" if rendered.latents is None else rendered.latents
        if frames_sha256(rendered.frames) != rendered.sha256 or hashlib.sha256(latents).hexdigest() != latents_sha256:
            raise NodeLost(f"The clip did not arrive from {self._node.name} as it was sent.")
        return rendered


def _read(checkpoint: Path | None) -> Sealed | None:
    try:
        return None if checkpoint is None else Sealed.of(checkpoint.read_bytes())
    except FileNotFoundError:
        return None
