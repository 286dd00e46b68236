"""Before the click: whether a clip fits this machine's memory, and how long it and the queue will take. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wan_pipeline.errors import GenerationError
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.jobs.throughput import Estimate, Throughput, after, estimate_many
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.planning.choice import Chooser, plan_of
from wan_pipeline.planning.costs import GIB, Geometry
from wan_pipeline.planning.hardware import Hardware, kept
from wan_pipeline.planning.planner import Plan
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.wording import duration

LEARN_FROM = 20
"""Clips that the time estimate looks back on."""


class Estimator:
    """What can be told of clips that are not made yet, by what the worker has found out about this machine."""

    def __init__(self, settings: Settings, models: ModelLibrary, requests: RequestResolver, jobs: JobReader) -> None:
        self._settings = settings
        self._models = models
        self._requests = requests
        self._jobs = jobs

    def of_draft(self, draft: Draft) -> Estimate:
        """As `of_clip`, without reading pictures or LoRAs; the prompt may be empty. Raises UserError."""
        return self.of_clip(self._requests.request(replace(draft, prompt="-", negative_prompt=None, loras=())))

    def of_drafts(self, drafts: Sequence[Draft]) -> Estimate:
        """As `of_clips`. Raises UserError for the first draft that is wrong."""
        return self.of_clips([self._requests.request(draft) for draft in drafts])

    def of_clip(self, request: GenerationRequest) -> Estimate:
        """For example: fits: 4.8 of 8.0 GB, about 4 min, after 2 other clips."""
        hardware = kept(self._settings.cache)
        seconds, ahead = self.pace(request.model, hardware).seconds(request), self._jobs.unfinished()
        time = f"about {duration(seconds)}{after(ahead)}"
        if hardware is None:
            return Estimate(seconds, ahead, time)
        try:
            plan = Chooser(self._settings).choose(request, self._models.spec(request.model), hardware.machine)
        except GenerationError as error:  # the settings name no plan that there is
            return Estimate(seconds, ahead, str(error), fits=False)
        fit = self._fit(plan, hardware)
        return Estimate(seconds, ahead, f"{fit}, {time}" if fit and plan.fits else fit or time, fits=plan.fits)

    def of_clips(self, requests: Sequence[GenerationRequest]) -> Estimate:
        """For example: 12 clips, about 4 min."""
        hardware = kept(self._settings.cache)
        paces = {model: self.pace(model, hardware) for model in {request.model for request in requests}}
        return estimate_many(requests, paces, self._jobs.unfinished())

    def of_model(self, model_id: str) -> str | None:
        """A model at its own settings: "fits: 4.8 of 8.0 GB, about 4 min at 832 x 480"; None while nothing is known.

        Raises ModelError for an unknown id.
        """
        spec, hardware = self._models.spec(model_id), kept(self._settings.cache)
        if hardware is None or spec.missing or spec.availability is Availability.ANNOUNCED:
            return None
        size, passes = spec.sizes[0], spec.num_inference_steps * (2 if spec.guidance_scale > 1 else 1)
        clip = Geometry(size.width, size.height, spec.num_frames, passes)
        room, settings = Chooser(self._settings).room(hardware.machine), self._settings
        try:
            plan = plan_of(settings.plan, spec, clip, room, None, compiled=settings.compiled)
        except GenerationError as error:
            return str(error)
        fit = self._fit(plan, hardware)
        if not plan.fits:
            return f"does not fit: {plan.reason[:1].lower()}{plan.reason[1:]}"
        return f"{f'{fit}, ' if fit else ''}about {duration(plan.forecast.seconds)} at {size.width} x {size.height}"

    def queue_seconds(self) -> float:
        """Until all that runs or waits will be done. Clips of unknown models count as nothing: they will fail."""
        known, hardware = self._models.specs(), kept(self._settings.cache)
        jobs = [job for job in self._jobs.active() if job.request.model in known]
        paces = {model: self.pace(model, hardware) for model in {job.request.model for job in jobs}}
        return sum(paces[job.request.model].seconds_left(job) for job in jobs)

    def pace(self, model: str, hardware: Hardware | None) -> Throughput:
        """Raises ModelError for an unknown model."""
        spec: ModelSpec = self._models.spec(model)
        machine = hardware.machine if hardware and hardware.device != "cpu" else None
        return Throughput.learnt(spec, self._jobs.finished(model, LEARN_FROM), machine)

    def _fit(self, plan: Plan, hardware: Hardware) -> str:
        """Nothing where a CPU has memory enough: there is nothing to decide."""
        if not plan.fits:
            return plan.reason
        if hardware.device == "cpu":
            return ""
        limit = min(hardware.vram_total / GIB, self._settings.memory_limit or hardware.vram_total / GIB)
        return f"fits: {plan.forecast.peak_vram / GIB:.1f} of {limit:.1f} GB"
