"""Renders requests into frames, one at a time. The last model stays loaded between clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from wan_pipeline.clips.frame_hash import frames_sha256
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.engine.clip_planner import ClipPlanner, forecast_warning
from wan_pipeline.engine.conditioning import Conditioning, load_conditioning
from wan_pipeline.engine.decoding.decode import decode, decoder_passes
from wan_pipeline.engine.decoding.latents import pack
from wan_pipeline.engine.decoding.tiny.preview import ClipPreview
from wan_pipeline.engine.denoise import ExecutionDevice, sample
from wan_pipeline.engine.device.deterministic import deterministic as deterministic_mode
from wan_pipeline.engine.device.placement import (
    CPU,
    MemoryGauge,
    Placement,
    choose_placement,
    is_out_of_memory,
    limit_memory,
    release_memory,
)
from wan_pipeline.engine.device.second import SecondDevice, choose_second
from wan_pipeline.engine.early_end import EarlyEnd
from wan_pipeline.engine.loading.load import quiet_libraries
from wan_pipeline.engine.loading.loaded import Loaded, ModelHolder
from wan_pipeline.engine.lora.adapters import AdapterHome
from wan_pipeline.engine.lora.chosen import ChosenLora, match_chosen, summed
from wan_pipeline.engine.lora.experts import Adapters, applied_to_experts, read_adapters
from wan_pipeline.engine.memory.weights import compute_dtype
from wan_pipeline.engine.prepared import PlannedClip, Prepared
from wan_pipeline.engine.provenance import ProvenanceRecorder
from wan_pipeline.engine.rendered import Rendered
from wan_pipeline.engine.stages import Stages
from wan_pipeline.engine.step_cache import Caching, PassCounter
from wan_pipeline.engine.text import EmbeddingCache, embed
from wan_pipeline.engine.two_devices.tokens import split_tokens
from wan_pipeline.engine.two_devices.twin import copied, why_one_device
from wan_pipeline.errors import OutOfMemory, StorageError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.progress import Observer, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings


class Engine:
    """Renders one request at a time. After any error it is as it was before."""

    def __init__(
        self,
        settings: Settings,
        placement: Placement | None = None,
        *,
        second: Placement | None = None,
        deterministic: bool = False,
        threads: int | None = None,
    ) -> None:
        """`deterministic` fixes what torch chooses by itself, with this many CPU `threads` (None: torch's own number).

        `second` is another device of the same kind, which may share a clip; None: what the settings name.

        Raises UserError if this machine has no device such as the settings ask for.
        """
        quiet_libraries()
        self._settings = settings
        self._placement = placement or choose_placement(settings.device)
        self._second = SecondDevice(settings, second or choose_second(settings, self._placement))
        self._deterministic = deterministic
        self._threads = threads
        self._models = ModelLibrary(settings)
        self._loras = LoraLibrary.of(settings)
        self._recorder = ProvenanceRecorder(settings, self._loras, self._placement)
        self._planner = ClipPlanner(
            settings, self._loras, self._placement, has_second=self._second.exists, deterministic=deterministic
        )
        self._holder = ModelHolder(self._placement, settings.cache)
        self._prompts = EmbeddingCache(settings.cache / "prompts")
        limit_memory(self._placement, settings.memory_limit)
        with suppress(StorageError), self._second.taken() as free:  # raised again when a clip is rendered
            self._planner.machine(self._holder.host_bytes, free)

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered:
        """The clip's frames, made by this memory plan (empty: the fastest that fits).

        `checkpoint` is a file for this clip alone. The state of denoising is saved in it now and then, and a later call
        continues from it to the same frames. The caller removes it once the clip is saved.
        Raises UserError, OutOfMemory, GenerationError or Cancelled.
        """
        model = self._models.find(request.model)
        planned = self._planned(request, model, plan, checkpoint)
        with planned as (memory, second, notes), self._computing(request, model, memory):
            stages = Stages(observer, MemoryGauge(self._placement))
            rendered = self._render(PlannedClip(request, model, memory, stages, checkpoint, second))
        return replace(rendered, warnings=(*rendered.warnings, *notes))

    def provenance(self, request: GenerationRequest, observer: Observer, plan: str = "") -> Provenance:
        """What `render` would make the clip from, and how. Reads all the model's files the first time.

        Raises UserError, GenerationError or Cancelled.
        """
        model = self._models.find(request.model)
        memory = self._planner.choose(request, model, plan, self._holder.host_bytes).plan
        with self._second.taken() as second:
            if memory.split > 1 and why_one_device(memory, request, second):
                memory = memory.on_one_device()  # which would give other bits; sharing guidance gives the same
        with self._computing(request, model, memory):
            return self._recorder.provenance(request, model, memory, self._planner.fastest, observer)

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None:
        """Encode the texts of coming clips into the cache, loading each model's text encoder once.

        Raises ModelError, OutOfMemory, GenerationError, StorageError or Cancelled.
        """
        by_model: dict[str, list[GenerationRequest]] = {}
        for request in requests:
            by_model.setdefault(request.model, []).append(request)
        for model_id, same_model in by_model.items():
            model = self._models.find(model_id)
            memory = self._planner.choose(same_model[0], model, plan, self._holder.host_bytes).plan
            with self._computing(same_model[0], model, memory):
                texts = [text for request in same_model for text in request.texts]
                self._embed(model, texts, memory, observer)

    def close(self) -> None:
        """Release the loaded model and its memory."""
        self._holder.release()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _planned(
        self, request: GenerationRequest, model: InstalledModel, text: str, checkpoint: Path | None
    ) -> Iterator[tuple[MemoryPlan, Placement | None, list[str]]]:
        """The clip's plan, the second device if it shares the clip, and what to tell of both."""
        with ExitStack() as stack:
            second = stack.enter_context(self._second.taken())
            chosen = self._planner.choose(request, model, text, self._holder.host_bytes, second, checkpoint)
            plan, notes = chosen.plan, [] if chosen.fits else [forecast_warning(chosen)]
            if note := why_one_device(plan, request, second):
                notes.append(note)
                plan = plan.on_one_device()
            if plan.devices.is_one:
                second = None
                stack.close()
            yield plan, second, notes

    def _render(self, clip: PlannedClip) -> Rendered:
        """All stages in order."""
        stages, steps = clip.stages, clip.request.num_inference_steps
        loras = match_chosen(clip.request.loras, clip.model, self._loras)
        conditioning = load_conditioning(self._settings.inputs, clip.request)
        with stages.enter(Stage.ENCODING_TEXT):
            embeddings = self._embed(clip.model, clip.request.texts, clip.plan, stages)
        with stages.enter(Stage.LOADING):
            prepared = self._prepare(clip, loras)
        counter, cache = PassCounter(), clip.request.step_cache
        with stages.enter(Stage.DENOISING, steps, prepared.steps_done):
            latents = self._denoise(clip, prepared, embeddings, conditioning, counter)
        stages.add_seconds(Stage.DENOISING, prepared.seconds_done)
        frames = self._decode(clip, prepared.loaded, latents)
        return Rendered(
            frames=frames,
            sha256=frames_sha256(frames),
            seconds=stages.seconds,
            peak_memory_mb=stages.memory.peak_mb,
            provenance=prepared.provenance,
            resumed_from=prepared.steps_done,
            latents=pack(latents) if self._settings.keep_latents else None,
            passes=counter.passes if cache else None,
            ended_at=prepared.early.steps_done if prepared.early else 0,
            warnings=(*clip.request.notes, *prepared.warnings, *conditioning.warnings, *counter.warnings(cache)),
        )

    def _embed(
        self, model: InstalledModel, texts: list[str], plan: MemoryPlan, observer: Observer | None
    ) -> list[torch.Tensor]:
        self._holder.release_unless(model, plan)
        place = replace(self._placement, device=CPU) if plan.text == "cpu" else self._placement
        setup, streams = self._recorder.text_setup(), plan.text == "streamed"
        return embed(model, texts, self._prompts, place, setup, observer, streams=streams)

    def _prepare(self, clip: PlannedClip, loras: list[ChosenLora]) -> Prepared:
        """Load the model and the adapters, hash what the clip is made from, and find its checkpoint."""
        model, plan, place = clip.model, clip.plan, self._placement
        loaded = self._holder.load(model, plan, self._planner.fastest)
        preview = ClipPreview.of(self._settings, loaded.denoiser.vae, model.fingerprint)
        on_device = plan.residency is Residency.RESIDENT
        home = AdapterHome(place.device if on_device else CPU, compute_dtype(plan, place))
        steps, second_adapters = clip.request.num_inference_steps, Adapters()
        adapters, factors = read_adapters(summed(loras), home, place.device, steps)
        if clip.second is not None:
            there = AdapterHome(clip.second.device, home.dtype)
            second_adapters, more = read_adapters(summed(loras), there, clip.second.device, steps)
            factors += more
        provenance = replace(
            self._recorder.provenance(clip.request, model, plan, self._planner.fastest, clip.stages),
            applied_loras=tuple(lora.applied for lora in loras),
        )
        checkpoint = self._recorder.checkpoint(clip.checkpoint, clip.request, model, plan, provenance)
        early = EarlyEnd.of(clip.request, loaded.denoiser, checkpoint.resume_state if checkpoint else None)
        return Prepared(loaded, preview, adapters, second_adapters, factors, provenance, checkpoint, early)

    def _denoise(
        self,
        clip: PlannedClip,
        prepared: Prepared,
        embeddings: list[torch.Tensor],
        conditioning: Conditioning,
        counter: PassCounter,
    ) -> torch.Tensor:
        """Latents. Adapters are applied and the model is set up by the plan while it denoises."""
        device, loaded, plan = self._placement.device, prepared.loaded, clip.plan
        offloads = plan.residency is Residency.OFFLOAD and not self._placement.on_cpu
        transformers = loaded.denoiser.transformers
        with ExitStack() as stack:
            twin = None
            if clip.second is not None:  # before anything is changed in what is copied
                copies = copied(transformers, prepared.second_adapters, plan, clip.second.device)
                twin = stack.enter_context(copies)
            stack.enter_context(applied_to_experts(transformers, prepared.adapters, merged=plan.lora == "merged"))
            caching = Caching.of(clip.request, clip.model.spec)
            stack.enter_context(loaded.denoising(plan, device, caching, counter))
            if twin is not None and plan.split > 1:
                stack.enter_context(split_tokens(transformers, device, twin))
            second = twin if plan.branches > 1 else None
            latents = sample(
                loaded.denoiser,
                clip.request,
                embeddings,
                conditioning,
                prepared.preview,
                clip.stages,
                ExecutionDevice(device, offloads, prepared.begin_step, second, prepared.early),
                prepared.checkpoint,
            )
        return latents

    def _decode(self, clip: PlannedClip, loaded: Loaded, latents: torch.Tensor) -> NDArray[np.uint8]:
        release_memory(self._placement)
        tile = clip.plan.tile
        with (
            loaded.decoding(clip.plan, self._placement.device) as vae,
            clip.stages.enter(Stage.DECODING, decoder_passes(vae, latents, tile)),
        ):
            return decode(vae, latents, clip.stages, tile)

    @contextmanager
    def _computing(self, request: GenerationRequest, model: InstalledModel, plan: MemoryPlan) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(self._releasing_memory(request, model, plan))
            if self._deterministic:
                stack.enter_context(deterministic_mode(self._threads))
            yield

    @contextmanager
    def _releasing_memory(self, request: GenerationRequest, model: InstalledModel, plan: MemoryPlan) -> Iterator[None]:
        """Release the device's cached memory on every way out, and turn out-of-memory errors into OutOfMemory."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            machine = self._planner.machine(self._holder.host_bytes)  # before its model is released
            self._holder.release()
            smaller = self._planner.smaller(request, model, plan, machine)
            raise OutOfMemory(
                f"The {self._placement.device.type} ran out of memory; choose a smaller size or fewer frames.",
                None if smaller is None else str(smaller),
            ) from error
        finally:
            release_memory(self._placement)
