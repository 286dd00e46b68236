"""A transformer's weights in the precision and the place that a memory plan asks for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import UMT5Config, UMT5EncoderModel

from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.engine.loading.load import check_embedding_table, load_component, load_tokenizer
from wan_pipeline.engine.memory.alignment import align, aligned
from wan_pipeline.engine.memory.inner_tensors import blocks_of, map_tensors, named_tensors
from wan_pipeline.engine.memory.quantize import cast, load_quantized, map_weights, quantize, save_quantized, skeleton
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.storage.files import check_room
from wan_pipeline.storage.locks import only_writer

logger = logging.getLogger(__name__)


def compute_dtype(plan: MemoryPlan, place: Placement) -> torch.dtype:
    """The dtype of the transformer's activations: that of its weights, or the placement's if these are quantized."""
    own = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
    return own.get(plan.precision, place.dtype)


def load_transformer(
    model: InstalledModel, component: str, kind: Any, plan: MemoryPlan, place: Placement, cache: Path
) -> torch.nn.Module:
    """The transformer on its home device: the device if it is resident, else the CPU, in memory or mapped from a file.

    Raises ModelError, and StorageError if quantized weights cannot be saved.
    """
    dtype = compute_dtype(plan, place)
    home = place.device if plan.residency is Residency.RESIDENT else CPU
    if not plan.precision.is_quantized and plan.residency is not Residency.STREAMED:
        loaded: torch.nn.Module = load_component(model, component, kind, home, dtype)
        return loaded
    if plan.precision.is_quantized:
        module = _load_quantized(model, component, kind, plan, place, cache)
    else:
        module = _map(model, component, kind)
        cast(module, dtype)
    if plan.residency is not Residency.STREAMED:  # streamed blocks compute from aligned slabs
        map_tensors(module, lambda tensor: tensor.to(home))
        align(named_tensors(module))
    return module


def load_mapped_text_encoder(model: InstalledModel, dtype: torch.dtype) -> tuple[Any, Any]:
    """(tokenizer, UMT5 encoder), its weights mapped from the files where they have this dtype. Raises ModelError."""
    config = UMT5Config.from_dict(model.config("text_encoder"))
    encoder: Any = skeleton(lambda: UMT5EncoderModel(config))
    map_weights(encoder, model.component_files("text_encoder"))
    cast(encoder, dtype)
    check_embedding_table(model, encoder.get_input_embeddings().weight)
    return load_tokenizer(model), encoder


def quantized_file(model: InstalledModel, component: str, precision: Precision, cache: Path) -> Path:
    return cache / f"{model.fingerprint[:16]}-{component}-{precision.stored}.safetensors"


def weights_source(model: InstalledModel, place: Placement) -> str:
    """Names what quantized weights were made from, and the dtype they compute in."""
    return f"{model.fingerprint} {place.dtype}"


def _map(model: InstalledModel, component: str, kind: Any) -> torch.nn.Module:
    module = _skeleton(model, component, kind)
    map_weights(module, model.component_files(component))
    return module


def _skeleton(model: InstalledModel, component: str, kind: Any) -> torch.nn.Module:
    config = model.config(component)
    return skeleton(lambda: kind.from_config(config))


def _load_quantized(
    model: InstalledModel, component: str, kind: Any, plan: MemoryPlan, place: Placement, cache: Path
) -> torch.nn.Module:
    """Mapped from the file of quantized weights, which one process makes first if it is not there."""
    path = quantized_file(model, component, plan.precision, cache)
    source = weights_source(model, place)
    module = _skeleton(model, component, kind)
    if load_quantized(module, path, source, plan.precision):
        return module
    with only_writer(path):
        if not load_quantized(module, path, source, plan.precision):
            _make_quantized(model, component, kind, plan.precision, place, path, source)
            load_quantized(module, path, source, plan.precision)
    return module


def _make_quantized(
    model: InstalledModel, component: str, kind: Any, precision: Precision, place: Placement, path: Path, source: str
) -> None:
    """Quantize one block after another on the device, so that no memory ever holds all original weights."""
    logger.info("Quantizing %s of %s to %s, once; saved at %s", component, model.spec.id, precision.stored, path)
    check_room(path.parent, sum(file.stat().st_size for file in model.component_files(component)) // 2)
    module = _map(model, component, kind)
    for block in blocks_of(module):
        map_tensors(block, lambda tensor: aligned(tensor.to(place.device)))
        alone = torch.nn.Module()
        alone.blocks = torch.nn.ModuleList([block])
        quantize(alone, precision.stored, place.dtype)
        map_tensors(block, lambda tensor: tensor.to(CPU))
    cast(module, place.dtype)
    save_quantized(module, path, source)
