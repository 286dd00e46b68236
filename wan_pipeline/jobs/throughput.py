"""How long a clip will take: learned from the clips this machine has made, else from the model's first guesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from wan_pipeline.jobs.job import Job
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.choice import geometry
from wan_pipeline.planning.costs import Geometry, Machine, compute_seconds, operations, tokens
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.wording import duration

FIRST_GUESS_OVERHEAD_SECONDS = 1.0
"""Loading, text and saving of a warm demo clip."""


@dataclass(frozen=True)
class Estimate:
    seconds: float
    """For what is asked about alone, without those ahead."""
    jobs_ahead: int
    text: str
    """For the person: "about 6 s, after 2 other clips"; what to change if it does not fit."""
    fits: bool = True
    """Into this machine's memory, as far as is known."""


@dataclass(frozen=True)
class Throughput:
    """How fast this machine makes clips of one model."""

    spec: ModelSpec
    seconds_per_token: float
    """For one pass of the transformer over one latent token."""
    seconds_per_megapixel: float
    """Of decoded frames."""
    overhead: float
    """Seconds a clip for loading, text and saving."""

    @classmethod
    def learnt(cls, spec: ModelSpec, finished: Sequence[Job], machine: Machine | None = None) -> Throughput:
        """`finished` are recent clips of the model; the median of what they took per unit of work counts.

        Without any it is guessed: of a `machine` with a device by its speeds, else by what two CPU cores took.
        """
        guess = (spec.denoise_seconds_per_token, spec.decode_seconds_per_megapixel)
        if machine is not None:
            own = _own_clip(spec)
            guess = (compute_seconds(spec, own, machine) / tokens(spec, own), 1e6 / machine.decode_speed)
        return cls(
            spec,
            _learned(finished, Stage.DENOISING, spec) or guess[0],
            _learned(finished, Stage.DECODING, spec) or guess[1],
            median(_overhead(job) for job in finished) if finished else FIRST_GUESS_OVERHEAD_SECONDS,
        )

    def seconds(self, request: GenerationRequest) -> float:
        """For the whole clip."""
        return self._denoising(request) + self._decoding(request) + self.overhead

    def seconds_left(self, job: Job) -> float:
        """Until the clip is there, told by how far it is and not by the clock."""
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

    def _denoising(self, request: GenerationRequest) -> float:
        return self.seconds_per_token * _work(request, Stage.DENOISING, self.spec)

    def _decoding(self, request: GenerationRequest) -> float:
        return self.seconds_per_megapixel * _work(request, Stage.DECODING, self.spec)


def estimate(request: GenerationRequest, pace: Throughput, jobs_ahead: int) -> Estimate:
    """For one clip."""
    seconds = pace.seconds(request)
    return Estimate(seconds, jobs_ahead, f"about {duration(seconds)}{after(jobs_ahead)}")


def estimate_many(requests: Sequence[GenerationRequest], paces: Mapping[str, Throughput], jobs_ahead: int) -> Estimate:
    """For clips one after another. `paces` by model id."""
    seconds = sum(paces[request.model].seconds(request) for request in requests)
    clips = f"{len(requests)} clip{'' if len(requests) == 1 else 's'}"
    return Estimate(seconds, jobs_ahead, f"{clips}, about {duration(seconds)}{after(jobs_ahead)}")


def _learned(finished: Sequence[Job], stage: Stage, spec: ModelSpec) -> float | None:
    whole = [job for job in finished if stage in job.seconds and not job.resumed_from]  # not the second half only
    rates = [job.seconds[stage] / _work(job.request, stage, spec) for job in whole]
    return median(rates) if rates else None


def _work(request: GenerationRequest, stage: Stage, spec: ModelSpec) -> float:
    """Units of work: token passes of the transformer (two a step with guidance), or megapixels to decode.

    Attention grows with the square of the tokens: a token weighs what it does among those of the model's own clips.
    """
    if stage is Stage.DECODING:
        return request.width * request.height * request.num_frames / 1e6
    passes = request.num_inference_steps * (2 if request.guidance_scale > 1 else 1)
    clip, own = geometry(request), _own_clip(spec)
    operations_each = [sum(operations(spec, each)) / tokens(spec, each) for each in (clip, own)]
    return passes * tokens(spec, clip) * operations_each[0] / operations_each[1]


def _own_clip(spec: ModelSpec) -> Geometry:
    """One pass at the model's own settings."""
    size = spec.sizes[0]
    return Geometry(size.width, size.height, spec.num_frames, 1)


def _overhead(job: Job) -> float:
    return sum(value for stage, value in job.seconds.items() if stage not in (Stage.DENOISING, Stage.DECODING))


def after(jobs_ahead: int) -> str:
    return f", after {jobs_ahead} other clip{'s' if jobs_ahead > 1 else ''}" if jobs_ahead else ""
