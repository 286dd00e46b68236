"""How long a clip will take: learned from the clips this machine has made, else from the model's first guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from wan_pipeline.duration import duration
from wan_pipeline.engine.progress import Stage
from wan_pipeline.jobs.job import Job
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.request import GenerationRequest

FIRST_GUESS_OVERHEAD_SECONDS = 1.0
"""Loading, text and saving of a warm demo clip."""


@dataclass(frozen=True)
class Estimate:
    seconds: float
    """For this clip alone, without those ahead."""
    jobs_ahead: int
    text: str
    """For the person: "about 6 s, after 2 other clips"."""


def estimate(request: GenerationRequest, spec: ModelSpec, finished: Sequence[Job], jobs_ahead: int) -> Estimate:
    """`finished` are recent clips of the same model; the median of what they took per unit of work counts."""
    per_pass_token = _learned(finished, Stage.DENOISING, spec) or spec.denoise_seconds_per_token
    per_megapixel = _learned(finished, Stage.DECODING, spec) or spec.decode_seconds_per_megapixel
    overhead = median(_overhead(job) for job in finished) if finished else FIRST_GUESS_OVERHEAD_SECONDS
    denoising = per_pass_token * _work(request, Stage.DENOISING, spec)
    decoding = per_megapixel * _work(request, Stage.DECODING, spec)
    seconds = denoising + decoding + overhead
    return Estimate(seconds, jobs_ahead, _text(seconds, jobs_ahead))


def _learned(finished: Sequence[Job], stage: Stage, spec: ModelSpec) -> float | None:
    rates = [job.seconds[stage] / _work(job.request, stage, spec) for job in finished if stage in job.seconds]
    return median(rates) if rates else None


def _work(request: GenerationRequest, stage: Stage, spec: ModelSpec) -> float:
    """Units of work: token passes of the transformer (two a step with guidance), or megapixels to decode."""
    if stage is Stage.DECODING:
        return request.width * request.height * request.num_frames / 1e6
    passes = request.num_inference_steps * (2 if request.guidance_scale > 1 else 1)
    return float(passes * spec.latent_tokens(request.width, request.height, request.num_frames))


def _overhead(job: Job) -> float:
    return sum(value for stage, value in job.seconds.items() if stage not in (Stage.DENOISING, Stage.DECODING))


def _text(seconds: float, jobs_ahead: int) -> str:
    text = f"about {duration(seconds)}"
    if jobs_ahead:
        text += f", after {jobs_ahead} other clip{'s' if jobs_ahead > 1 else ''}"
    return text
