"""Makes a sound: plan, load, denoise, decode. Nothing stays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AceStepPipeline, LongCatAudioDiTPipeline, StableAudio3Pipeline
from numpy.typing import NDArray

from wan_pipeline.engine.device.environment import fixed_facts
from wan_pipeline.engine.device.placement import (
    Placement,
    choose_placement,
    is_out_of_memory,
    limit_memory,
    release_memory,
)
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.engine.loading.load import quiet_libraries
from wan_pipeline.errors import GenerationError, ModelError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.spec import SoundPipeline
from wan_pipeline.planning.memory_plan import Residency
from wan_pipeline.planning.sound import SoundPlan, plan_for
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.requests.sound import SoundRequest, facts_of
from wan_pipeline.settings import Settings

PIPELINES: dict[SoundPipeline, Any] = {
    SoundPipeline.STABLE_AUDIO_3: StableAudio3Pipeline,
    SoundPipeline.ACE_STEP: AceStepPipeline,
    SoundPipeline.LONGCAT: LongCatAudioDiTPipeline,
}


@dataclass(frozen=True)
class MadeSamples:
    """A sound, and what it was made with."""

    samples: NDArray[np.float32]
    """(channels, samples) from -1 to 1."""
    sample_rate: int
    plan: SoundPlan
    environment: dict[str, str]


def make_sound(model: InstalledModel, request: SoundRequest, settings: Settings, observer: Observer) -> MadeSamples:
    """Make a sound. The same model, request, versions and hardware give the same samples.

    Raises ModelError for files that are not the pipeline they should be, GenerationError and Cancelled.
    """
    quiet_libraries()
    facts = facts_of(model.spec)
    _check_pipeline(model, facts.pipeline)
    place = choose_placement(settings.device)
    limit_memory(place, settings.memory_limit)
    plan = plan_for(model, request.seconds, probe(place.device), settings.memory_limit)
    observer.progress(Progress(Stage.LOADING))
    check_cancelled(observer, "sound")
    try:
        with out_of_memory_as_error():
            samples, rate = _samples(model, request, place, plan, observer)
    finally:
        release_memory(place)  # once no variable refers to the pipeline any more
    check_samples(samples, model.spec.title)
    return MadeSamples(samples.clip(-1, 1), rate, plan, fixed_facts(place))


def _samples(
    model: InstalledModel, request: SoundRequest, place: Placement, plan: SoundPlan, observer: Observer
) -> tuple[NDArray[np.float32], int]:
    """The sound, and its samples a second."""
    kind = facts_of(model.spec).pipeline
    with _loaded(model, kind, place, plan) as pipeline, torch.inference_mode():
        observer.progress(Progress(Stage.ENCODING_TEXT))
        made = pipeline(
            request.prompt,
            num_inference_steps=model.spec.num_inference_steps,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            callback_on_step_end=_reporter(observer, model.spec.num_inference_steps),
            output_type="np",
            **_arguments(kind, model.spec.guidance_scale, request.seconds),
        )
        return np.asarray(made.audios[0], np.float32), _rate(pipeline)


def check_samples(samples: NDArray[np.float32], title: str) -> None:
    """Raise GenerationError for samples that are empty or not finite."""
    if not samples.size or not np.isfinite(samples).all():
        raise GenerationError(f"{title} gave no sound but values that are no numbers; choose another seed or model.")


@contextmanager
def _loaded(model: InstalledModel, kind: SoundPipeline, place: Placement, plan: SoundPlan) -> Iterator[Any]:
    """The pipeline where the plan has it, without hooks at the end. Raises ModelError."""
    try:
        pipeline = PIPELINES[kind].from_pretrained(
            model.folder, torch_dtype=place.dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{model.spec.title} cannot be loaded from {model.folder}: {reason}.") from error
    pipeline.set_progress_bar_config(disable=True)
    try:
        if plan.residency is Residency.OFFLOAD:
            pipeline.enable_model_cpu_offload(device=place.device)
        else:
            pipeline.to(place.device)
        yield pipeline
    finally:
        pipeline.remove_all_hooks()


def _arguments(kind: SoundPipeline, guidance: float, seconds: float) -> dict[str, Any]:
    """Arguments whose names differ by pipeline."""
    match kind:
        case SoundPipeline.STABLE_AUDIO_3:
            return {"duration": seconds, "guidance_scale": guidance}
        case SoundPipeline.ACE_STEP:
            return {"audio_duration": seconds, "guidance_scale": guidance, "lyrics": "[Instrumental]"}
        case SoundPipeline.LONGCAT:
            return {"audio_duration_s": seconds, "guidance_scale": guidance}


def _reporter(observer: Observer, steps: int) -> Any:
    def step_is_done(_pipeline: Any, step: int, _time: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
        check_cancelled(observer, "sound")
        last = step + 1 == steps
        observer.progress(Progress(Stage.DECODING) if last else Progress(Stage.DENOISING, step + 1, steps))
        return {}

    return step_is_done


def _rate(pipeline: Any) -> int:
    """Samples a second, as the VAE has them."""
    config = pipeline.vae.config
    return int(config.get("sampling_rate") or config["sample_rate"])


def _check_pipeline(model: InstalledModel, kind: SoundPipeline) -> None:
    found = model.index().get("_class_name")
    if found != kind:
        raise ModelError(f"{model.folder} holds a {found}, and {model.spec.title} is a {kind}; put that one there.")


@contextmanager
def out_of_memory_as_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise GenerationError(
            "There is not enough free memory for the sound; make a shorter one, or close what else uses the device."
        ) from error
