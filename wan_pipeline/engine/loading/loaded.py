"""A loaded model: where its weights wait between clips, and what is changed while it computes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from wan_pipeline.engine.attention.backends import set_attention
from wan_pipeline.engine.device.cpu_convolution import use_onednn
from wan_pipeline.engine.device.placement import CPU, Placement, release_memory, release_pinned
from wan_pipeline.engine.int8.errors import LayerErrors, measuring
from wan_pipeline.engine.int8.exact import exact_layers
from wan_pipeline.engine.loading.device_support import check_device_supports
from wan_pipeline.engine.loading.load import Denoiser, load_denoiser
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming, streaming_forwards
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.inner_tensors import blocks_of, named_tensors
from wan_pipeline.engine.memory.offload import encode_on_device, forward_on_device, on_device, tiled_encode
from wan_pipeline.engine.memory.weights import load_transformer
from wan_pipeline.engine.step_cache import Caching, PassCounter, step_cache
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency

PLAIN = (torch.Tensor, torch.nn.Parameter)
"""Types of tensors in memory of their own. Quantized weights have other types, and are mapped from their file."""


@dataclass
class Loaded:
    """All modules of a model except its text encoder, loaded by one memory plan."""

    key: str
    """Names the model and what of the plan decides how it is loaded: with the same key it need not be loaded again."""
    denoiser: Denoiser
    streamed: list[StreamedModel] = field(default_factory=list)
    """The transformers, if their blocks are streamed."""
    errors: LayerErrors | None = None
    """Measures the layers that multiply in int8 while the next clip denoises; None where that was done."""
    warnings: list[str] = field(default_factory=list)

    @property
    def host_bytes(self) -> int:
        """Host memory that releasing the model would free. Memory mapped from files counts as free already."""
        if self.streamed:
            return sum(block.nbytes for model in self.streamed for block in model.blocks if block.home_slab is not None)
        modules = [*self.denoiser.transformers, self.denoiser.vae, self.denoiser.image_encoder]
        tensors = [tensor for part in modules if part is not None for _, _, tensor in named_tensors(part)]
        return sum(tensor.nbytes for tensor in tensors if tensor.device.type == "cpu" and type(tensor) in PLAIN)

    @contextmanager
    def denoising(
        self,
        plan: MemoryPlan,
        device: torch.device,
        caching: Caching | None = None,
        counter: PassCounter | None = None,
    ) -> Iterator[None]:
        """Context manager: the transformers compute on the device by this plan, and the VAE encodes there.

        `counter` counts what a step cache skips.
        """
        with ExitStack() as stack:
            self._set_up(stack, plan, device, caching, counter or PassCounter())
            yield
            if self.errors is not None:
                self.errors.save()

    @contextmanager
    def decoding(self, plan: MemoryPlan, device: torch.device) -> Iterator[Any]:
        """Context manager: the VAE, on the device and in the plan's dtype."""
        vae = self.denoiser.vae
        if plan.vae == "bf16":
            yield deepcopy(vae).to(device, torch.bfloat16)
            return
        with on_device(vae, device):
            yield vae

    def _set_up(
        self, stack: ExitStack, plan: MemoryPlan, device: torch.device, caching: Caching | None, counter: PassCounter
    ) -> None:
        """What a plan changes in the modules, in the order of entering; it is undone in reverse.

        Adapters are applied before, as forward hooks of linear layers, which nothing here replaces. Then:

        1. Compile guards come before anything is traced.
        2. Streaming binds weights in hooks of whole blocks. Hooks run around a block's `forward`, so whatever replaces
           `forward` below finds the weights bound, and compiled code never contains a hook or an event. The adapters'
           tensors are buffers of the layers by now, so blocks carry them.
        3. Encoding touches only the VAE and the image encoder, and exact layers are only marked; the place of both does
           not matter.
        4. Chunked forward replaces the `forward` of blocks and transformer.
        5. Compiling wraps a block's `forward` as it is then. With chunked forward it is not whole blocks that are
           compiled but the pointwise operations within, so only one of the two ever replaces a block's `forward`.
        6. Measuring int8's errors calls a block's `forward` once more, so it comes below what counts calls.
        7. A step cache wraps the `forward` that it finds, so it comes last: it skips blocks, however they compute.
           Streaming binds weights right below it then, instead of in hooks, so that a skipped block is not copied.
        """
        denoiser, stream = self.denoiser, None
        if plan.compiled:
            stack.enter_context(guards_on_hooks())
        if plan.residency is Residency.STREAMED:
            stream = stack.enter_context(streaming(self.streamed, device, plan.blocks, by_call=caching is None))
            stack.enter_context(encode_on_device(denoiser.vae, device))
            if denoiser.image_encoder is not None:
                stack.enter_context(forward_on_device(denoiser.image_encoder, device))
        if plan.encode == "tiles":
            stack.enter_context(tiled_encode(denoiser.vae))
        for number, transformer in enumerate(denoiser.transformers):
            self._change_forward(stack, plan, transformer, caching)
            if caching:
                if stream is not None:
                    stack.enter_context(streaming_forwards(self.streamed[number].blocks, stream))
                stack.enter_context(step_cache(transformer, caching, counter))

    def _change_forward(self, stack: ExitStack, plan: MemoryPlan, transformer: Any, caching: Caching | None) -> None:
        """From 4 to 6, with exact layers."""
        stack.enter_context(exact_layers(transformer, plan.exact))
        kept, whole = (caching.kept_inputs, caching.predicts_output) if caching else (0, plan.split > 1)
        how = {"compiled": plan.compiled, "fused": plan.fused, "whole_head": whole}
        stack.enter_context(chunked(transformer, plan.chunk, kept, **how))
        if plan.compiled and not plan.chunk:
            stack.enter_context(_compiled_blocks(transformer))
        if self.errors is not None:
            stack.enter_context(measuring(transformer, self.errors))


def load(model: InstalledModel, key: str, plan: MemoryPlan, place: Placement, cache: Path) -> Loaded:
    """Load a model by the plan; `cache` is the folder of quantized weights.

    Raises ModelError, StorageError, and GenerationError for a plan that the device cannot carry out.
    """
    check_device_supports(plan, place.device)
    denoiser = load_denoiser(
        model,
        place.device if plan.residency is Residency.RESIDENT else CPU,
        place.dtype,
        lambda component, kind: load_transformer(model, component, kind, plan, place, cache),
    )
    loaded = Loaded(key, denoiser)
    if place.on_cpu:
        use_onednn(denoiser.vae)
    if plan.residency is Residency.STREAMED:
        loaded.streamed = [StreamedModel(transformer) for transformer in denoiser.transformers]
        in_memory = loaded.streamed[: max(0, len(loaded.streamed) - plan.disk)]  # the last expert goes to disk first
        if not all([streamed.move_to_host_memory(pinned=not place.on_cpu) for streamed in in_memory]):
            loaded.warnings.append("The system gave too little pinned memory, so that steps may take longer.")
    return loaded


class ModelHolder:
    """Keeps one model loaded between clips: never two models in memory."""

    def __init__(self, place: Placement, cache: Path) -> None:
        """`cache` is the studio's."""
        self._place = place
        self._cache = cache
        self.loaded: Loaded | None = None

    @property
    def host_bytes(self) -> int:
        """Host memory that `release` would free."""
        return self.loaded.host_bytes if self.loaded else 0

    def load(self, model: InstalledModel, plan: MemoryPlan, fastest: str) -> Loaded:
        """The model, loaded by this plan unless it is already. Raises what `load` raises.

        `fastest` is the exact attention backend for plans that name none, by its name in diffusers.
        """
        self.release_unless(model, plan)
        if self.loaded is None:
            self.loaded = load(model, _load_key(model, plan), plan, self._place, self._cache / "weights")
        self.loaded.errors = LayerErrors.missing(model.spec.id, model.fingerprint, plan, self._cache)
        check_device_supports(plan, self._place.device)  # a loaded model may get another attention
        for transformer in self.loaded.denoiser.transformers:
            set_attention(transformer, plan.attention, fastest)
        return self.loaded

    def release_unless(self, model: InstalledModel, plan: MemoryPlan) -> None:
        """Release the loaded model if it is another one, or was loaded by a plan that places weights otherwise."""
        if self.loaded is not None and self.loaded.key != _load_key(model, plan):
            self.release()

    def release(self) -> None:
        self.loaded = None
        release_memory(self._place)
        release_pinned(self._place)


def _load_key(model: InstalledModel, plan: MemoryPlan) -> str:
    return f"{model.fingerprint} {plan.residency} {plan.precision} {plan.disk}"


def guards_on_hooks() -> AbstractContextManager[Any]:
    """Let compiled code check a module's hooks: else code compiled without a LoRA would be used with one."""
    guards: AbstractContextManager[Any] = torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)
    return guards


@contextmanager
def _compiled_blocks(transformer: torch.nn.Module) -> Iterator[None]:
    """Compile the transformer's blocks, each as a whole. Torch finds code that it has compiled before."""
    blocks = blocks_of(transformer)
    try:
        for block in blocks:
            block.forward = torch.compile(block.forward)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)
