"""Noise -> latents, through the diffusers pipeline, with one callback: progress, preview, cancel, NaN check."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import WanPipeline
from numpy.typing import NDArray

from wan_pipeline.engine.checkpoint import Checkpoint, Resumed, ResumeState, solver_state
from wan_pipeline.engine.conditioning import Given
from wan_pipeline.engine.load import Denoiser
from wan_pipeline.engine.memory.offload import offloaded
from wan_pipeline.engine.preview import Preview
from wan_pipeline.engine.schedulers import make_scheduler
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.inspect import VACE_PIPELINE
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class Where:
    """The device that computes, and whether the model's parts come to it one at a time."""

    device: torch.device
    offloads: bool = False


def sample(
    denoiser: Denoiser,
    request: GenerationRequest,
    embeddings: list[torch.Tensor],
    given: Given,
    preview: Preview,
    observer: Observer,
    where: Where | None = None,
    checkpoint: Checkpoint | None = None,
) -> torch.Tensor:
    """Normalised latents, (1, channels, latent frames, height, width), fp32.

    `embeddings` holds the prompt's and, if guidance is on, the negative prompt's. From `checkpoint` it goes on where an
    earlier run stood. Raises Cancelled within one step, GenerationError at the first value that is not a number.
    """
    device, offloads = (where.device, where.offloads) if where else (denoiser.transformer.device, False)
    pipeline = _computing_on(device, _pipeline(denoiser, request))
    standing = checkpoint.standing if checkpoint else None
    if standing is not None:
        pipeline.scheduler = Resumed(pipeline.scheduler, standing)
    noise = (initial_noise(denoiser, request) if standing is None else standing.latents).to(device)
    watcher = _Watcher(request.num_inference_steps, noise, preview, given, observer, checkpoint)
    residency: AbstractContextManager[None] = offloaded(pipeline, device) if offloads else nullcontext()
    with residency:
        output = pipeline(
            **_conditions(denoiser, request, given),
            prompt_embeds=embeddings[0].to(device),
            negative_prompt_embeds=embeddings[1].to(device) if len(embeddings) > 1 else None,
            width=request.width,
            height=request.height,
            num_frames=request.num_frames,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            guidance_scale_2=request.guidance_scale_2 if denoiser.boundary_ratio is not None else None,
            latents=noise,
            output_type="latent",
            callback_on_step_end=watcher,
        )
    latents: torch.Tensor = output.frames
    return latents[:, :, len(given.references) :]


def initial_noise(denoiser: Denoiser, request: GenerationRequest) -> torch.Tensor:
    """The clip's noise: from a generator on the CPU, so that a seed means the same on every device.

    Reference images are frames of their own, before the clip's.
    """
    vae = denoiser.vae.config
    shape = (
        1,
        vae.z_dim,
        (request.num_frames - 1) // vae.scale_factor_temporal + 1 + len(request.reference_images),
        request.height // vae.scale_factor_spatial,
        request.width // vae.scale_factor_spatial,
    )
    generator = torch.Generator("cpu").manual_seed(request.seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def _pipeline(denoiser: Denoiser, request: GenerationRequest) -> Any:
    parts: dict[str, Any] = {
        "tokenizer": None,
        "text_encoder": None,
        "vae": denoiser.vae,
        "transformer": denoiser.transformer,
        "transformer_2": denoiser.transformer_2,
        "boundary_ratio": denoiser.boundary_ratio,
        "scheduler": make_scheduler(request.scheduler, denoiser.scheduler_config, request.flow_shift),
    }
    if denoiser.pipeline == VACE_PIPELINE:
        from diffusers import WanVACEPipeline  # here and below, because text alone never needs them

        pipeline = WanVACEPipeline(**parts)
    elif request.mode is Mode.TEXT_TO_VIDEO:
        pipeline = WanPipeline(**parts, expand_timesteps=denoiser.expand_timesteps)
    else:
        from diffusers import WanImageToVideoPipeline

        pipeline = WanImageToVideoPipeline(
            **parts,
            image_encoder=denoiser.image_encoder,
            image_processor=denoiser.image_processor,
            expand_timesteps=denoiser.expand_timesteps,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _computing_on(device: torch.device, pipeline: Any) -> Any:
    """The pipeline asks its parts where they are, and those that stream or visit are elsewhere when asked."""
    kind = type(pipeline)
    pipeline.__class__ = type(kind.__name__, (kind,), {"_execution_device": device})
    return pipeline


def _conditions(denoiser: Denoiser, request: GenerationRequest, given: Given) -> dict[str, Any]:
    """What the pipeline is given beside the text."""
    if denoiser.pipeline == VACE_PIPELINE:
        return {
            "video": list(given.video) or None,
            "mask": list(given.mask) or None,
            "reference_images": list(given.references) or None,
        }
    if request.mode is Mode.TEXT_TO_VIDEO:
        return {}
    last = {} if given.last_image is None else {"last_image": given.last_image}
    return {"image": given.image, **last}


class _Watcher:
    """The callback at the end of each step."""

    def __init__(
        self,
        steps: int,
        noise: torch.Tensor,
        preview: Preview,
        given: Given,
        observer: Observer,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._steps = steps
        self._checkpoint = checkpoint
        standing = checkpoint.standing if checkpoint else None
        self._done_before, self._seconds_before = (standing.step, standing.seconds) if standing else (0, 0.0)
        self._before = noise
        self._preview = preview
        self._given = given
        self._observer = observer
        self._started = time.monotonic()

    def __call__(self, pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        check_cancelled(self._observer)
        done = self._done_before + step + 1
        latents: torch.Tensor = values["latents"]
        if not bool(torch.isfinite(latents).all()):
            raise GenerationError(
                f"Step {done} of {self._steps} gave values that are not numbers; "
                "the model's or a LoRA's weights are damaged, or the guidance is too high."
            )
        sigmas = pipeline.scheduler.sigmas
        clean = estimate_clean(self._before, latents, float(sigmas[done - 1]), float(sigmas[done]))
        self._before = latents
        seconds = time.monotonic() - self._started
        if self._checkpoint is not None:
            standing = ResumeState(done, latents, solver_state(pipeline.scheduler), self._seconds_before + seconds)
            self._checkpoint.offer(standing, is_last=done == self._steps)
        eta = seconds / (step + 1) * (self._steps - done)
        self._observer.progress(Progress(Stage.DENOISING, done, self._steps, eta, self._look(clean)))
        return {}

    def _look(self, clean: torch.Tensor) -> NDArray[np.uint8]:
        frames = self._preview.frames(clean[:, :, len(self._given.references) :])
        if self._given.image is not None:  # with expanding timesteps its latents come in only at the very end
            frames[0] = np.asarray(self._given.image.resize((frames.shape[2], frames.shape[1])))
        return frames


def estimate_clean(before: torch.Tensor, after: torch.Tensor, sigma_before: float, sigma_after: float) -> torch.Tensor:
    """The clean latents a step was heading for, whatever the solver: along a flow, x = clean + sigma * velocity."""
    velocity = (after - before) / (sigma_after - sigma_before)
    return after - sigma_after * velocity
