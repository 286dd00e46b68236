"""From a request to frames. One model stays loaded between clips; nothing else does."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.engine.adapters import applied, read_weights
from wan_pipeline.engine.conditioning import load_conditioning
from wan_pipeline.engine.decode import decode, decoder_passes
from wan_pipeline.engine.denoise import Where, sample
from wan_pipeline.engine.device.deterministic import pinned
from wan_pipeline.engine.device.placement import (
    MemoryGauge,
    Placement,
    choose_placement,
    is_out_of_memory,
    limit_memory,
    release_memory,
    release_pinned,
)
from wan_pipeline.engine.device.probe import look
from wan_pipeline.engine.load import quiet_libraries
from wan_pipeline.engine.loaded import Loaded, load
from wan_pipeline.engine.memory.weights import computing_dtype
from wan_pipeline.engine.preview import load_preview
from wan_pipeline.engine.provenance import ProvenanceRecorder
from wan_pipeline.engine.stages import Stages
from wan_pipeline.engine.text import embed
from wan_pipeline.errors import OutOfMemory, StorageError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.planning.forecast import Forecast
from wan_pipeline.planning.hardware import save_hardware
from wan_pipeline.planning.machine import Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.planning.planner import Planner
from wan_pipeline.progress import Observer, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.wording import lower_first

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rendered:
    """The frames of one clip, and how they came to be."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3)."""
    sha256: str
    """Of the frames' shape and bytes."""
    seconds: dict[str, float]
    """By stage."""
    peak_memory_mb: float
    provenance: Provenance
    """What the frames were made from and with."""
    resumed_from: int = 0
    """Denoising steps that an earlier run had done."""
    warnings: tuple[str, ...] = ()
    """What was left out on the way, one sentence each."""


class Engine:
    """Renders one request at a time. After any error it is as it was before."""

    def __init__(
        self,
        settings: Settings,
        placement: Placement | None = None,
        *,
        strict: bool = False,
        threads: int | None = None,
    ) -> None:
        """`strict` pins what else breaks repeatability, with `threads` of the CPU (as many as torch takes)."""
        quiet_libraries()
        self._strict = strict
        self._threads = threads
        self._settings = settings
        self._models = ModelLibrary(settings)
        self._loras = LoraLibrary(settings.loras)
        self._placement = placement or choose_placement()
        self._origins = ProvenanceRecorder(settings, self._loras, self._placement)
        self._planner = Planner(settings, self._loras)
        self._loaded: Loaded | None = None
        self._attention = "native"
        limit_memory(self._placement, settings.memory_limit)
        with suppress(StorageError):  # speeds that cannot be kept are told when a clip is made
            self._machine()

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered:
        """The clip's frames, made by this memory plan (the quickest that fits).

        `checkpoint` is a file of this clip's own. What denoising has done is kept in it now and then, and a later call
        with it goes on from there to the same frames. It is the caller's to remove once the clip is safe.
        Raises UserError, OutOfMemory, GenerationError or Cancelled.
        """
        model = self._models.find(request.model)
        chosen = self._choose(request, model, plan)
        with self._computing(request, model, chosen.plan):
            stages = Stages(observer, MemoryGauge(self._placement))
            rendered = self._render(request, model, stages, chosen.plan, checkpoint)
        return rendered if chosen.fits else replace(rendered, warnings=(*rendered.warnings, _doubt(chosen)))

    def provenance(self, request: GenerationRequest, observer: Observer, plan: str = "") -> Provenance:
        """What `render` would make the clip from and with. Reads all the model's files the first time.

        Raises UserError, GenerationError or Cancelled.
        """
        model = self._models.find(request.model)
        memory = self._choose(request, model, plan).plan
        with self._computing(request, model, memory):
            return self._origins.provenance(request, model, memory, self._attention, observer)

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None:
        """Have the texts of coming clips ready on the disk, with one visit of each model's text encoder.

        At most MAX_CACHED texts are kept. Raises ModelError, OutOfMemory, GenerationError, StorageError or Cancelled.
        """
        of_model: dict[str, list[GenerationRequest]] = {}
        for request in requests:
            of_model.setdefault(request.model, []).append(request)
        for model_id, some in of_model.items():
            model = self._models.find(model_id)
            memory = self._choose(some[0], model, plan).plan
            with self._computing(some[0], model, memory):
                self._make_room(model, memory)
                self._embed(model, [text for request in some for text in _texts(request)], memory, observer)

    def close(self) -> None:
        """Let the loaded model go."""
        self._loaded = None
        release_memory(self._placement)
        release_pinned(self._placement)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _render(
        self,
        request: GenerationRequest,
        model: InstalledModel,
        stages: Stages,
        plan: MemoryPlan,
        checkpoint: Path | None,
    ) -> Rendered:
        place, cache = self._placement, self._settings.cache
        adapters = [
            adapter
            for lora in request.loras
            for adapter in match_adapters(self._loras.find(lora.name), model, lora.weight)
        ]
        given = load_conditioning(self._settings.inputs, request)
        with stages.enter(Stage.ENCODING_TEXT):
            self._make_room(model, plan)
            embeddings = self._embed(model, _texts(request), plan, stages)
        with stages.enter(Stage.LOADING):
            loaded = self._load(model, plan)
            preview = load_preview(loaded.denoiser.vae, cache / "previews", model.fingerprint)
            dtype = computing_dtype(plan, place)
            home = place.device if plan.residency is Residency.RESIDENT else torch.device("cpu")
            layers = [read_weights(adapter, home, dtype) for adapter in adapters]
            provenance = self._origins.provenance(request, model, plan, self._attention, stages)
            kept = self._origins.checkpoint(checkpoint, request, model, plan, provenance)
        done = kept.standing.step if kept and kept.standing else 0
        with ExitStack() as stack:
            stack.enter_context(stages.enter(Stage.DENOISING, request.num_inference_steps, done))
            for expert, transformer in enumerate(loaded.denoiser.transformers):
                own = [weights for adapter, weights in zip(adapters, layers, strict=True) if expert in adapter.experts]
                stack.enter_context(applied(transformer, own))
            stack.enter_context(loaded.computing(plan, place.device, request.first_block_cache))
            where = Where(place.device, offloads=plan.residency is Residency.OFFLOAD and not place.on_cpu)
            latents = sample(loaded.denoiser, request, embeddings, given, preview, stages, where, kept)
        release_memory(place)
        stages.seconds[Stage.DENOISING.value] += kept.standing.seconds if kept and kept.standing else 0
        frames = self._decode(loaded, latents, stages, plan)
        return Rendered(
            frames=frames,
            sha256=frames_sha256(frames),
            seconds=stages.seconds,
            peak_memory_mb=stages.memory.peak_mb,
            provenance=provenance,
            resumed_from=done,
            warnings=(
                *(told for adapter in adapters for told in adapter.warnings),
                *(kept.warnings if kept else ()),
                *loaded.warnings,
            ),
        )

    def _decode(self, loaded: Loaded, latents: torch.Tensor, stages: Stages, plan: MemoryPlan) -> NDArray[np.uint8]:
        with ExitStack() as stack:
            vae = stack.enter_context(loaded.decoding(plan, self._placement.device))
            stack.enter_context(stages.enter(Stage.DECODING, decoder_passes(vae, latents, plan.tile)))
            return decode(vae, latents, stages, plan.tile)

    def _choose(self, request: GenerationRequest, model: InstalledModel, text: str) -> Forecast:
        """One that does not fit is tried all the same: forecasts err on the safe side."""
        chosen = self._planner.choose(request, model.spec, self._machine(), text)
        logger.info("Memory plan: %s (%s)", chosen.plan, chosen.reason or "fits")
        return chosen

    def _machine(self) -> Machine:
        """What is free, and what this process itself could let go."""
        hardware = look(self._placement.device, self._settings.cache)
        own = self._loaded.host_bytes if self._loaded else 0
        hardware = replace(hardware, ram_free=hardware.ram_free + own, ram_own=own)
        with suppress(StorageError):  # it is for the page alone, which can do without
            save_hardware(hardware, self._settings.cache)
        self._attention = hardware.speeds.backend if hardware.speeds and not self._strict else "native"
        return hardware.machine

    def _load(self, model: InstalledModel, plan: MemoryPlan) -> Loaded:
        self._make_room(model, plan)
        if self._loaded is None:
            weights = self._settings.cache / "weights"
            self._loaded = load(model, _load_key(model, plan), plan, self._placement, weights)
            for transformer in self._loaded.denoiser.transformers:
                transformer.set_attention_backend(self._attention)
        return self._loaded

    def _make_room(self, model: InstalledModel, plan: MemoryPlan) -> None:
        """Let another model go, or this one where it lies by another plan: never two models in memory."""
        if self._loaded is not None and self._loaded.key != _load_key(model, plan):
            self.close()

    def _embed(
        self, model: InstalledModel, texts: list[str], plan: MemoryPlan, observer: Observer | None
    ) -> list[torch.Tensor]:
        place = replace(self._placement, device=torch.device("cpu")) if plan.text == "cpu" else self._placement
        streams = plan.text == "streamed"
        return embed(
            model, texts, self._settings.cache / "prompts", place, self._origins.text_setup(), observer, streams=streams
        )

    @contextmanager
    def _computing(self, request: GenerationRequest, model: InstalledModel, plan: MemoryPlan) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(self._tidied(request, model, plan))
            if self._strict:
                stack.enter_context(pinned(self._threads))
            yield

    @contextmanager
    def _tidied(self, request: GenerationRequest, model: InstalledModel, plan: MemoryPlan) -> Iterator[None]:
        """Out of memory becomes a sentence, and the device's memory is given back whatever happened."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            machine = self._machine()  # before the model goes: what it holds counts as free
            self._loaded = None
            release_memory(self._placement)
            smaller = self._planner.smaller(request, model.spec, machine, plan)
            raise OutOfMemory(
                f"The {self._placement.device.type} ran out of memory; choose a smaller size or fewer frames.",
                None if smaller is None else str(smaller),
            ) from error
        finally:
            release_memory(self._placement)


def _doubt(forecast: Forecast) -> str:
    return f"It was made although the forecast was against it: {lower_first(forecast.reason)}"


def _load_key(model: InstalledModel, plan: MemoryPlan) -> str:
    """What of a plan decides how a model lies between clips."""
    return f"{model.fingerprint} {plan.residency} {plan.precision} {plan.disk}"


def _texts(request: GenerationRequest) -> list[str]:
    """What the text encoder has to read for a clip."""
    return [request.styled_prompt] + ([request.negative_prompt] if request.uses_guidance else [])


def frames_sha256(frames: NDArray[np.uint8]) -> str:
    """SHA-256 of the shape and the bytes: equal exactly when two clips have the same frames."""
    digest = hashlib.sha256(repr(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
