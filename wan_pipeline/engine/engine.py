"""From a request to frames. One model stays loaded between clips; nothing else does."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from wan_pipeline.engine.cpu_conv import use_onednn
from wan_pipeline.engine.decode import decode
from wan_pipeline.engine.device import MemoryGauge, Placement, choose_placement, is_out_of_memory, release_memory
from wan_pipeline.engine.image import load_image
from wan_pipeline.engine.preview import load_preview
from wan_pipeline.engine.progress import Observer, Stage
from wan_pipeline.engine.sample import sample
from wan_pipeline.engine.stages import Stages
from wan_pipeline.engine.text import embed
from wan_pipeline.errors import GenerationError
from wan_pipeline.lora.adapter import plan_adapter
from wan_pipeline.lora.apply import applied, read_weights
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.load import Denoiser, load_denoiser, quiet_libraries
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
    environment: dict[str, str]
    """What else decides the bits: versions, device, dtype, the model's fingerprint."""
    warnings: tuple[str, ...] = ()
    """What was left out on the way, one sentence each."""


class Engine:
    """Renders one request at a time. After any error it is as it was before."""

    def __init__(self, settings: Settings, placement: Placement | None = None) -> None:
        quiet_libraries()
        self._settings = settings
        self._models = ModelLibrary(settings)
        self._loras = LoraLibrary(settings.loras)
        self._placement = placement or choose_placement()
        self._loaded: tuple[str, Denoiser] | None = None

    def render(self, request: GenerationRequest, observer: Observer) -> Rendered:
        """The clip's frames. Raises UserError, GenerationError or Cancelled."""
        with torch.inference_mode(), self._tidied():
            return self._render(request, Stages(observer, MemoryGauge(self._placement)))

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

    def _render(self, request: GenerationRequest, stages: Stages) -> Rendered:
        place, cache = self._placement, self._settings.cache
        model = self._models.find(request.model)
        adapters = [plan_adapter(self._loras.path(lora.name), model, lora.weight) for lora in request.loras]
        image = load_image(self._settings.inputs, request)
        with stages.enter(Stage.ENCODING_TEXT):
            texts = [request.styled_prompt] + ([request.negative_prompt] if request.guidance_scale > 1 else [])
            embeddings = embed(model, texts, cache / "prompts", place)
        with stages.enter(Stage.LOADING):
            denoiser = self._load(model)
            preview = load_preview(denoiser.vae, cache / "previews", model.fingerprint)
            layers = [read_weights(adapter, place.device, place.dtype) for adapter in adapters]
        with stages.enter(Stage.DENOISING, request.num_inference_steps), applied(denoiser.transformer, layers):
            latents = sample(denoiser, request, embeddings, image, preview, stages)
        with stages.enter(Stage.DECODING, latents.shape[2]):
            frames = decode(denoiser.vae, latents, stages)
        return Rendered(
            frames=frames,
            sha256=frames_sha256(frames),
            seconds=stages.seconds,
            peak_memory_mb=stages.memory.peak_mb,
            environment=self._environment(model),
            warnings=tuple(adapter.warning for adapter in adapters if adapter.skipped),
        )

    def _load(self, model: InstalledModel) -> Denoiser:
        if self._loaded is None or self._loaded[0] != model.fingerprint:
            self.close()  # never two models in memory
            denoiser = load_denoiser(model, self._placement.device, self._placement.dtype)
            if self._placement.on_cpu:
                use_onednn(denoiser.vae)
            self._loaded = (model.fingerprint, denoiser)
        return self._loaded[1]

    def _environment(self, model: InstalledModel) -> dict[str, str]:
        libraries = {name: version(name) for name in ("torch", "diffusers", "transformers")}
        return libraries | {
            "device": self._placement.device.type,
            "dtype": str(self._placement.dtype).removeprefix("torch."),
            "model_fingerprint": model.fingerprint,
        }

    @contextmanager
    def _tidied(self) -> Iterator[None]:
        """Out of memory becomes a sentence, and the device's memory is given back whatever happened."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._loaded = None
            raise GenerationError(
                f"The {self._placement.device.type} ran out of memory; choose a smaller size or fewer frames."
            ) from error
        finally:
            release_memory(self._placement)


def frames_sha256(frames: NDArray[np.uint8]) -> str:
    """SHA-256 of the shape and the bytes: equal exactly when two clips have the same frames."""
    digest = hashlib.sha256(repr(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
