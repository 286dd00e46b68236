"""How fast this machine makes clips of one model: learned from finished jobs, else from a forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from wan_pipeline.jobs.job import STARTING, Job
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.devices import ONE_DEVICE, Devices
from wan_pipeline.planning.forecast import Forecast
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.transformer import operations
from wan_pipeline.progress import Stage
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.requests.request import GenerationRequest

MEASURED = (Stage.DENOISING, Stage.DECODING)
"""Stages whose time grows with the clip; the others take the same for every clip."""


@dataclass(frozen=True)
class Throughput:
    """Seconds per unit of work, for clips of one model."""

    spec: ModelSpec
    seconds_per_operation: float
    """Seconds of the transformer for a floating-point operation."""
    seconds_per_pixel: float
    """Seconds of the decoder for a pixel of video."""
    overhead: float
    """Seconds of the other stages, encoding text and saving, and of what lies between the stages."""
    loading: float = 0.0
    """Seconds of loading where the model is in memory already: what a clip is made from is looked at again."""
    first_loading: float = 0.0
    """Seconds of loading where it is not."""

    @classmethod
    def learned(cls, finished: Sequence[Job], spec: ModelSpec, forecast: Callable[[], Forecast]) -> Throughput:
        """The median over `finished` jobs of the model.

        What they do not cover comes from the `forecast` at the model's own settings, which is made only then.
        """
        finished = [job for job in finished if not job.request_error]
        rates = {stage: rate for stage in MEASURED if (rate := _median_rate(finished, stage, spec))}
        between = [(job, _between_stages(job)) for job in finished]
        overheads = [_overhead(job.seconds) + seconds for job, seconds in between if seconds is not None]
        overheads = overheads or [_overhead(job.seconds) for job in finished]
        loadings = [job.seconds.get(Stage.LOADING, 0.0) for job in finished]
        first = [job.seconds.get(Stage.LOADING, 0.0) for job in finished if STARTING in job.seconds]
        if len(rates) < len(MEASURED):
            made, own = forecast(), own_request(spec)
            costs, devices = made.costs, made.plan.devices
            rates = {stage: costs[stage].seconds / _work(own, stage, spec, devices) for stage in MEASURED} | rates
            overheads = overheads or [_overhead({stage: cost.seconds for stage, cost in costs.items()})]
            loadings = loadings or [costs[Stage.LOADING].seconds]
        first_loading = median(first) if first else max(loadings)
        return cls(spec, rates[Stage.DENOISING], rates[Stage.DECODING], median(overheads), min(loadings), first_loading)

    def seconds(self, request: GenerationRequest, devices: Devices = ONE_DEVICE) -> float:
        """The whole clip, with the model in memory, on the devices that share it.

        See `first_loading` for what it takes to get there.
        """
        return self._denoising(request, devices) + self._decoding(request) + self.overhead + self.loading

    def seconds_left(self, job: Job) -> float:
        """Until an unfinished job is done, from the progress it has reported."""
        request, eta = job.request, job.eta_seconds
        match job.stage:
            case Stage.DENOISING:
                return (self._denoising(request) if eta is None else eta) + self._decoding(request)
            case Stage.DECODING:
                return self._decoding(request) if eta is None else eta
            case Stage.SAVING:
                return 0.0
            case _:
                return self.seconds(request)

    def _denoising(self, request: GenerationRequest, devices: Devices = ONE_DEVICE) -> float:
        return self.seconds_per_operation * _work(request, Stage.DENOISING, self.spec, devices)

    def _decoding(self, request: GenerationRequest) -> float:
        return self.seconds_per_pixel * _work(request, Stage.DECODING, self.spec)


def _median_rate(finished: Sequence[Job], stage: Stage, spec: ModelSpec) -> float | None:
    """Seconds per unit of work; jobs that did a part of it do not count: they resumed from a checkpoint or may have
    ended early.
    """
    whole = [job for job in finished if stage in job.seconds and not job.resumed_from]
    if stage is Stage.DENOISING:
        whole = [job for job in whole if not job.request.early_end]
    rates = [job.seconds[stage] / _work(job.request, stage, spec, job.devices) for job in whole]
    return median(rates) if rates else None


def _work(request: GenerationRequest, stage: Stage, spec: ModelSpec, devices: Devices = ONE_DEVICE) -> float:
    """Operations of all transformer passes that follow one another, or pixels of video to decode."""
    clip = Geometry.of(request, spec)
    if stage is Stage.DECODING:
        return clip.video_pixels
    return clip.passes_in_a_row(devices) * sum(operations(spec, clip))


def _between_stages(job: Job) -> float | None:
    """Seconds of a finished job that neither a stage nor the engine's start accounts for; None if it began twice."""
    if job.started_at is None or job.finished_at is None or job.attempts > 1 or job.resumed_from:
        return None
    return max((job.finished_at - job.started_at).total_seconds() - sum(job.seconds.values()), 0.0)


def _overhead(seconds: Mapping[str, float]) -> float:
    return sum(value for stage, value in seconds.items() if stage not in (*MEASURED, Stage.LOADING, STARTING))
