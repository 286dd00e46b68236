"""The composition root: builds the rooms of one workspace and wires them together. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from types import TracebackType
from uuid import uuid4

from PIL import Image

from wan_pipeline.access.keys import Keys
from wan_pipeline.clips.comments import Comments
from wan_pipeline.clips.copies import copy_clip
from wan_pipeline.clips.files import name_in
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.clips.naming import check_output, clip_bytes, clip_name
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.clips.share import make_share_copy
from wan_pipeline.errors import LookingOnError, LoraError, StorageError, UserError
from wan_pipeline.jobs.background.clip_work import ClipWorks
from wan_pipeline.jobs.background.dataset_checks import DatasetChecks
from wan_pipeline.jobs.background.exports import BackgroundExports
from wan_pipeline.jobs.background.style_pictures import StylePictures
from wan_pipeline.jobs.background.transfers import Transfers
from wan_pipeline.jobs.background.verifications import Verifications
from wan_pipeline.jobs.background.verify import Verdict, verify
from wan_pipeline.jobs.editor import QueueEditor
from wan_pipeline.jobs.estimator import Estimator
from wan_pipeline.jobs.job import UNFINISHED, Finished, JobState, NewJob
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.training.forecast import TrainingEstimator
from wan_pipeline.jobs.training.keeper import TrainerKeeper
from wan_pipeline.jobs.training.trainings import Trainings
from wan_pipeline.jobs.worker_queue import WorkerQueue
from wan_pipeline.lora.experts import Expert
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.incoming import add_file
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.lora.notes import LoraNotes
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.progress import Observer
from wan_pipeline.projects.bundles import Bundles
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.contact_sheets import ContactSheets
from wan_pipeline.projects.cut.cuts import Cuts
from wan_pipeline.projects.cut.takes import picked_takes
from wan_pipeline.projects.reviews import Reviews
from wan_pipeline.projects.shots.finals import Finals
from wan_pipeline.projects.shots.grids import Grids
from wan_pipeline.projects.shots.lists import shots_of_rows
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.shots.takes import Takes
from wan_pipeline.projects.store import Projects
from wan_pipeline.projects.styles import style_from, write_style
from wan_pipeline.requests.layers import settled, with_none_read
from wan_pipeline.requests.limits import check_project
from wan_pipeline.requests.lists.clips import Row
from wan_pipeline.requests.lists.files import (
    MAX_ROWS,
    CheckedList,
    QueueFile,
    check_rows,
    read_queue_file,
    write_queue_file,
)
from wan_pipeline.requests.once import once_each
from wan_pipeline.requests.presets import Preset, preset_folder
from wan_pipeline.requests.recover import Recovered, recover
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.requests.speeds import speed_folder
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups, repair_if_corrupt
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import check_room, check_writable, whole_file
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.trainer.dataset.library import Datasets

LOOKING_ON = (
    "Another Wan Studio opened this workspace first, and only there can its clips, queue, models and links be changed. "
    "Do it there; or close that one, and this one takes over."
)

Supervise = Callable[[Settings, JobReader, WorkerQueue, WorkspaceLocks], Supervisor]


class Studio:
    """One workspace. Any number of studios may be open on it, in any number of processes.

    Its rooms are attributes, each with one job; the methods here are what takes more than one room.
    """

    def __init__(self, settings: Settings, supervise: Supervise = Supervisor) -> None:
        """`supervise` makes the supervisor that keeps a worker running.

        Raises StorageError for a workspace that cannot be used. Bad preset files are left out, with a notice.
        """
        for folder in settings.written:
            check_writable(folder)
        self.settings = settings
        repairs = repair_if_corrupt(settings.database)
        database = Database(settings.database)

        self.models, self.loras = ModelLibrary(settings), LoraLibrary.of(settings)
        self.lora_catalog = LoraCatalog.of(settings, self.loras)
        self.presets = preset_folder(settings.presets, settings.own_presets)
        self.speeds = speed_folder(settings.presets / "speeds")
        self._notices = list(repairs)
        inputs = InputFiles(settings.inputs)
        self.requests = RequestResolver(self.models, self.presets, self.speeds, self.loras, inputs)
        check = self._check_main_app
        self.model_manager = ModelManager(settings, self.models, check_main_app=check)
        self.transfers = Transfers(settings, check)
        self.jobs = JobReader(database, settings)
        self.queue = QueueEditor(database, self.jobs, check)
        self.estimates = Estimator(settings, self.requests, self.jobs)
        self.gallery = Gallery(database, settings.clips, check)
        self.projects = Projects(settings.projects, check)
        self.project_clips = ProjectClips(self.projects, settings.clips)
        self.bundles = Bundles(settings, self.projects, self.gallery, self.requests, self.lora_catalog, check)
        self.shots = Shots(database, settings.clips, check)
        self.takes = Takes(self.shots, self.projects, self.project_clips, self.requests, self._submit)
        self.finals = Finals(self.shots, self.projects, self.project_clips, self.requests, self.gallery)
        self.contact_sheets = ContactSheets(self.shots, self.gallery)
        self.grids = Grids(database, self.projects, self.project_clips, self.requests, self.takes)
        self.cuts = Cuts(settings, self.projects, partial(picked_takes, self.shots, self.gallery))
        self.exports = BackgroundExports(settings, self.gallery, check)
        self.clip_works = ClipWorks(settings, self.gallery, check)
        self.comments = Comments(database)
        self.reviews = Reviews(database, self.shots, self.gallery, self.comments)
        self.lora_notes = LoraNotes(database, check)
        self.keys = Keys(database, check)
        self.verifications = Verifications(settings, check)
        self._style_pictures = StylePictures(settings)
        self.datasets, self.dataset_checks = Datasets(settings.datasets, check), DatasetChecks(settings)
        self.trainings = Trainings(database, settings, self.models, check)
        self.training_estimates = TrainingEstimator(settings, self.estimates)
        worker_queue = WorkerQueue(database, self.jobs)
        self._supervisor = supervise(settings, self.jobs, worker_queue, WorkspaceLocks(settings.workspace))
        self._supervisor.tasks.append(TrainerKeeper(settings, self.jobs, self.trainings).poll)
        self._is_started = False
        self._submitting = Lock()

    # Opening and closing

    def start(self) -> None:
        """Start to process the queue in a worker process. Call it once, from an app."""
        self._back_up()
        self.gallery.rescan()  # lists clips made elsewhere, by an older version, or after a restored backup
        self._supervisor.start()
        self._is_started = True
        self._draw_styles()

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

    @property
    def is_viewer(self) -> bool:
        """Whether another app opened this workspace first and supervises it."""
        return self._supervisor.is_viewer

    @property
    def notices(self) -> tuple[str, ...]:
        """What was repaired or left out when the workspace was opened, and since: one sentence each."""
        left_out = [self.gallery.notice] if self.gallery.notice else []
        bad_files = (*self.presets.current().problems, *self.speeds.current().problems, *self.projects.problems)
        return (*self._notices, *bad_files, *self.loras.notices, *left_out, *self._supervisor.notices)

    # Into the queue

    def submit(self, draft: Draft, project: str = "", *, deterministic: bool = False, profile: str = "") -> str:
        """Queue a clip and return its job id at once. Raises UserError.

        A project that does not exist is made. `profile` is its "draft" or "final".
        """
        return self.submit_many([draft], project, deterministic=deterministic, profile=profile)[0]

    def submit_for(
        self, made_by: str, draft: Draft, project: str, check_share: Callable[[GenerationRequest], None]
    ) -> str:
        """Queue a guest's clip, `made_by` the id of their key, if `check_share` raises nothing. Returns the job id.

        Between that look at what the guest has had and the new job no other guest's comes in by this app. Raises
        UserError.
        """
        check_project(project)
        project = self.projects.label(project)
        batch = self.requests.batch().within(self.projects.layers(project))
        request = batch.checker()(draft)
        self._check_room([request])
        check_share(request)  # before anything is kept
        stored = batch.with_files(request, draft)  # out of the lock: to save pictures takes its time
        with self._submitting:
            check_share(request)
            return self._queued([self.project_clips.job(stored, project, JobOptions(made_by=made_by))])[0]

    def submit_many(
        self, drafts: Sequence[Draft], project: str = "", *, deterministic: bool = False, profile: str = ""
    ) -> list[str]:
        """Queue clips, all or, when one is wrong, none. Raises UserError for the first that is."""
        batch = self.requests.batch().within(self.projects.layers(project, profile))
        requests = list(map(batch.checker(), drafts))
        label = self.projects.ensure(project)[0].label  # a draft with a fault makes no project
        make, options = self.project_clips.maker(label), JobOptions(deterministic=deterministic)
        jobs = [make(request, options) for request in requests]
        return self._submit(list(zip(drafts, jobs, strict=True)), batch)

    def edit(self, job_id: str, draft: Draft) -> None:
        """Give a waiting job other settings; it keeps its place and its project. Raises UserError."""
        job, shot = self.jobs.existing(job_id), self.shots.of_take(job_id)
        request = self.requests.within(self.projects.layers(job.project)).resolve(draft)
        self.queue.edit(job_id, request, self.project_clips.names(request, job.project, job.created_at, shot))

    def queue_again(self, job_id: str) -> str:
        """Queue the same request again, for its project and shot. Returns the new job's id.

        Raises UserError for an unknown or unreadable job.
        """
        job = self.jobs.existing(job_id)
        if job.request_error:
            raise UserError(job.request_error)
        options = JobOptions(job.note, job.deterministic, shot=self.shots.of_take(job_id))
        return self._queued([self.project_clips.job(job.request, job.project, options)])[0]

    def read_list(self, path: Path, *, own_disk: bool = False, project: str = "") -> CheckedList:
        """The clips of a spreadsheet, JSON or exported ZIP file, and a sentence for each row that cannot be queued.

        `own_disk`: rows may name pictures on this computer's disk; not for a page that others may open. `project` is
        for rows that name none. The result is to be closed, or used as a context manager: then pictures of a ZIP are
        removed. Raises UserError for a file that is no list.
        """
        folder = TemporaryDirectory(dir=self.settings.cache, prefix="import-")
        try:
            content = read_queue_file(path, Path(folder.name), own_disk=own_disk)
            return CheckedList(check_rows(content, self._checker(self.requests.batch()), project), folder)
        except BaseException:
            folder.cleanup()
            raise

    def submit_rows(
        self, content: QueueFile, *, skip_bad: bool = False, project: str = "", deterministic: bool = False
    ) -> list[str]:
        """Queue the clips of a list, which are checked again only for another project than they were.

        `project` is for rows that name none. Raises UserError, and queues nothing, if there are bad rows that are not
        to be skipped, or no good ones.
        """
        content.check(skip_bad)
        is_same = self.projects.label(content.project) == self.projects.label(project)
        batch = self.requests.batch()
        check = self._checker(batch)
        checked = []
        for row in content.rows:
            name = row.project or project
            request = row.request if row.request and (row.project or is_same) else check(row.draft, name)
            checked.append((row, name, request))
        # Each project is looked up once; a list with a fault makes none.
        labels = {name: self.projects.ensure(name)[0].label for name in {name for _, name, _ in checked}}
        makers = {name: self.project_clips.maker(label) for name, label in labels.items()}
        shots = shots_of_rows(content.rows, self.shots, labels, project, self.requests.pictures)
        jobs = []
        for row, name, request in checked:
            take = row.shot.take if row.shot else 0
            options = JobOptions(row.note, row.deterministic or deterministic, shot=shots.get(row.number), take=take)
            jobs.append((row.draft, makers[name](request, options)))
        return self._submit(jobs, batch)

    def export_queue(self, target: Path | None = None, project: str | None = None) -> Path:
        """Write all that runs, waits or is held to a file that `read_list` reads, and return its path.

        `project` leaves out the others. Without a target it goes to the cache, as ZIP if there are input pictures, else
        as JSONL. Raises UserError if not all of the queue can go into one file.
        """
        states = (*UNFINISHED, JobState.PAUSED)
        jobs = self.jobs.jobs(states, limit=MAX_ROWS + 1, project=project)
        if len(jobs) > MAX_ROWS:
            raise UserError(f"The queue has more than {MAX_ROWS:,} unfinished clips, and a list holds no more.")
        if unreadable := next((job for job in jobs if job.request_error), None):
            raise UserError(
                f"Clip {unreadable.id[:8]} of the queue cannot be exported; cancel it first. {unreadable.request_error}"
            )
        batch = self.requests.batch()  # presets are read once, not for each job
        shots = self.shots.rows_of(job.id for job in jobs)
        rows = [
            Row(
                number,
                settled(batch.draft_of(job.request)),
                job.project,
                job.note,
                job.deterministic,
                shots.get(job.id),
            )
            for number, job in enumerate(jobs, 1)
        ]
        ending = "zip" if any(row.draft.files for row in rows) else "jsonl"
        path = target or self.settings.cache / f"queue_{datetime.now().astimezone():%Y-%m-%d_%H%M}.{ending}"
        write_queue_file(rows, path)
        return path

    def work(self, on_tick: Callable[[], None]) -> None:
        """Process the queue until it is empty or paused, calling `on_tick` about once a second."""
        self._back_up()
        self._supervisor.work(on_tick)

    # Styles

    def save_preset(self, title: str, draft: Draft, project: str = "") -> Preset:
        """Save what a draft of a project has beside its prompt as a style of that project. Raises UserError.

        In an app its picture follows, as soon as the queue is idle.
        """
        self._check_main_app()
        style = style_from(title, draft, self.requests.within(self.projects.layers(project)))
        preset = replace(style, project=self.projects.label(project))
        write_style(preset, self.settings.own_presets)
        self._draw_styles()
        return preset

    def _draw_styles(self) -> None:
        """Draw the pictures that saved styles lack, in an app that supervises the queue."""
        if self._is_started and not self.is_viewer:
            try:
                self._style_pictures.start()
            except OSError as error:
                self._notices.append(f"The pictures of saved styles are not drawn: {error}.")

    # Back to the form

    def draft_of_job(self, job_id: str) -> Draft:
        """A draft that resolves to the job's request, whatever its project says now.

        Raises UserError for an unreadable job.
        """
        job = self.jobs.existing(job_id)
        if job.request_error:
            raise UserError(job.request_error)
        return with_none_read(settled(self.requests.draft_of(job.request)))

    def draft_of_clip(self, path: Path) -> Recovered:
        """The settings of any clip with a receipt, made here or elsewhere, and what of them is missing here.

        Raises ReceiptError or StorageError for a file without one.
        """
        return recover(load_receipt(path).request, self.requests)

    def draft_of_foreign_clip(self, path: Path) -> Draft | None:
        """The prompt and seed that another program noted in a clip; None if there are none. Raises StorageError."""
        from wan_pipeline.clips.foreign import read_foreign  # here: it brings in ffmpeg's wrapper
        from wan_pipeline.clips.read import read_tags

        return read_foreign(read_tags(path))

    def last_frame(self, clip: Path) -> Path:
        """The clip's last frame as a PNG in the cache, to go on from. Raises StorageError."""
        from wan_pipeline.clips.read import last_frame  # here: it brings in ffmpeg's wrapper

        path = self.settings.cache / f"{clip.stem}_{_hash_of_path(clip)}_last.png"
        with whole_file(path) as part:
            Image.fromarray(last_frame(clip)).save(part, format="PNG")
        return path

    def last_frame_of_job(self, job_id: str) -> Path:
        """As `last_frame`. Raises UserError for a job without a clip."""
        job = self.jobs.existing(job_id)
        if job.state is not JobState.DONE or job.clip is None:
            raise UserError(f"Job {job_id[:8]} is {job.state} and has no clip; choose a finished one.")
        return self.last_frame(job.clip)

    def share_copy(self, clip: Path) -> Path:
        """A copy in the cache to give away: without the receipt, and without the prompt in its name."""
        copy = self.settings.cache / "share" / f"clip_{_hash_of_path(clip)}.mp4"
        is_made = copy.is_file() and copy.stat().st_mtime >= clip.stat().st_mtime
        return copy if is_made else make_share_copy(clip, copy)

    # Files of its folders

    def add_lora(self, path: Path) -> str:
        """Check a LoRA file, copy it into the folder, and return its name. Raises UserError."""
        self._check_main_app()
        return add_file(path, self.loras, self.lora_catalog)

    def remember_lora_expert(self, path: Path, expert: Expert) -> None:
        """Note which expert a LoRA file is for, as a person says. Raises UserError."""
        self._check_main_app()
        try:
            self.loras.remember_expert(self.lora_catalog.sha256(path), expert)
        except OSError as error:
            raise LoraError(f"LoRA '{path.stem}' cannot be read: {error}; download or export it again.") from error

    # In this process, without the queue

    def render_now(
        self,
        draft: Draft,
        output: Path | None,
        observer: Observer,
        *,
        strip_metadata: bool = False,
        deterministic: bool = False,
        project: str = "",
        profile: str = "",
    ) -> Finished:
        """Render a clip in this process, to `output` or into the workspace's clips.

        `strip_metadata` leaves the receipt out of the MP4 and writes it only beside it. `deterministic` renders in
        deterministic mode. A `project` that does not exist is made; `profile` is its "draft" or "final". Raises
        UserError before any weights are loaded, and GenerationError or Cancelled from the engine.
        """
        request = self.requests.within(self.projects.layers(project, profile)).resolve(draft)
        label = self.projects.ensure(project)[0].label  # a draft with a fault makes no project
        job = self.project_clips.job(request, label)
        with self._output(job, output) as clip:
            check_room(clip.parent, clip_bytes(request))
            from wan_pipeline.engine.engine import Engine  # here: torch takes seconds to import
            from wan_pipeline.jobs.worker.render import Label, make_clip

            about = Label(project=label, strip_metadata=strip_metadata)
            with Engine(self.settings, deterministic=deterministic) as engine:
                finished = make_clip(engine, request, observer, clip, about)
        name = clip.name if output else name_in(self.settings.clips, clip)
        return replace(finished, warnings=(*finished.warnings, *copy_clip(clip, name, job.output)))

    def verify_now(self, clip: Path, observer: Observer, deterministic: bool = False) -> Verdict:
        """Render a clip again in this process and compare. Raises UserError, and what the engine raises."""
        return verify(clip, self.settings, observer, deterministic=deterministic)

    @contextmanager
    def _output(self, job: NewJob, output: Path | None) -> Iterator[Path]:
        """Where a clip made without the queue goes; by its project's template, under a name reserved meanwhile."""
        folder, reserved = self.settings.clips, None
        if output is None and job.names:
            reserved = self.queue.reserve_clip(job.names, job.project, folder)
        clip = output or reserved or folder / clip_name(job.request, datetime.now(UTC), uuid4().hex)
        try:
            if clip != reserved:
                check_output(clip)
            yield clip
        finally:
            if reserved and reserved.is_file() and not reserved.stat().st_size:
                reserved.unlink()

    def _submit(self, clips: Sequence[tuple[Draft, NewJob]], batch: RequestResolver) -> list[str]:
        """Queue clips that have been checked. `batch` saves their files."""
        self._check_room([job.request for _, job in clips])
        return self._queued([job._replace(request=batch.with_files(job.request, draft)) for draft, job in clips])

    def _checker(self, batch: RequestResolver) -> Callable[[Draft, str], GenerationRequest]:
        """Checks drafts of any project."""
        of_project = once_each(lambda name: batch.within(self.projects.layers(name)).checker())
        return lambda draft, project: of_project(project)(draft)

    def _check_room(self, requests: Sequence[GenerationRequest]) -> None:
        """Raises DiskFullError where not even the largest of the clips would fit."""
        check_room(self.settings.clips, max(map(clip_bytes, requests), default=0))

    def _queued(self, jobs: Sequence[NewJob]) -> list[str]:
        ids = self.queue.submit_many(jobs)
        crash_point(CrashPoint.SUBMITTED)
        self._supervisor.wake()
        if len(ids) > 1:
            self._back_up()  # a list is worth a backup at once
        return ids

    def _check_main_app(self) -> None:
        if self.is_viewer:
            raise LookingOnError(LOOKING_ON)

    def _back_up(self) -> None:
        try:
            Backups(self.settings.database).backup()
        except StorageError as error:
            notice = f"The database could not be backed up: {error}"
            if notice not in self._notices:
                self._notices.append(notice)


def _hash_of_path(clip: Path) -> str:
    """32 hex digits of the whole path: clips in different folders may have the same name."""
    return hashlib.sha256(str(clip.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
