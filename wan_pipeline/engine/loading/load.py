"""Loads a model's modules strictly: weights that are missing, damaged or misshapen raise ModelError."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from diffusers.utils import logging as diffusers_logging
from transformers import AutoTokenizer, CLIPVisionModel, UMT5EncoderModel
from transformers.utils import logging as transformers_logging

from wan_pipeline.engine.device.placement import is_out_of_memory
from wan_pipeline.engine.memory.alignment import align
from wan_pipeline.engine.memory.inner_tensors import named_tensors
from wan_pipeline.errors import ModelError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.configs import read_config
from wan_pipeline.models.reading.inspect import VACE_PIPELINE, check_parts, read_layout

TRANSFORMER_ENDS = ("patch_embedding", "condition_embedder", "proj_out")
VAE_ENDS = ("encoder.conv_in", "decoder.conv_in", "decoder.conv_out", "quant_conv", "post_quant_conv")
"""Layers that everything passes through. They are small, and a damaged or wrongly converted file shows in them."""
LOCAL = {"local_files_only": True}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Denoiser:
    """All modules of a model except its text encoder, in eval mode."""

    pipeline: str
    """The class name of its diffusers pipeline."""
    transformer: Any
    transformer_2: Any | None
    """The expert of the low-noise steps; None for models without experts."""
    boundary_ratio: float | None
    """The noise level, from 0 to 1, below which the second expert takes over."""
    vae: Any
    image_encoder: Any | None
    image_processor: Any | None
    scheduler_config: dict[str, Any]
    expand_timesteps: bool

    @property
    def transformers(self) -> tuple[Any, ...]:
        return (self.transformer,) if self.transformer_2 is None else (self.transformer, self.transformer_2)


def quiet_libraries() -> None:
    """Turn off the progress bars and warnings of diffusers and transformers: what matters is checked here."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()


def load_text_encoder(model: InstalledModel, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """(tokenizer, UMT5 encoder). Raises ModelError."""
    encoder = load_component(model, "text_encoder", UMT5EncoderModel, device, dtype)
    check_embedding_table(model, encoder.get_input_embeddings().weight)
    return load_tokenizer(model), encoder


def load_tokenizer(model: InstalledModel) -> Any:
    """Raises ModelError."""
    return _guarded(model, "tokenizer", lambda folder: AutoTokenizer.from_pretrained(folder, **LOCAL))


def load_denoiser(
    model: InstalledModel,
    device: torch.device,
    dtype: torch.dtype,
    load_transformer: Callable[[str, Any], Any] | None = None,
) -> Denoiser:
    """Load transformers in `dtype`, and VAE and image encoder in fp32, to the device. Raises ModelError.

    `load_transformer` may load the transformers instead; it is given the component's name and its class.
    """
    load = load_transformer or (lambda component, kind: load_component(model, component, kind, device, dtype))
    layout = read_layout(model.spec.title, model.index())
    check_parts(model.spec.title, layout, lambda name: read_config(model.folder / name))
    has = layout.components
    kind = WanVACETransformer3DModel if layout.pipeline == VACE_PIPELINE else WanTransformer3DModel
    transformers = {name: load(name, kind) for name in ("transformer", "transformer_2") if name in has}
    vae = load_component(model, "vae", AutoencoderKLWan, device, torch.float32)
    for name, module in transformers.items():
        _check_ends(model, name, module, TRANSFORMER_ENDS)
    _check_ends(model, "vae", vae, VAE_ENDS)
    image_encoder, image_processor = load_image_encoder(model, device)
    return Denoiser(
        pipeline=layout.pipeline,
        transformer=transformers["transformer"],
        transformer_2=transformers.get("transformer_2"),
        boundary_ratio=layout.boundary_ratio,
        vae=vae,
        image_encoder=image_encoder,
        image_processor=image_processor,
        scheduler_config=model.config("scheduler", "scheduler_config.json"),
        expand_timesteps=layout.expand_timesteps,
    )


def load_image_encoder(model: InstalledModel, device: torch.device) -> tuple[Any | None, Any | None]:
    """(CLIP encoder in fp32, its processor), None for a model that has none. Raises ModelError."""
    has = read_layout(model.spec.title, model.index()).components
    encoder = processor = None
    if "image_encoder" in has:
        encoder = load_component(model, "image_encoder", CLIPVisionModel, device, torch.float32)
    if "image_processor" in has:
        processor = _guarded(model, "image_processor", _image_processor)
    return encoder, processor


def check_embedding_table(model: InstalledModel, table: torch.Tensor) -> None:
    """Raise ModelError for a token embedding table of zeros, which a wrong conversion leaves: all prompts are alike."""
    _check_values(model, "text_encoder", "word embeddings", table)


def _check_ends(model: InstalledModel, component: str, module: Any, ends: tuple[str, ...]) -> None:
    for end in ends:
        for name, weight in module.get_submodule(end).named_parameters():
            if name.endswith("weight") and weight.ndim > 1:  # biases and position embeddings may be zero
                _check_values(model, component, f"{end}.{name}", weight)


def _check_values(model: InstalledModel, component: str, name: str, weight: torch.Tensor) -> None:
    low, high = torch.aminmax(weight)
    if not bool(torch.isfinite(high - low)):
        raise _broken(model, component, f"its {name} are not numbers")
    if not (bool(low) or bool(high)):
        raise _broken(model, component, f"its {name} are all zero")


def load_component(model: InstalledModel, component: str, kind: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """One of a model's modules on the device, in eval mode. Raises ModelError."""

    def load(folder: Path) -> tuple[Any, dict[str, Any]]:
        loaded: tuple[Any, dict[str, Any]] = kind.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **LOCAL
        )
        return loaded

    module, report = _guarded(model, component, load)
    # Both libraries fill missing tensors with random numbers, and only log it.
    for fault in ("missing_keys", "mismatched_keys"):
        if report.get(fault):
            first = sorted(str(key) for key in report[fault])[0]
            raise _broken(model, component, f"{len(report[fault])} tensors are missing or misshapen, first {first}")
    logger.info("Loaded %s of %s on %s in %s", component, model.spec.id, device, dtype)
    module.to(device).eval()
    align(named_tensors(module))  # both libraries map weights that have this dtype already
    return module


def _image_processor(folder: Path) -> Any:
    from transformers import CLIPImageProcessorPil  # here: few models have one, and importing it takes a while

    return CLIPImageProcessorPil.from_pretrained(folder, **LOCAL)


def _guarded(model: InstalledModel, component: str, load: Callable[[Path], Any]) -> Any:
    try:
        return load(model.folder / component)
    except Exception as error:  # the libraries raise a dozen types for a damaged folder
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise _broken(model, component, str(error).splitlines()[0][:300] if str(error) else repr(error)) from error


def _broken(model: InstalledModel, component: str, reason: str) -> ModelError:
    folder = model.folder / component
    return ModelError(f"{model.spec.title} cannot be loaded: {folder}: {reason}; put the model's files there again.")
