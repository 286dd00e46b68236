"""The composition root: wires the rooms together, for the page, the command line and the tests alike. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from uuid import uuid4

from PIL import Image

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.naming import check_output, clip_name
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.clips.share import make_share_copy
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.jobs.background.verifications import Verification, Verifications
from wan_pipeline.jobs.background.verify import Verdict, verify
from wan_pipeline.jobs.editor import JobStore
from wan_pipeline.jobs.estimator import Estimator
from wan_pipeline.jobs.job import UNFINISHED, Finished, Job, JobState
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.throughput import Estimate
from wan_pipeline.progress import Observer
from wan_pipeline.requests.list_file import MAX_ROWS, QueueFile, Row, check_rows, read_queue_file, write_queue_file
from wan_pipeline.requests.recover import Recovered, recover
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups, repair_if_corrupt
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import check_room, check_writable, whole_file
from wan_pipeline.storage.locks import WorkspaceLocks

Supervise = Callable[[Settings, JobStore, WorkspaceLocks], Supervisor]


class Studio:
    """One workspace, its models, presets and LoRAs, and its jobs. Any number may be open on one workspace."""

    def __init__(self, settings: Settings, supervise: Supervise = Supervisor) -> None:
        """`supervise` makes what keeps a worker running.

        Raises PresetError for a bad preset file, StorageError for a workspace that cannot be used.
        """
        for folder in settings.written:
            check_writable(folder)
        self.settings = settings
        self._drafting = RequestResolver(settings)
        self.models, self.presets, self.loras = self._drafting.models, self._drafting.presets, self._drafting.loras
        self.speeds = self._drafting.speeds
        self._notices = repair_if_corrupt(settings.database)
        self.queue = JobStore(settings.database)
        self.gallery = Gallery(Database(settings.database), settings.clips)
        self.outlook = Estimator(settings, self.models, self.queue)
        self._supervisor = supervise(settings, self.queue, WorkspaceLocks(settings.workspace))
        self._verifications = Verifications(settings)
        self._is_started = False

    def start(self) -> None:
        """Begin to work jobs off, in a process of its own. To be called by an app, once."""
        self._back_up()
        self.gallery.rescan()  # clips made elsewhere, by an older version, or since a backup that took its place
        self._supervisor.start()
        self._is_started = True

    @property
    def is_viewer(self) -> bool:
        """Whether another app has opened this workspace before and works with it: this one only looks on for now."""
        return self._supervisor.is_viewer

    @property
    def notices(self) -> tuple[str, ...]:
        """What was put right when the workspace was opened, and since; one sentence each, for the person."""
        return (*self._notices, *self._supervisor.notices)

    def close(self) -> None:
        """Leave. Jobs that wait or run go on without this app."""
        if self._is_started:
            self._supervisor.close()
            self._is_started = False

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Before the click

    def resolve(self, draft: Draft) -> GenerationRequest:
        """The whole request. Every UserError that can be known before weights are loaded is raised here."""
        return self._drafting.resolve(draft)

    def estimate(self, draft: Draft) -> Estimate:
        """How long `submit` would take to give a clip, without reading images or LoRAs. Raises UserError."""
        request = self._drafting.request(replace(draft, prompt="of any length", negative_prompt=None, loras=()))
        return self.outlook.of_clip(request)

    def estimate_many(self, drafts: Sequence[Draft]) -> Estimate:
        """How long all of them would take: "12 clips, about 4 min". Raises UserError for the first that is wrong."""
        return self.outlook.of_clips([self._drafting.request(draft) for draft in drafts])

    def forecast_of_model(self, model_id: str) -> str | None:
        """Whether a model fits this machine at its own settings; None while nothing is known. Raises ModelError."""
        return self.outlook.of_model(model_id)

    def queue_seconds(self) -> float:
        """Until all that runs or waits will be done. Clips of unknown models count as nothing: they will fail."""
        return self.outlook.queue_seconds()

    # Jobs

    def submit(self, draft: Draft, project: str = "") -> str:
        """Put a clip in the queue and give its job id at once. Raises UserError."""
        return self.submit_many([draft], project)[0]

    def submit_many(self, drafts: Sequence[Draft], project: str = "") -> list[str]:
        """Put clips in the queue, all or, when one is wrong, none. Raises UserError for the first that is."""
        return self._submit([(draft, project) for draft in drafts])

    def edit(self, job_id: str, draft: Draft) -> None:
        """Give a waiting job other settings; it keeps its place. Raises UserError."""
        self.queue.edit(job_id, self.resolve(draft))

    @contextmanager
    def read_queue_file(self, path: Path, *, own_disk: bool = False) -> Iterator[QueueFile]:
        """The clips of a CSV, JSONL or exported ZIP file, and a sentence for each row that cannot be queued.

        `own_disk`: rows may name images on this computer's disk; not for a page that others may open. What is given
        holds within the context only: images of a ZIP are then removed. Raises UserError for a file that is no list.
        """
        with TemporaryDirectory(dir=self.settings.cache, prefix="import-") as folder:
            yield check_rows(read_queue_file(path, Path(folder), own_disk=own_disk), self._drafting.check)

    def submit_rows(self, content: QueueFile, *, skip_bad: bool = False, project: str = "") -> list[str]:
        """Put the clips of a file in the queue; `project` is for rows that name none.

        Raises UserError, and queues nothing, when there are bad rows that are not to be skipped, or no good ones.
        """
        content.check(skip_bad)
        return self._submit([(row.draft, row.project or project) for row in content.rows])

    def export_queue(self, target: Path | None = None) -> Path:
        """Write all that runs, waits or is held to a file that `read_queue_file` reads, and give its path.

        Without a target it goes to the cache, as ZIP if there are input images, else as JSONL. Raises UserError.
        """
        jobs = [job for job in self.queue.jobs((*UNFINISHED, JobState.PAUSED), limit=MAX_ROWS) if not job.request_error]
        rows = [Row(number, self.draft_of_request(job.request), job.project) for number, job in enumerate(jobs, 1)]
        ending = "zip" if any(row.draft.files for row in rows) else "jsonl"
        path = target or self.settings.cache / f"queue_{datetime.now().astimezone():%Y-%m-%d_%H%M}.{ending}"
        write_queue_file(rows, path)
        return path

    def work(self, looked: Callable[[], None]) -> None:
        """Work the queue off until it is empty or paused, and call `looked` about once a second meanwhile."""
        self._back_up()
        self._supervisor.work(looked)

    def job(self, job_id: str) -> Job | None:
        return self.queue.job(job_id)

    def recent(self, limit: int = 24) -> list[Job]:
        """The newest jobs in any state, newest first."""
        return self.queue.recent(limit)

    def active(self) -> list[Job]:
        """Waiting and running jobs, in the order they are worked off."""
        return self.queue.active()

    def cancel(self, job_id: str) -> None:
        """Take a waiting job out of the queue, or ask a running one to stop after its step."""
        self.queue.cancel(job_id)

    def preview(self, job_id: str) -> bytes | None:
        """The animated WebP of a running job, if there is one yet. Its file is replaced again and again, so no path."""
        try:
            return (self.settings.previews / f"{job_id}.webp").read_bytes()
        except FileNotFoundError:
            return None

    # After the clip

    def last_frame(self, job_id: str) -> Path:
        """The clip's last frame as a PNG, to go on from. Raises UserError if the job has no clip to read."""
        job = self._existing(job_id)
        if job.state is not JobState.DONE or job.clip is None:
            raise UserError(f"Job {job_id[:8]} is {job.state} and has no clip; choose a finished one.")
        return self.last_frame_of(job.clip)

    def last_frame_of(self, clip: Path) -> Path:
        """The last frame of a clip of ours as a PNG in the cache. Raises StorageError."""
        from wan_pipeline.clips.read import last_frame  # here: it brings in ffmpeg's wrapper

        path = self.settings.cache / f"{clip.stem}_last.png"
        with whole_file(path) as part:
            Image.fromarray(last_frame(clip)).save(part, format="PNG")
        return path

    def draft_of(self, job_id: str) -> Draft:
        """A draft that resolves to the job's own request, for "Reuse settings"."""
        job = self._existing(job_id)
        if job.request_error:
            raise UserError(job.request_error)
        return self.draft_of_request(job.request)

    def draft_of_request(self, request: GenerationRequest) -> Draft:
        """A draft that resolves to this request again, though its style be gone, or be worded otherwise now."""
        return self._drafting.draft_of(request)

    def draft_from_clip(self, path: Path) -> Recovered:
        """The settings of any clip with a receipt, from here or from elsewhere, and what of them is not here.

        Raises ReceiptError or StorageError for a file that tells nothing.
        """
        return recover(load_receipt(path), self.settings, self.draft_of_request)

    def share_copy(self, clip: Path) -> Path:
        """A copy in the cache to give away: without the receipt, and without the prompt in its name."""
        name = hashlib.sha256(clip.name.encode()).hexdigest()[:8]
        return make_share_copy(clip, self.settings.cache / "share" / f"clip_{name}.mp4")

    def verify_now(self, clip: Path, observer: Observer, deterministic: bool = False) -> Verdict:
        """Make a clip again in this process and compare. Raises UserError, and what the engine raises."""
        return verify(clip, self.settings, observer, deterministic=deterministic)

    def verify_later(self, clip: Path) -> None:
        """Verify a clip in a process of its own, as soon as the queue is idle. Raises UserError if one is at it."""
        self._verifications.start(clip)

    def verification(self, clip: Path) -> Verification | None:
        """How the verifying of this clip stands or has ended; None if it never began."""
        return self._verifications.of(clip)

    # The command line's way

    def render_now(
        self,
        draft: Draft,
        output: Path | None,
        observer: Observer,
        *,
        strip_metadata: bool = False,
        deterministic: bool = False,
    ) -> Finished:
        """Make a clip in this process and give it when it lies at `output`, or among the workspace's clips.

        `strip_metadata` leaves the receipt out of the MP4, and only beside it. `deterministic` is the engine's mode.
        Raises UserError before any weights are loaded, and GenerationError or Cancelled from the engine.
        """
        request = self.resolve(draft)
        clip = output or self.settings.clips / clip_name(request, datetime.now(UTC), uuid4().hex)
        check_output(clip)
        check_room(clip.parent, _clip_bytes(request))
        from wan_pipeline.engine.engine import Engine  # here: torch takes seconds, and errors above need not wait
        from wan_pipeline.jobs.worker.render import Label, make_clip

        with Engine(self.settings, deterministic=deterministic) as engine:
            return make_clip(engine, request, observer, clip, Label(strip_metadata=strip_metadata))

    def _submit(self, clips: Sequence[tuple[Draft, str]]) -> list[str]:
        checked = [(self._drafting.check(draft), draft, project) for draft, project in clips]
        check_room(self.settings.clips, max((_clip_bytes(request) for request, _, _ in checked), default=0))
        requests = [(self._drafting.with_files(request, draft), project) for request, draft, project in checked]
        ids = self.queue.submit_many(requests)
        crash_point(CrashPoint.SUBMITTED)
        self._supervisor.wake()
        if len(ids) > 1:
            self._back_up()  # a list for the whole night
        return ids

    def _back_up(self) -> None:
        try:
            Backups(self.settings.database).keep()
        except StorageError as error:
            notice = f"The database could not be backed up: {error}"
            if notice not in self._notices:
                self._notices.append(notice)

    def _existing(self, job_id: str) -> Job:
        job = self.queue.job(job_id)
        if job is None:
            raise UserError(f"There is no job {job_id[:8]} in {self.settings.workspace}; choose one from the list.")
        return job


def _clip_bytes(request: GenerationRequest) -> int:
    """What a clip of noise may take; usual ones are far smaller."""
    return request.width * request.height * request.num_frames
