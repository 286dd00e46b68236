"""From a request to frames. One model stays loaded between clips; nothing else does."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from wan_pipeline.engine.checkpoint import Checkpoint
from wan_pipeline.engine.cpu_conv import use_onednn
from wan_pipeline.engine.decode import decode, decoder_passes
from wan_pipeline.engine.device import MemoryGauge, Placement, choose_placement, is_out_of_memory, release_memory
from wan_pipeline.engine.environment import fixed_facts, torch_settings
from wan_pipeline.engine.image import load_given, read_image
from wan_pipeline.engine.plan import MemoryPlan, find_plan, smaller_plan
from wan_pipeline.engine.preview import load_preview
from wan_pipeline.engine.progress import Observer, Stage, check_cancelled
from wan_pipeline.engine.residency import tiled, visiting
from wan_pipeline.engine.sample import sample
from wan_pipeline.engine.stages import Stages
from wan_pipeline.engine.strict import pinned
from wan_pipeline.engine.text import embed
from wan_pipeline.errors import OutOfMemory
from wan_pipeline.hashes import FileHashes, pixels_sha256
from wan_pipeline.lora.adapter import plan_adapter
from wan_pipeline.lora.apply import applied, read_weights
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.load import Denoiser, load_denoiser, quiet_libraries
from wan_pipeline.provenance import UNLIKELY, Provenance
from wan_pipeline.request import GenerationRequest
from wan_pipeline.settings import Settings

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
        self._hashes = FileHashes(settings.cache / "hashes")
        self._facts: dict[str, str] | None = None
        self._loaded: tuple[tuple[str, torch.device], Denoiser] | None = None

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered:
        """The clip's frames, made by the memory plan of that name (the roomiest).

        `checkpoint` is a file of this clip's own. What denoising has done is kept in it now and then, and a later call
        with it goes on from there to the same frames. It is the caller's to remove once the clip is safe.
        Raises UserError, OutOfMemory, GenerationError or Cancelled.
        """
        chosen = find_plan(plan)
        with self._computing(chosen):
            return self._render(request, Stages(observer, MemoryGauge(self._placement)), chosen, checkpoint)

    def provenance(self, request: GenerationRequest, observer: Observer, plan: str = "") -> Provenance:
        """What `render` would make the clip from and with. Reads all the model's files the first time.

        Raises UserError, GenerationError or Cancelled.
        """
        chosen = find_plan(plan)
        with self._computing(chosen):
            return self._provenance(request, self._models.find(request.model), chosen, observer)

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None:
        """Have the texts of coming clips ready on the disk, with one visit of each model's text encoder.

        At most MAX_CACHED texts are kept. Raises ModelError, OutOfMemory, GenerationError, StorageError or Cancelled.
        """
        chosen = find_plan(plan)
        texts: dict[str, list[str]] = {}
        for request in requests:
            texts.setdefault(request.model, []).extend(_texts(request))
        with self._computing(chosen):
            for model_id, all_texts in texts.items():
                model = self._models.find(model_id)
                self._make_room(model, chosen)
                self._embed(model, all_texts, observer)

    def close(self) -> None:
        """Let the loaded model go."""
        self._loaded = None
        release_memory(self._placement)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _render(
        self, request: GenerationRequest, stages: Stages, plan: MemoryPlan, checkpoint: Path | None
    ) -> Rendered:
        place, cache = self._placement, self._settings.cache
        model = self._models.find(request.model)
        adapters = [plan_adapter(self._loras.path(lora.name), model, lora.weight) for lora in request.loras]
        given = load_given(self._settings.inputs, request)
        with stages.enter(Stage.ENCODING_TEXT):
            self._make_room(model, plan)
            embeddings = self._embed(model, _texts(request), stages)
        with stages.enter(Stage.LOADING):
            denoiser = self._load(model, plan)
            preview = load_preview(denoiser.vae, cache / "previews", model.fingerprint)
            layers = [read_weights(adapter, place.device, place.dtype) for adapter in adapters]
            provenance = self._provenance(request, model, plan, stages)
            kept = self._checkpoint(checkpoint, request, model, provenance) if checkpoint else None
        done = kept.standing.step if kept and kept.standing else 0
        with ExitStack() as stack:
            stack.enter_context(stages.enter(Stage.DENOISING, request.num_inference_steps, done))
            for transformer in denoiser.transformers:
                stack.enter_context(applied(transformer, layers))
            visit = place.device if plan.offloads and not place.on_cpu else None
            latents = sample(denoiser, request, embeddings, given, preview, stages, visit, kept)
        stages.seconds[Stage.DENOISING.value] += kept.standing.seconds if kept and kept.standing else 0
        frames = self._decode(denoiser, latents, stages, plan)
        return Rendered(
            frames=frames,
            sha256=frames_sha256(frames),
            seconds=stages.seconds,
            peak_memory_mb=stages.memory.peak_mb,
            provenance=provenance,
            resumed_from=done,
            warnings=(*(adapter.warning for adapter in adapters if adapter.skipped), *(kept.warnings if kept else ())),
        )

    def _decode(self, denoiser: Denoiser, latents: torch.Tensor, stages: Stages, plan: MemoryPlan) -> NDArray[np.uint8]:
        with ExitStack() as stack:
            stack.enter_context(visiting(denoiser.vae, self._placement.device))
            if plan.tiles:
                stack.enter_context(tiled(denoiser.vae))
            stack.enter_context(stages.enter(Stage.DECODING, decoder_passes(denoiser.vae, latents)))
            return decode(denoiser.vae, latents, stages)

    def _load(self, model: InstalledModel, plan: MemoryPlan) -> Denoiser:
        self._make_room(model, plan)
        if self._loaded is None:
            home = self._home(plan)
            denoiser = load_denoiser(model, home, self._placement.dtype)
            if self._placement.on_cpu:
                use_onednn(denoiser.vae)
            self._loaded = (model.fingerprint, home), denoiser
        return self._loaded[1]

    def _make_room(self, model: InstalledModel, plan: MemoryPlan) -> None:
        """Let another model go, or this one where it lies by another plan: never two models in memory."""
        if self._loaded is not None and self._loaded[0] != (model.fingerprint, self._home(plan)):
            self.close()

    def _home(self, plan: MemoryPlan) -> torch.device:
        """Where the model waits between its uses."""
        return torch.device("cpu") if plan.offloads else self._placement.device

    def _embed(self, model: InstalledModel, texts: list[str], observer: Observer | None) -> list[torch.Tensor]:
        facts = {name: fact for name, fact in self._environment().items() if name not in UNLIKELY}
        setup = json.dumps(facts, sort_keys=True)
        return embed(model, texts, self._settings.cache / "prompts", self._placement, setup, observer)

    def _environment(self) -> dict[str, str]:
        self._facts = self._facts or fixed_facts(self._placement)
        return self._facts | torch_settings(self._placement.device)

    def _provenance(
        self, request: GenerationRequest, model: InstalledModel, plan: MemoryPlan, observer: Observer
    ) -> Provenance:
        def sha256(path: Path) -> str:
            return self._hashes.sha256(path, between=lambda: check_cancelled(observer))

        picture = read_image(self._settings.inputs, request.image)
        return Provenance(
            model=model.spec.id,
            revision=model.revision,
            model_files={name: sha256(path) for name, path in model.weight_files().items()},
            loras={lora.name: sha256(self._loras.path(lora.name)) for lora in request.loras},
            image=None if picture is None else pixels_sha256(picture),
            plan=plan.name,
            environment=self._environment(),
        )

    def _checkpoint(
        self, path: Path, request: GenerationRequest, model: InstalledModel, provenance: Provenance
    ) -> Checkpoint:
        """The plan may be another when a clip is taken up again: it moves weights about, and decodes otherwise."""
        decisive = [request.to_dict(), model.fingerprint, provenance.loras, provenance.environment]
        identity = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return Checkpoint(path, identity, self._settings.checkpoint_seconds, self._placement.device)

    @contextmanager
    def _computing(self, plan: MemoryPlan) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(self._tidied(plan))
            if self._strict:
                stack.enter_context(pinned(self._threads))
            yield

    @contextmanager
    def _tidied(self, plan: MemoryPlan) -> Iterator[None]:
        """Out of memory becomes a sentence, and the device's memory is given back whatever happened."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._loaded = None
            raise OutOfMemory(
                f"The {self._placement.device.type} ran out of memory; choose a smaller size or fewer frames.",
                smaller_plan(plan, self._placement.on_cpu),
            ) from error
        finally:
            release_memory(self._placement)


def _texts(request: GenerationRequest) -> list[str]:
    """What the text encoder has to read for a clip."""
    return [request.styled_prompt] + ([request.negative_prompt] if request.guidance_scale > 1 else [])


def frames_sha256(frames: NDArray[np.uint8]) -> str:
    """SHA-256 of the shape and the bytes: equal exactly when two clips have the same frames."""
    digest = hashlib.sha256(repr(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
