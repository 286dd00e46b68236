"""A transformer as a plan wants it: its own weights, or quantized ones that are made once and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import UMT5Config, UMT5EncoderModel

from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.load import check_table, load_component, load_tokenizer
from wan_pipeline.engine.memory.inner_tensors import blocks_of, move
from wan_pipeline.engine.memory.quantize import cast, load_quantized, map_weights, quantize, save_quantized, skeleton
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.storage.files import check_room

logger = logging.getLogger(__name__)


def computing_dtype(plan: MemoryPlan, place: Placement) -> torch.dtype:
    """Of the transformer: that of its weights, or where these are quantized the machine's own."""
    own = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
    return own.get(plan.precision, place.dtype)


def load_transformer(
    model: InstalledModel, component: str, kind: Any, plan: MemoryPlan, place: Placement, cache: Path
) -> torch.nn.Module:
    """On the device if it is to stay there, else in the machine's memory or mapped from its file.

    Raises ModelError, and StorageError if there is no room to keep quantized weights.
    """
    dtype = computing_dtype(plan, place)
    stays = plan.residency is Residency.RESIDENT
    if not plan.precision.is_quantized and plan.residency is not Residency.STREAMED:
        loaded: torch.nn.Module = load_component(
            model, component, kind, place.device if stays else torch.device("cpu"), dtype
        )
        return loaded
    if plan.precision.is_quantized:
        module = _quantized(model, component, kind, plan, place, cache)
    else:
        module = _mapped(model, component, kind)
        cast(module, dtype)
    if stays:
        move(module, lambda leaf: leaf.to(place.device))
    return module


def load_mapped_text_encoder(model: InstalledModel, dtype: torch.dtype) -> tuple[Any, Any]:
    """(tokenizer, UMT5 encoder), mapped from its files as far as they are in this dtype. Raises ModelError."""
    config = UMT5Config.from_dict(model.config("text_encoder"))
    encoder: Any = skeleton(lambda: UMT5EncoderModel(config))
    map_weights(encoder, model.component_files("text_encoder"))
    cast(encoder, dtype)
    check_table(model, encoder.get_input_embeddings().weight)
    return load_tokenizer(model), encoder


def quantized_file(model: InstalledModel, component: str, precision: Precision, cache: Path) -> Path:
    return cache / f"{model.fingerprint[:16]}-{component}-{precision.stored}.safetensors"


def weights_source(model: InstalledModel, place: Placement) -> str:
    """What a file of quantized weights was made from, and for."""
    return f"{model.fingerprint} {place.dtype}"


def _mapped(model: InstalledModel, component: str, kind: Any) -> torch.nn.Module:
    module = _empty(model, component, kind)
    map_weights(module, model.component_files(component))
    return module


def _empty(model: InstalledModel, component: str, kind: Any) -> torch.nn.Module:
    config = model.config(component)
    return skeleton(lambda: kind.from_config(config))


def _quantized(
    model: InstalledModel, component: str, kind: Any, plan: MemoryPlan, place: Placement, cache: Path
) -> torch.nn.Module:
    path = quantized_file(model, component, plan.precision, cache)
    source = weights_source(model, place)
    module = _empty(model, component, kind)
    if not load_quantized(module, path, source, plan.precision):
        _make(model, component, kind, plan.precision, place, path, source)
        module = _empty(model, component, kind)
        load_quantized(module, path, source, plan.precision)
    return module


def _make(
    model: InstalledModel, component: str, kind: Any, precision: Precision, place: Placement, path: Path, source: str
) -> None:
    """One block after another visits the device, so that neither it nor the machine's memory holds the originals."""
    logger.info("Making %s weights of %s, once; they are kept at %s", precision.stored, component, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_room(path.parent, sum(file.stat().st_size for file in model.component_files(component)) // 2)
    module = _mapped(model, component, kind)
    for block in blocks_of(module):
        move(block, _to(place.device))
        alone = torch.nn.Module()
        alone.blocks = torch.nn.ModuleList([block])
        quantize(alone, precision.stored, place.dtype)
        move(block, _to(torch.device("cpu")))
    cast(module, place.dtype)
    save_quantized(module, path, source)


def _to(device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda leaf: leaf.to(device)
