"""Noise -> latents through the diffusers pipeline, with one step callback: progress, preview, cancel, NaN check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import WanPipeline
from numpy.typing import NDArray

from wan_pipeline.engine.branches import Twin, branches
from wan_pipeline.engine.checkpoint import Checkpoint, ResumedScheduler, ResumeState, solver_state
from wan_pipeline.engine.conditioning import Conditioning
from wan_pipeline.engine.decoding.preview import Preview
from wan_pipeline.engine.early_end import EarlyEnd
from wan_pipeline.engine.loading.load import Denoiser
from wan_pipeline.engine.loading.schedulers import make_scheduler
from wan_pipeline.engine.memory.offload import offloaded
from wan_pipeline.engine.noise import resample_noise
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.inspect import VACE_PIPELINE
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class ExecutionDevice:
    """The device that computes, and whether the model's parts move there one at a time, by accelerate's hooks."""

    device: torch.device
    offloads: bool = False
    begin_step: Callable[[int], None] = lambda step: None
    """Called before each step with its number, from 0."""
    twin: Twin | None = None
    """Computes the pass without the prompt on another device, where the plan has two branches."""
    early: EarlyEnd | None = None
    """Says when a clip ends before its last step; None: never."""


def sample(
    denoiser: Denoiser,
    request: GenerationRequest,
    embeddings: list[torch.Tensor],
    conditioning: Conditioning,
    preview: Preview,
    observer: Observer,
    execution: ExecutionDevice,
    checkpoint: Checkpoint | None = None,
) -> torch.Tensor:
    """Normalised latents, (1, channels, latent frames, height, width), fp32, without those of reference images.

    `embeddings` holds the prompt's and, with guidance, the negative prompt's. Denoising continues from the checkpoint's
    resume state, if it has one. Raises Cancelled within one step, GenerationError at the first value that is not a
    number.
    """
    device, steps = execution.device, request.num_inference_steps
    pipeline, first, latents = _begun(denoiser, request, checkpoint)
    latents = latents.to(device)
    if first < steps:  # else all are done, and only decoding is left
        execution.begin_step(first)
    callback = _StepCallback(steps, latents, preview, conditioning, observer, checkpoint, execution)
    guided = request.guided_steps
    pipeline = _bound(pipeline, device, lambda: callback.done in guided)
    texts = _Texts.on_device(embeddings, device)
    arguments = _request_arguments(denoiser, request) | _conditioning_arguments(denoiser, request, conditioning)
    with _executing(pipeline, denoiser, execution, texts):
        denoised = _denoised(pipeline, latents, texts, callback, arguments)
    return denoised[:, :, len(conditioning.references) :]


class _Texts(NamedTuple):
    """The embeddings of a clip's texts, on its execution device."""

    prompt: torch.Tensor
    negative: torch.Tensor | None
    """None without guidance."""

    @classmethod
    def on_device(cls, embeddings: list[torch.Tensor], device: torch.device) -> _Texts:
        moved = [embedding.to(device) for embedding in embeddings]
        return cls(moved[0], moved[1] if len(moved) > 1 else None)


@contextmanager
def _executing(pipeline: Any, denoiser: Denoiser, execution: ExecutionDevice, texts: _Texts) -> Iterator[None]:
    """Context manager: the model's parts take turns on the device, and a branch has the twin, where asked for."""

    def is_guided() -> bool:
        return bool(pipeline.do_classifier_free_guidance)

    offloading = offloaded(pipeline, execution.device) if execution.offloads else nullcontext()
    with offloading, branches(denoiser.transformers, execution.twin, texts.negative, is_guided):
        yield


def _denoised(
    pipeline: Any, latents: torch.Tensor, texts: _Texts, callback: _StepCallback, arguments: dict[str, Any]
) -> torch.Tensor:
    """What the pipeline makes of the latents, reference images included."""
    output = pipeline(
        **arguments,
        prompt_embeds=texts.prompt,
        negative_prompt_embeds=texts.negative,
        latents=latents,
        output_type="latent",
        callback_on_step_end=callback,
    )
    denoised: torch.Tensor = output.frames
    return denoised


def _begun(
    denoiser: Denoiser, request: GenerationRequest, checkpoint: Checkpoint | None
) -> tuple[Any, int, torch.Tensor]:
    """The pipeline, the first step to be done, and the latents before it."""
    pipeline, state = _pipeline(denoiser, request), checkpoint.resume_state if checkpoint else None
    if state is None:
        return pipeline, 0, initial_noise(denoiser, request)
    pipeline.scheduler = ResumedScheduler(pipeline.scheduler, state)
    return pipeline, state.step, state.latents


def initial_noise(denoiser: Denoiser, request: GenerationRequest) -> torch.Tensor:
    """The seed's noise, drawn on the CPU, so that a seed means the same on every device.

    Reference images take latent frames of their own, before the clip's. Noise of another clip's size is drawn at that
    size and resampled.
    """
    vae = denoiser.vae.config
    frames = (request.num_frames - 1) // vae.scale_factor_temporal + 1 + len(request.reference_images)
    width, height = map(int, (request.noise_size or f"{request.width}x{request.height}").split("x"))
    shape = (1, vae.z_dim, frames, height // vae.scale_factor_spatial, width // vae.scale_factor_spatial)
    generator = torch.Generator("cpu").manual_seed(request.seed)
    noise = torch.randn(shape, generator=generator, dtype=torch.float32)
    own = (request.height // vae.scale_factor_spatial, request.width // vae.scale_factor_spatial)
    return noise if noise.shape[-2:] == own else resample_noise(noise, own, generator)


def _pipeline(denoiser: Denoiser, request: GenerationRequest) -> Any:
    """The diffusers pipeline of the request's mode, around the loaded modules."""
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
        from diffusers import WanVACEPipeline  # here and below: text-to-video does not need them

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


def _bound(pipeline: Any, device: torch.device, is_guided: Callable[[], bool]) -> Any:
    """The pipeline with a fixed execution device, and with guidance only in the steps that have it.

    It would ask its modules for the device, and streamed ones are on the CPU then. Before each step it asks whether to
    compute the pass without the prompt; before the first, whether to take its embeddings.
    """

    def guides(pipe: Any) -> bool:
        return bool(pipe._guidance_scale > 1) and (pipe._current_timestep is None or is_guided())

    kind = type(pipeline)
    own = {"_execution_device": device, "do_classifier_free_guidance": property(guides)}
    pipeline.__class__ = type(kind.__name__, (kind,), own)
    return pipeline


def _request_arguments(denoiser: Denoiser, request: GenerationRequest) -> dict[str, Any]:
    """The pipeline's arguments for size, length, steps and guidance."""
    return {
        "width": request.width,
        "height": request.height,
        "num_frames": request.num_frames,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "guidance_scale_2": request.guidance_scale_2 if denoiser.boundary_ratio is not None else None,
    }


def _conditioning_arguments(
    denoiser: Denoiser, request: GenerationRequest, conditioning: Conditioning
) -> dict[str, Any]:
    """The pipeline's arguments for images and videos."""
    if denoiser.pipeline == VACE_PIPELINE:
        return {
            "video": list(conditioning.video) or None,
            "mask": list(conditioning.mask) or None,
            "reference_images": list(conditioning.references) or None,
        }
    if request.mode is Mode.TEXT_TO_VIDEO:
        return {}
    last = {} if conditioning.last_image is None else {"last_image": conditioning.last_image}
    return {"image": conditioning.image, **last}


class _StepCallback:
    """Diffusers' `callback_on_step_end`."""

    def __init__(
        self,
        steps: int,
        latents: torch.Tensor,
        preview: Preview,
        conditioning: Conditioning,
        observer: Observer,
        checkpoint: Checkpoint | None,
        execution: ExecutionDevice,
    ) -> None:
        self._steps = steps
        self._execution = execution
        self._checkpoint = checkpoint
        state = checkpoint.resume_state if checkpoint else None
        self._first_step, self._earlier_seconds = (state.step, state.seconds) if state else (0, 0.0)
        self.done = self._first_step
        """Steps of the clip that are done."""
        self._before = latents
        self._preview = preview
        self._conditioning = conditioning
        self._observer = observer
        self._started = time.monotonic()

    def __call__(self, pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Called with the latents after each step; `step` counts from 0, in a resumed run too."""
        done = self.done = self._first_step + step + 1
        latents: torch.Tensor = values["latents"]
        if not bool(torch.isfinite(latents).all()):
            raise GenerationError(
                f"Step {done} of {self._steps} gave values that are not numbers; "
                "the model's or a LoRA's weights are damaged, or the guidance is too high."
            )
        sigmas = pipeline.scheduler.sigmas
        clean = estimate_clean(self._before, latents, float(sigmas[done - 1]), float(sigmas[done]))
        self._before = latents
        early = self._execution.early
        ends = early is not None and early.ends(done, clean, float(sigmas[done - 1]))
        if ends:
            latents, pipeline._interrupt = clean, True  # as diffusers stops: the other steps compute nothing
        seconds = time.monotonic() - self._started
        self._save(pipeline, self._steps if ends else done, latents, seconds)
        check_cancelled(self._observer)
        eta = seconds / (step + 1) * (self._steps - done)
        self._observer.progress(Progress(Stage.DENOISING, done, self._steps, eta, self._preview_of(clean)))
        if done < self._steps and not ends:
            self._execution.begin_step(done)
        return {"latents": latents} if ends else {}

    def _save(self, pipeline: Any, done: int, latents: torch.Tensor, seconds: float) -> None:
        """Write the checkpoint after so many steps, if one is due."""
        if self._checkpoint is None:
            return
        state = ResumeState(done, latents, solver_state(pipeline.scheduler), self._earlier_seconds + seconds)
        if (early := self._execution.early) is not None:
            state = replace(state, clean=early.clean, clean_is_below=early.is_below, ended_at=early.steps_done)
        self._checkpoint.save_if_due(state, is_last=done == self._steps, is_stopping=self._observer.cancelled())

    def _preview_of(self, clean: torch.Tensor) -> NDArray[np.uint8]:
        frames = self._preview.frames(clean[:, :, len(self._conditioning.references) :])
        if self._conditioning.image is not None:  # TI2V sets the image's latents only after the last step
            frames[0] = np.asarray(self._conditioning.image.resize((frames.shape[2], frames.shape[1])))
        return frames


def estimate_clean(before: torch.Tensor, after: torch.Tensor, sigma_before: float, sigma_after: float) -> torch.Tensor:
    """The clean latents that a step was heading for, with any solver: along a flow, x = clean + sigma * velocity."""
    velocity = (after - before) / (sigma_after - sigma_before)
    return after - sigma_after * velocity
