"""The composition root: wires the rooms together, for the page, the command line and the tests alike. No torch here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from PIL import Image

from wan_pipeline import presets
from wan_pipeline.clips import images
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.naming import check_output, clip_name
from wan_pipeline.database import Database
from wan_pipeline.database_care import Backups, make_sound
from wan_pipeline.engine.progress import Observer
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.jobs.estimate import Estimate, estimate
from wan_pipeline.jobs.job import Finished, Job, JobState
from wan_pipeline.jobs.locks import WorkspaceLocks
from wan_pipeline.jobs.store import JobStore
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.lora.check import check_fits
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.storage import check_room, check_writable, whole_file

LEARN_FROM = 20
"""Clips that the time estimate looks back on."""


class Studio:
    """One workspace, its models, presets and LoRAs, and its jobs. Any number may be open on one workspace."""

    def __init__(self, settings: Settings) -> None:
        """Raises PresetError for a bad preset file, StorageError for a workspace that cannot be used."""
        for folder in settings.written:
            check_writable(folder)
        self.settings = settings
        self.models = ModelLibrary(settings)
        self.presets = presets.load_presets(settings.presets)
        self.loras = LoraLibrary(settings.loras)
        self.notices = make_sound(settings.database)
        """What was put right when the workspace was opened, one sentence each, for the person."""
        self.queue = JobStore(settings.database)
        self.gallery = Gallery(Database(settings.database), settings.clips)
        self._supervisor = Supervisor(settings, self.queue, WorkspaceLocks(settings.workspace))
        self._is_started = False

    def start(self) -> None:
        """Begin to work jobs off, in a process of its own. To be called by an app, once."""
        self._back_up()
        self._supervisor.start()
        self._is_started = True

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
        model = self.models.find(draft.model or registry.DEFAULT_MODEL)
        request = self._request(draft, model.spec)
        for lora in request.loras:
            check_fits(self.loras.path(lora.name), model)
        if draft.image is None:
            return request
        return replace(request, image=images.ingest(draft.image, self.settings.inputs).sha256)

    def estimate(self, draft: Draft) -> Estimate:
        """How long `submit` would take to give a clip, without reading images or LoRAs. Raises UserError."""
        spec = registry.find(draft.model or registry.DEFAULT_MODEL)
        request = self._request(replace(draft, prompt="of any length", negative_prompt=None, loras=()), spec)
        return estimate(request, spec, self.queue.finished(spec.id, LEARN_FROM), len(self.queue.active()))

    # Jobs

    def submit(self, draft: Draft) -> str:
        """Put a clip in the queue and give its job id at once. Raises UserError."""
        request = self.resolve(draft)
        check_room(self.settings.clips, _clip_bytes(request))
        job_id = self.queue.submit(request)
        self._supervisor.wake()
        return job_id

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
        return self.draft_of_request(self._existing(job_id).request)

    def draft_of_request(self, request: GenerationRequest) -> Draft:
        """A draft that resolves to this request again, though its style be gone from the presets."""
        known = request.preset in self.presets
        return Draft(
            prompt=request.prompt if known or request.preset is None else request.styled_prompt,
            image=self.settings.inputs / f"{request.image}.png" if request.image else None,
            model=request.model,
            preset=request.preset if known else None,
            negative_prompt=request.negative_prompt,
            seed=request.seed,
            width=request.width,
            height=request.height,
            num_frames=request.num_frames,
            fps=request.fps,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            flow_shift=request.flow_shift,
            scheduler=request.scheduler,
            loras=tuple(LoraChoice(lora.name, lora.weight) for lora in request.loras),
        )

    # The command line's way

    def render_now(self, draft: Draft, output: Path | None, observer: Observer) -> Finished:
        """Make a clip in this process and give it when it lies at `output`, or among the workspace's clips.

        Raises UserError before any weights are loaded, and GenerationError or Cancelled from the engine.
        """
        request = self.resolve(draft)
        clip = output or self.settings.clips / clip_name(request, datetime.now(UTC), uuid4().hex)
        check_output(clip)
        check_room(clip.parent, _clip_bytes(request))
        from wan_pipeline.engine.engine import Engine  # here: torch takes seconds, and errors above need not wait
        from wan_pipeline.jobs.render import make_clip

        engine = Engine(self.settings)
        try:
            return make_clip(engine, request, observer, clip)
        finally:
            engine.close()

    def _request(self, draft: Draft, spec: ModelSpec) -> GenerationRequest:
        """Whole but for its image, of which only the header is read: nothing is written before all else is right."""
        preset = presets.find_preset(self.presets, draft.preset) if draft.preset else None
        size = images.measure(draft.image) if draft.image else None
        return presets.resolve(draft, spec, preset, "pending" if size else None, size)

    def _back_up(self) -> None:
        try:
            Backups(self.settings.database).keep()
        except StorageError as error:
            self.notices.append(f"The database could not be backed up: {error}")

    def _existing(self, job_id: str) -> Job:
        job = self.queue.job(job_id)
        if job is None:
            raise UserError(f"There is no job {job_id[:8]} in {self.settings.workspace}; choose one from the list.")
        return job


def _clip_bytes(request: GenerationRequest) -> int:
    """What a clip of noise may take; usual ones are far smaller."""
    return request.width * request.height * request.num_frames
