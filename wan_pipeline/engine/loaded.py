"""A model as it waits between clips, and how it computes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig

from wan_pipeline.engine.device.cpu_convolution import use_onednn
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.load import Denoiser, load_denoiser
from wan_pipeline.engine.memory.block_streaming import Streamed, streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.inner_tensors import blocks_of, each_tensor
from wan_pipeline.engine.memory.offload import encoding_on, on_device, on_device_when_called
from wan_pipeline.engine.memory.quantize import computes_fp8
from wan_pipeline.engine.memory.weights import load_transformer
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency

PLAIN = (torch.Tensor, torch.nn.Parameter)
"""Quantized weights are another type, and always mapped from their file."""


@dataclass
class Loaded:
    """All of a model but its text encoder."""

    key: str
    """What of the model and of the plan it was loaded by: where it is the same, nothing has to be loaded."""
    denoiser: Denoiser
    streamed: list[Streamed] = field(default_factory=list)
    """Its transformers, where their blocks stream."""
    warnings: list[str] = field(default_factory=list)

    @property
    def host_bytes(self) -> int:
        """Of the machine's memory, what would be free without it; what is mapped from a file would be anyway."""
        if self.streamed:
            return sum(block.nbytes for model in self.streamed for block in model.blocks if block.slab is not None)
        modules = [*self.denoiser.transformers, self.denoiser.vae, self.denoiser.image_encoder]
        tensors = [tensor for part in modules if part is not None for _, _, tensor in each_tensor(part)]
        return sum(tensor.nbytes for tensor in tensors if tensor.device.type == "cpu" and type(tensor) in PLAIN)

    @contextmanager
    def computing(self, plan: MemoryPlan, device: torch.device, first_block_cache: float) -> Iterator[None]:
        """Within the block the transformers compute on the device by this plan."""
        denoiser = self.denoiser
        with ExitStack() as stack:
            if plan.compiled:  # or what was compiled without a LoRA would be used with one
                stack.enter_context(torch._dynamo.config.patch(skip_nnmodule_hook_guards=False))
            if plan.residency is Residency.STREAMED:
                stack.enter_context(streaming(self.streamed, device, plan.blocks))
                stack.enter_context(encoding_on(denoiser.vae, device, in_tiles=plan.encode == "tiles"))
                if denoiser.image_encoder is not None:
                    stack.enter_context(on_device_when_called(denoiser.image_encoder, device))
            elif plan.encode == "tiles":
                stack.enter_context(encoding_on(denoiser.vae, None, in_tiles=True))
            for transformer in denoiser.transformers:
                kept = 2 if first_block_cache else 0  # the cache looks at what went into these
                stack.enter_context(chunked(transformer, plan.chunk, kept, compiled=plan.compiled))
                if plan.compiled and not plan.chunk:
                    stack.enter_context(_compiled(transformer))
                if first_block_cache:
                    stack.enter_context(_cached(transformer, first_block_cache))
            yield

    @contextmanager
    def decoding(self, plan: MemoryPlan, device: torch.device) -> Iterator[Any]:
        """Within the block, which gets it, the VAE is on the device, in the plan's dtype."""
        vae = self.denoiser.vae
        if plan.vae == "bf16":
            yield deepcopy(vae).to(device, torch.bfloat16)
            return
        with on_device(vae, device):
            yield vae


def load(model: InstalledModel, key: str, plan: MemoryPlan, place: Placement, cache: Path) -> Loaded:
    """Raises ModelError, StorageError, GenerationError."""
    check_able(plan, place.device)
    stays = plan.residency is Residency.RESIDENT
    denoiser = load_denoiser(
        model,
        place.device if stays else torch.device("cpu"),
        place.dtype,
        lambda component, kind: load_transformer(model, component, kind, plan, place, cache),
    )
    loaded = Loaded(key, denoiser)
    if place.on_cpu:
        use_onednn(denoiser.vae)
    if plan.residency is Residency.STREAMED:
        loaded.streamed = [Streamed(transformer) for transformer in denoiser.transformers]
        for number, streamed in enumerate(loaded.streamed, 1):
            in_memory = number + plan.disk <= len(loaded.streamed)  # of two experts the second goes to the disk first
            if in_memory and not streamed.settle(pinned=not place.on_cpu):
                loaded.warnings.append("The system gave too little pinned memory, so that steps may take longer.")
    return loaded


def check_able(plan: MemoryPlan, device: torch.device) -> None:
    """Raises GenerationError for a plan that this device, or what is installed for it, cannot carry out."""
    if plan.precision is Precision.FP8_COMPUTE and device.type != "cpu" and not computes_fp8(device):
        raise GenerationError(
            "This GPU does not multiply in fp8, which takes one of NVIDIA's from the RTX 40 series on; "
            "choose fp8 or int8 weights."
        )
    if plan.residency is Residency.OFFLOAD and plan.precision.is_quantized:
        raise GenerationError(
            f"The plan offload cannot move {plan.precision} weights; choose the plan streamed, or bf16 weights."
        )
    if plan.compiled and device.type == "cuda" and find_spec("triton") is None:
        raise GenerationError(
            "Compiled blocks need the package triton (on Windows: triton-windows), which is not installed; "
            "install it or leave --compiled out."
        )


@contextmanager
def _compiled(transformer: torch.nn.Module) -> Iterator[None]:
    """Whole blocks; what torch has once compiled it finds again."""
    blocks = blocks_of(transformer)
    try:
        for block in blocks:
            block.forward = torch.compile(block.forward)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


@contextmanager
def _cached(transformer: Any, threshold: float) -> Iterator[None]:
    transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    try:
        yield
    finally:
        transformer.disable_cache()
