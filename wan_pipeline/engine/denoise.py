"""Noise -> latents through the diffusers pipeline, with one callback after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from diffusers import WanPipeline

from wan_pipeline.engine.checkpoint import Checkpoint, ResumedScheduler, ResumeState
from wan_pipeline.engine.conditioning import Conditioning
from wan_pipeline.engine.decoding.preview import LivePreview
from wan_pipeline.engine.early_end import EarlyEnd
from wan_pipeline.engine.loading.load import Denoiser
from wan_pipeline.engine.loading.schedulers import make_scheduler
from wan_pipeline.engine.memory.offload import offloaded
from wan_pipeline.engine.noise import FirstSteps, enlarged, layout_request, resample_noise
from wan_pipeline.engine.step_callback import StepCallback, StepEnd
from wan_pipeline.engine.two_devices.branches import branches
from wan_pipeline.engine.two_devices.twin import Twin
from wan_pipeline.models.reading.inspect import VACE_PIPELINE
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Observer
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.noise_size import NoiseSize


@dataclass(frozen=True)
class ExecutionDevice:
    """The device that computes, and whether the model's parts move there one at a time, by accelerate's hooks."""

    device: torch.device
    offloads: bool = False
    begin_step: Callable[[int], None] = lambda step: None
    """Called before each step with its number, from 0."""
    twin: Twin | None = None
    """Computes the pass without the prompt on another device, where the plan has two branches; None else."""
    early: EarlyEnd | None = None
    """Says when a clip ends before its last step; None: never."""


def sample(
    denoiser: Denoiser,
    request: GenerationRequest,
    embeddings: list[torch.Tensor],
    conditioning: Conditioning,
    preview: LivePreview,
    observer: Observer,
    execution: ExecutionDevice,
    checkpoint: Checkpoint | None = None,
) -> torch.Tensor:
    """Normalised latents, (1, channels, latent frames, height, width), fp32, without those of reference images.

    `embeddings` holds the prompt's and, with guidance, the negative prompt's. Denoising continues from the checkpoint's
    resume state, if it has one. Raises Cancelled within one step, GenerationError at the first value that is not a
    number.
    """
    sampler = _Sampler(denoiser, embeddings, conditioning, preview, observer, execution)
    state = checkpoint.resume_state if checkpoint else None
    own, other = latent_size(denoiser, request), layout_request(request)
    if other and (state is None or state.latents.shape[-2:] != own):
        first = sampler.first_steps(*other, state, checkpoint)
        state = enlarged(first, own, drawn_noise(denoiser, request)[1])
    denoised, _ = sampler.denoise(request, state, checkpoint)
    return denoised[:, :, len(conditioning.references) :]


@dataclass(frozen=True)
class _Sampler:
    """What the steps of a clip have in common, at whatever size."""

    denoiser: Denoiser
    embeddings: list[torch.Tensor]
    conditioning: Conditioning
    preview: LivePreview
    observer: Observer
    execution: ExecutionDevice

    def first_steps(
        self, request: GenerationRequest, level: float, state: ResumeState | None, checkpoint: Checkpoint | None
    ) -> FirstSteps:
        """The steps down to a noise level."""
        latents, steps = self.denoise(request, state, checkpoint, level)
        return FirstSteps(steps.done, latents, steps.clean, steps.noise_level, steps.seconds)

    def denoise(
        self, request: GenerationRequest, state: ResumeState | None, checkpoint: Checkpoint | None, level: float = 0.0
    ) -> tuple[torch.Tensor, StepCallback]:
        """Latents after all steps from the state on, or those down to a noise level; and how they went."""
        denoiser, execution, device = self.denoiser, self.execution, self.execution.device
        pipeline, latents = _pipeline(denoiser, request), state.latents if state else initial_noise(denoiser, request)
        if state is not None:
            pipeline.scheduler = ResumedScheduler(pipeline.scheduler, state)
        latents = latents.to(device)
        if state is None or state.step < request.num_inference_steps:  # else only decoding is left
            execution.begin_step(state.step if state else 0)
        early = execution.early if level == 0.0 else None
        kept = StepEnd(checkpoint, early, execution.begin_step, level)
        callback = StepCallback(request, state, latents, self.preview, self.conditioning, self.observer, kept)
        pipeline = _bound(pipeline, device, lambda: callback.done in request.guided_steps)
        texts = _Texts.on_device(self.embeddings, device)
        arguments = _request_arguments(denoiser, request) | _conditioning_arguments(
            denoiser, request, self.conditioning
        )
        with _executing(pipeline, denoiser, execution, texts):
            return _denoised(pipeline, latents, texts, callback, arguments), callback


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
    pipeline: Any, latents: torch.Tensor, texts: _Texts, callback: StepCallback, arguments: dict[str, Any]
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


def initial_noise(denoiser: Denoiser, request: GenerationRequest) -> torch.Tensor:
    """The seed's noise, drawn on the CPU, so that a seed means the same on every device.

    Reference images take latent frames of their own, before the clip's. Noise of another clip's size is drawn at that
    size and resampled.
    """
    noise, generator = drawn_noise(denoiser, request)
    own = latent_size(denoiser, request)
    return noise if noise.shape[-2:] == own else resample_noise(noise, own, generator)


def drawn_noise(denoiser: Denoiser, request: GenerationRequest) -> tuple[torch.Tensor, torch.Generator]:
    """The seed's noise at the size that the clip begins at, and the generator, to draw on."""
    vae, begin = denoiser.vae.config, request.begin_size or request
    frames = (request.num_frames - 1) // vae.scale_factor_temporal + 1 + len(request.reference_images)
    generator = torch.Generator("cpu").manual_seed(request.seed)
    shape = (1, vae.z_dim, frames, *latent_size(denoiser, begin))
    return torch.randn(shape, generator=generator, dtype=torch.float32), generator


def latent_size(denoiser: Denoiser, sized: GenerationRequest | NoiseSize) -> tuple[int, int]:
    """Height and width in latents."""
    factor = denoiser.vae.config.scale_factor_spatial
    return sized.height // factor, sized.width // factor


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
