"""Sets the attention backend of transformers, by the memory plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    dispatch_attention_fn,
)
from torch.nn.attention import SDPBackend, sdpa_kernel

from wan_pipeline.engine.attention.sage import HEAD_SIZES, PACKAGE, rounds_itself, sage_attention, sage_version
from wan_pipeline.errors import GenerationError
from wan_pipeline.planning.attention import Attention

BACKENDS = {
    Attention.NATIVE: "native",
    Attention.CUDNN: "_native_cudnn",
    Attention.SAGE: "sage",
}
"""Names in diffusers."""
TORCH_BACKENDS = {
    "_native_cudnn": SDPBackend.CUDNN_ATTENTION,
    "_native_flash": SDPBackend.FLASH_ATTENTION,
    "_native_efficient": SDPBackend.EFFICIENT_ATTENTION,
}
"""Backends of torch's attention, by their diffusers names."""


def set_attention(transformer: Any, attention: Attention, fastest: str) -> None:
    """Set how the transformer attends. `fastest` is the exact backend of this device, by its name in diffusers.

    SageAttention computes self-attention alone: cross-attention is short, and stays exact. Raises GenerationError for
    heads that it cannot compute.
    """
    if attention is not Attention.SAGE:
        transformer.set_attention_backend(BACKENDS.get(attention, fastest))
        return
    size = transformer.config.attention_head_dim
    if size not in HEAD_SIZES:
        raise GenerationError(
            f"SageAttention computes heads of {', '.join(map(str, HEAD_SIZES))} channels, and this model's have "
            f"{size}; choose --attention native."
        )
    transformer.set_attention_backend(fastest)
    _register_sage()
    for name, module in transformer.named_modules():
        if name.endswith("attn1"):
            module.processor._attention_backend = AttentionBackendName.SAGE


def fixed_attention(transformer: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Makes context managers in which two threads may run transformers that attend like this one.

    Diffusers names a backend to torch by flags of the whole process, around each call. Where they are set already,
    setting and resetting them changes nothing that the other thread could see.
    """
    names = {module.processor._attention_backend for module in transformer.modules() if hasattr(module, "processor")}
    found = [TORCH_BACKENDS[name] for name in names if name in TORCH_BACKENDS]
    return partial(sdpa_kernel, found) if found else nullcontext


def _register_sage() -> None:
    """Let diffusers compute its backend `sage` by our operator: its own needs version 2.1.1."""
    _AttentionBackendRegistry.register(AttentionBackendName.SAGE)(_sage)


def _sage(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: Any = None) -> torch.Tensor:
    attended: torch.Tensor = sage_attention(query, key, value)
    return attended


def attend_into(
    output: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: Any
) -> None:
    """Write the attention of (batch, tokens, heads, head size) tensors into `output`, which may be `query`."""
    if backend is AttentionBackendName.SAGE and rounds_itself(query) and output.stride(-1) == 1:
        from wan_pipeline.engine.attention.sage_hopper import hopper_attention  # here: it imports triton

        hopper_attention(query, key, value, output)
        return
    output.copy_(dispatch_attention_fn(query, key, value, attn_mask=None, backend=backend))


def backend_text(attention: Attention, fastest: str) -> str:
    """The backend as receipts write it."""
    name = BACKENDS.get(attention, fastest)
    return f"{name} {sage_version()}" if attention is Attention.SAGE else name


def check_attention(attention: Attention, device: torch.device) -> None:
    """Raise GenerationError for attention that the device, or what is installed for it, cannot compute."""
    if attention in (Attention.CUDNN, Attention.SAGE) and device.type != "cuda":
        raise GenerationError(
            f"The plan's attention is {attention}, which needs a GPU of NVIDIA; choose --attention native."
        )
    if attention is Attention.SAGE and sage_version() is None:
        raise GenerationError(
            f"The plan's attention is sage, and the package {PACKAGE} is not installed; install it "
            f"(pip install {PACKAGE}), or choose --attention native."
        )
