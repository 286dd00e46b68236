"""The composition root: builds the rooms of one workspace and wires them together. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType

from wan_pipeline.access.keys import DEFAULT_EXPIRY, Key, Keys
from wan_pipeline.access.roles import Role
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.gallery.comments import Comments
from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.errors import LookingOnError, StorageError
from wan_pipeline.jobs.background.captions import CaptionWriter
from wan_pipeline.jobs.background.dataset_checks import DatasetChecks
from wan_pipeline.jobs.background.enhancer import Enhancer
from wan_pipeline.jobs.background.exports import BackgroundExports
from wan_pipeline.jobs.background.transfers import Transfers
from wan_pipeline.jobs.background.verifications import Verifications
from wan_pipeline.jobs.clip_works.works import ClipWorks
from wan_pipeline.jobs.estimates.estimator import Estimator
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.table.editor import QueueEditor
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.training.forecast import TrainingEstimator
from wan_pipeline.jobs.training.supervisor import TrainerSupervisor
from wan_pipeline.jobs.training.trainings import Trainings
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.incoming import LoraFiles
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.lora.notes import LoraNotes
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.projects.bundles.bundles import Bundles
from wan_pipeline.projects.bundles.notes import BundledNotes
from wan_pipeline.projects.characters import ProjectCharacters
from wan_pipeline.projects.checkpoint_grids import CheckpointGrids
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.contact_sheets import ContactSheets
from wan_pipeline.projects.cut.background import CutExports
from wan_pipeline.projects.cut.cuts import Cuts
from wan_pipeline.projects.cut.takes import clips_of
from wan_pipeline.projects.moving import ClipMoves
from wan_pipeline.projects.reviews import Reviews
from wan_pipeline.projects.shots.bundled import BundledShots
from wan_pipeline.projects.shots.clip_names import ClipNames
from wan_pipeline.projects.shots.finals import Finals
from wan_pipeline.projects.shots.grids import Grids
from wan_pipeline.projects.shots.renumbering import Renumbering
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.shots.takes import Takes
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.presets import preset_folder
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.requests.sampling.speeds import speed_folder
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups, repair_if_corrupt
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import check_writable
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio.derived import DerivedFiles
from wan_pipeline.studio.drafts import Drafts
from wan_pipeline.studio.in_process import InProcess
from wan_pipeline.studio.keys_of_projects import name_as_folders, project_of_key
from wan_pipeline.studio.lists import QueueLists
from wan_pipeline.studio.styles import Styles
from wan_pipeline.studio.submissions import CheckShare, Submissions
from wan_pipeline.trainer.dataset.library import Datasets

LOOKING_ON = (
    "Another Wan Studio opened this workspace first, and only there can its clips, queue, models and links be changed. "
    "Do it there; or close that one, and this one takes over."
)

Supervise = Callable[[Settings, JobReader, WorkerQueue, WorkspaceLocks], Supervisor]


class Studio:
    """One workspace. Any number of studios may be open on it, in any number of processes.

    Its rooms are attributes, each with one job. The methods here open and close it, and queue clips.
    """

    def __init__(self, settings: Settings, supervise: Supervise = Supervisor) -> None:
        """`supervise` makes the supervisor that keeps a worker running.

        Raises StorageError for a workspace that cannot be used. Bad preset files are left out, with a notice.
        """
        for folder in settings.written:
            check_writable(folder)
        self.settings = settings
        self._notices = list(repair_if_corrupt(settings.database))
        self._database = Database.create(settings.database)
        self._is_started = False
        self._build_library()
        self._build_queue()
        self._build_projects()
        self._build_films()
        self._build_training()
        worker_queue = WorkerQueue(self._database, self.jobs)
        self._supervisor = supervise(settings, self.jobs, worker_queue, WorkspaceLocks(settings.workspace))
        trainer = TrainerSupervisor(settings, self.jobs, self.trainings)
        self._supervisor.tasks += [trainer.poll, self.clip_works.poll]

    def _build_library(self) -> None:
        """Models, LoRAs and presets, and how a draft becomes a request."""
        settings, check = self.settings, self._check_main_app
        self.models, self.loras = ModelLibrary(settings), LoraLibrary.of(settings)
        self.model_manager = ModelManager(settings, self.models, check_main_app=check)
        self.transfers = Transfers(settings, check)
        self.lora_catalog = LoraCatalog.of(settings, self.loras)
        self.lora_files = LoraFiles(self.loras, self.lora_catalog, check)
        self.lora_notes = LoraNotes(self._database, check)
        self.presets = preset_folder(settings.presets, settings.own_presets)
        self.speeds = speed_folder(settings.presets / "speeds")
        inputs = InputFiles(settings.inputs)
        self.requests = RequestResolver(self.models, self.presets, self.speeds, self.loras, inputs)
        self.enhancer = Enhancer(settings)

    def _build_queue(self) -> None:
        """The queue, the gallery, and what works on their clips."""
        settings, check = self.settings, self._check_main_app
        self.jobs = JobReader(self._database, settings)
        self.queue = QueueEditor(self._database, self.jobs, check)
        self.estimates = Estimator(settings, self.requests, self.jobs)
        self.gallery = Gallery(self._database, settings.clips, check)
        self.comments = Comments(self._database)
        self.keys = Keys(self._database, check)
        self.drafts, self.derived = Drafts(self.jobs, self.requests), DerivedFiles(settings.cache, self.jobs)
        self.verifications = Verifications(settings, check)
        self.exports = BackgroundExports(settings, self.gallery, check)
        self.clip_works = ClipWorks(self._database, settings, self.gallery, check)

    def _build_projects(self) -> None:
        """Projects, and what is made for one."""
        settings, check = self.settings, self._check_main_app
        self.projects = Projects(settings.projects, check)
        self.characters = ProjectCharacters(self.projects, self.requests.pictures)
        self.project_clips = ProjectClips(self.projects, settings.clips)
        self.moves = ClipMoves(self._database, self.gallery, check)
        self.shots = Shots(self._database, settings.clips, check)
        self.bundles = Bundles(
            *(settings, self.projects, self.gallery, self.requests, self.lora_catalog),
            BundledShots(self._database, self.shots, self.gallery),
            *(BundledNotes(self._database, self.comments), check),
        )
        self.styles = Styles(settings, self.requests, self.projects, self._draws_styles, check)
        self.in_process = InProcess(settings, self.requests, self.projects, self.project_clips, self.queue)

    def _build_films(self) -> None:
        """Shots and their takes, and what is made of them."""
        database, projects, clips, requests = self._database, self.projects, self.project_clips, self.requests
        self._submissions = Submissions(
            *(self.settings.clips, requests, self.jobs, self.queue, projects, clips, self.shots, self._on_queued)
        )
        submit = self._submissions.submit_checked
        self.takes = Takes(self.shots, projects, clips, requests, submit)
        self.finals = Finals(self.shots, projects, clips, requests, self.gallery)
        self.contact_sheets = ContactSheets(self.shots, self.gallery)
        self.grids = Grids(database, projects, clips, requests, self.takes)
        self.cuts = Cuts(self.settings, projects, clips_of(self.shots, self.gallery, self.comments))
        self.renumbering = Renumbering(
            *(ClipNames(database, self.settings.clips), self.shots, projects, clips),
            *(self.gallery, self.jobs, self.queue, self.cuts),
        )
        self.cut_exports = CutExports(self.settings, self._check_main_app)
        self.reviews = Reviews(database, self.shots, self.gallery, self.comments)
        self.lists = QueueLists(self.settings.cache, requests, self.jobs, projects, clips, self.shots, submit=submit)

    def _build_training(self) -> None:
        settings, check = self.settings, self._check_main_app
        self.datasets, self.captions = Datasets(settings.datasets, check), CaptionWriter(settings, check)
        self.dataset_checks = DatasetChecks(settings)
        self.trainings = Trainings(self._database, settings, self.models, check)
        queueing = self.projects, self.project_clips, self.requests, self.takes, self.gallery
        self.checkpoint_grids = CheckpointGrids(settings, self._database, *queueing, check)
        self.training_estimates = TrainingEstimator(settings, self.estimates)

    # Opening and closing

    def start(self) -> None:
        """Start to process the queue in a worker process. Call it once, from an app."""
        self._back_up()
        self.gallery.rescan()  # lists clips made elsewhere, by an older version, or after a restored backup
        name_as_folders(self.keys, self.projects)
        self._supervisor.start()
        self._is_started = True
        self.styles.draw_missing()

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
        found = (*self._notices, *self.styles.problems, *bad_files)
        return (*found, *self.loras.notices, *left_out, *self._supervisor.notices)

    def work(self, on_tick: Callable[[], None]) -> None:
        """Process the queue until it is empty or paused, calling `on_tick` about once a second."""
        self._back_up()
        self._supervisor.work(on_tick)

    # Into the queue

    def submit(self, draft: Draft, project: str = "", *, deterministic: bool = False, profile: str = "") -> str:
        """Queue a clip and return its job id at once. Raises UserError.

        A project that does not exist is made. `profile` is its "draft" or "final".
        """
        return self.submit_many([draft], project, deterministic=deterministic, profile=profile)[0]

    def submit_for(self, draft: Draft, project: str, options: JobOptions, check: CheckShare, profile: str = "") -> str:
        """Queue a guest's clip, whose key the options name, if `check` raises nothing. Returns the job id.

        Between that check of what the guest has had and the new job, this app queues no other guest's clip. Raises
        UserError.
        """
        return self._submissions.submit_for(draft, project, options, check, profile)

    def submit_many(
        self, drafts: Sequence[Draft], project: str = "", *, deterministic: bool = False, profile: str = ""
    ) -> list[str]:
        """Queue clips, all or, when one is wrong, none. Raises UserError for the first that is."""
        return self._submissions.submit_many(drafts, project, deterministic=deterministic, profile=profile)

    def edit(self, job_id: str, draft: Draft) -> None:
        """Give a waiting job other settings; it keeps its place and its project. Raises UserError."""
        self._submissions.edit(job_id, draft)

    def queue_again(self, job_id: str) -> str:
        """Queue the same request again, for its project and shot. Returns the new job's id.

        Raises UserError for an unknown or unreadable job.
        """
        return self._submissions.queue_again(job_id)

    # Guests

    def create_key(
        self,
        role: Role,
        project: str = "",
        expires: timedelta | None = DEFAULT_EXPIRY,
        max_clips: int | None = None,
    ) -> tuple[str, Key]:
        """Make a guest's key for a project, which is made where there is none, or without a name for the whole studio.

        Returns the secret, which is shown this once, and its record. Raises UserError for the default project.
        """
        self._check_main_app()
        return self.keys.create(role, project_of_key(self.projects, project), expires, max_clips)

    # Used by the rooms

    def _check_main_app(self) -> None:
        if self.is_viewer:
            raise LookingOnError(LOOKING_ON)

    def _on_queued(self, count: int) -> None:
        self._supervisor.wake()
        if count > 1:
            self._back_up()  # a list is worth a backup at once

    def _draws_styles(self) -> bool:
        return self._is_started and not self.is_viewer

    def _back_up(self) -> None:
        try:
            Backups(self.settings.database).backup()
        except StorageError as error:
            notice = f"The database could not be backed up: {error}"
            if notice not in self._notices:
                self._notices.append(notice)
