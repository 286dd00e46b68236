"""Estimates clips before they are made: whether they fit this machine's memory, and how long they take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from wan_pipeline.errors import GenerationError
from wan_pipeline.jobs.estimates.cpu_load import CpuLoad
from wan_pipeline.jobs.estimates.throughput import Throughput
from wan_pipeline.jobs.job import Job
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.planning.devices import ONE_DEVICE, Devices
from wan_pipeline.planning.forecast import Forecast
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.hardware import Hardware, load_hardware
from wan_pipeline.planning.machine import GIB, Machine, without_device
from wan_pipeline.planning.planner import Planner
from wan_pipeline.planning.selection import select_plan
from wan_pipeline.progress import Stage
from wan_pipeline.requests.layers import NO_LAYERS, Layers
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.wording import after_other_clips, duration, lower_first, plural

LEARN_FROM = 5
"""Newest finished jobs of a model that its throughput is learned from: few, so that it follows the machine."""
BUSY = "; other programs keep this machine busy, so it may take longer"


@dataclass(frozen=True)
class Estimate:
    """A sentence for the user, and the numbers in it."""

    text: str
    """For example: fits: 4.8 of 8.0 GB, about 4 min, after 2 other clips."""
    seconds: float
    """For these clips alone, without those ahead in the queue."""
    fits: bool = True
    """Whether the clip fits the machine's memory, as far as is known."""
    forecast: Forecast | None = None
    """The forecast behind a single clip's estimate; None until the machine's hardware is known."""


class Estimator:
    """Estimates clips by the hardware that the worker stored and the jobs that have finished here."""

    def __init__(
        self, settings: Settings, requests: RequestResolver, jobs: JobReader, load: CpuLoad | None = None
    ) -> None:
        self._load = load or CpuLoad()
        self._locks = WorkspaceLocks(settings.workspace)
        self._settings = settings
        self._requests = requests
        self._models = requests.models
        self._planner = Planner(settings, requests.loras)
        self._jobs = jobs

    def of_draft(self, draft: Draft, layers: Layers = NO_LAYERS) -> Estimate:
        """For what the form holds; any prompt will do, and images and LoRAs are not read. Raises UserError.

        `layers` are those of the project that the clip is for.
        """
        timed = replace(draft, prompt="any", negative_prompt=None)
        return self.of_request(self._requests.within(layers).resolve_settings(timed))

    def of_drafts(self, drafts: Sequence[Draft], layers: Layers = NO_LAYERS) -> Estimate:
        """For example: 12 clips, about 4 min. Raises UserError for the first draft that is wrong."""
        requests = self._requests.within(layers)
        return self.of_requests([requests.resolve_settings(draft) for draft in drafts])

    def of_request(self, request: GenerationRequest) -> Estimate:
        """For example: fits: 4.8 of 8.0 GB, about 4 min, after 2 other clips. Raises ModelError."""
        hardware = self._hardware()
        suffix = after_other_clips(self._ahead()) + self._busy(hardware)
        return self._estimate(request, hardware, suffix)

    def of_requests(self, requests: Sequence[GenerationRequest]) -> Estimate:
        """For clips that the workers make when all that run or wait are done. Raises ModelError."""
        models = {request.model for request in requests}
        throughputs = self._throughputs(self._models.spec(model_id) for model_id in models)
        hardware = self._hardware() if len(requests) == 1 else None  # several are shared out, a GPU each
        seconds = self._shared(
            [throughputs[request.model].seconds(request, self._devices(request, hardware)) for request in requests]
        )
        seconds += self._seconds_before(*throughputs.values())
        text = f"{plural(len(requests), 'clip')}, about {duration(seconds)}{after_other_clips(self._ahead())}"
        return Estimate(text, seconds)

    def of_model(self, model_id: str) -> Estimate | None:
        """For the model's own clip: fits: 4.8 of 8.0 GB, about 4 min at 832 x 480. None while nothing is known.

        Raises ModelError for an unknown id.
        """
        spec, hardware = self._models.spec(model_id), self._hardware()
        if spec.missing or spec.availability is Availability.ANNOUNCED or hardware is None:
            return None
        request = own_request(spec)
        found = self._estimate(request, hardware, f" at {request.width} x {request.height}")
        if found.forecast is not None and not found.fits:
            return replace(found, text=f"does not fit: {lower_first(found.forecast.reason)}")
        return found

    def queue_seconds(self) -> float:
        """Until all running and waiting jobs are done. Jobs of unknown models count nothing, for they will fail."""
        known = self._models.specs()
        jobs = [job for job in self._jobs.active() if job.request.model in known]
        throughputs = self._throughputs(known[model_id] for model_id in {job.request.model for job in jobs})
        return self._shared([throughputs[job.request.model].seconds_left(job) for job in jobs])

    def seconds_left(self, job: Job) -> float | None:
        """Until a running job is done; None for a model that is not known here, or before anything is known of it."""
        spec = self._models.specs().get(job.request.model)
        if spec is None or (job.stage is Stage.DENOISING and job.eta_seconds is None):
            return None
        return self._throughput(spec, self._hardware()).seconds_left(job)

    def seconds(self, request: GenerationRequest) -> float:
        """How long a clip takes: the one number that page, command line and API show. Raises ModelError."""
        hardware = self._hardware()
        return self._seconds(request, hardware, self._devices(request, hardware))

    def _seconds(
        self, request: GenerationRequest, hardware: Hardware | None, devices: Devices, own: Forecast | None = None
    ) -> float:
        """On so many devices. `own` is the forecast of the model's own clip, if it is known."""
        throughput = self._throughput(self._models.spec(request.model), hardware, own)
        return throughput.seconds(request, devices) + self._seconds_before(throughput)

    def _devices(self, request: GenerationRequest, hardware: Hardware | None) -> Devices:
        """The devices that share a clip that is queued now: two where it is alone and the planner says so."""
        if hardware is None or not self._machine(hardware).second:
            return ONE_DEVICE
        try:
            return self._planner.choose(request, self._models.spec(request.model), self._machine(hardware)).plan.devices
        except GenerationError:  # the settings name no plan: `_estimate` reports it
            return ONE_DEVICE

    def _seconds_before(self, *models: Throughput) -> float:
        """What clips of these models wait for: the worker's start, and loading. Jobs ahead of them wait instead."""
        if self._ahead():
            return 0.0
        states = {slot: self._jobs.queue_state(slot) for slot in self._settings.slots}
        ready = [state for slot, state in states.items() if state.is_ready and self._locks.worker_is_alive(slot)]
        start = 0.0 if ready else median(states[0].worker_starts or (0.0,))
        loaded = {state.loaded for state in ready}
        absent = [model for model in models if model.spec.id not in loaded]
        return start + sum(model.first_loading - model.loading for model in absent)

    def _ahead(self) -> int:
        """How many clips end before a new one begins."""
        return max(self._jobs.unfinished() - len(self._settings.slots) + 1, 0)

    def _shared(self, seconds: Sequence[float]) -> float:
        """Until the workers have made clips that take so long each: an equal part, and the longest at least."""
        workers = min(len(self._settings.slots), len(seconds))
        return max(sum(seconds) / workers, *seconds) if seconds else 0.0

    def _estimate(self, request: GenerationRequest, hardware: Hardware | None, suffix: str) -> Estimate:
        """One clip by itself. `suffix` ends the sentence about its time."""
        spec, forecast, error = self._models.spec(request.model), None, ""
        if hardware is not None:
            try:
                forecast = self._planner.choose(request, spec, self._machine(hardware))
            except GenerationError as wrong:  # the settings name no plan
                error = str(wrong)
        own = forecast if request == own_request(spec) else None
        is_alone = hardware is not None and self._machine(hardware).second > 0
        devices = forecast.plan.devices if forecast is not None and is_alone else ONE_DEVICE
        seconds = self._seconds(request, hardware, devices, own)
        time = f"about {duration(seconds)}{suffix}"
        if error:
            return Estimate(error, seconds, fits=False)
        if hardware is None or forecast is None:
            return Estimate(time, seconds)
        if not forecast.fits:
            return Estimate(forecast.reason, seconds, fits=False, forecast=forecast)
        memory = self._memory(forecast, hardware)
        return Estimate(f"{memory}, {time}" if memory else time, seconds, forecast=forecast)

    def _busy(self, hardware: Hardware | None) -> str:
        """Ends a sentence where clips are made on the processor, and other programs take much of it."""
        is_on_cpu = hardware is None or hardware.device == "cpu"
        return BUSY if is_on_cpu and self._load.is_busy(self._jobs.queue_state().worker_pid) else ""

    def _memory(self, forecast: Forecast, hardware: Hardware) -> str:
        """Empty for a CPU: what fits there leaves nothing to decide."""
        if hardware.device == "cpu":
            return ""
        total = min(hardware.vram_total / GIB, self._settings.memory_limit or math.inf)
        second = f" and {forecast.second_vram / GIB:.1f} GB of a second GPU" if forecast.second_vram else ""
        return f"fits: {forecast.peak_vram / GIB:.1f} of {total:.1f} GB{second}"

    def _throughputs(self, specs: Iterable[ModelSpec]) -> dict[str, Throughput]:
        """Throughput by model id."""
        hardware = self._hardware()
        return {spec.id: self._throughput(spec, hardware) for spec in specs}

    def _throughput(self, spec: ModelSpec, hardware: Hardware | None, own: Forecast | None = None) -> Throughput:
        """`own` is the forecast of the model's own clip, if it is known; it is made only if nothing was learned."""
        finished = self._jobs.finished(spec.id, LEARN_FROM)
        return Throughput.learned(finished, spec, lambda: own or self._own_forecast(spec, hardware))

    def _own_forecast(self, spec: ModelSpec, hardware: Hardware | None) -> Forecast:
        """Until the hardware is known, two CPU cores are assumed."""
        request, machine = own_request(spec), self._machine(hardware) if hardware else without_device(math.inf)
        try:
            return self._planner.choose(request, spec, machine)
        except GenerationError:  # the settings name no plan: `_estimate` reports it
            return select_plan(spec, Geometry.of(request, spec), machine)

    def _machine(self, hardware: Hardware) -> Machine:
        """As each worker plans, where the queue is empty for a clip that has the second device too."""
        workers = len(self._settings.slots)
        return hardware.machine_of(workers, is_alone=workers > 1 and not self._jobs.unfinished())

    def _hardware(self) -> Hardware | None:
        return load_hardware(self._settings.cache)
