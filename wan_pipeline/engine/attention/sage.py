"""SageAttention (arXiv 2411.10958), if it is installed: scores by int8 products, values by fp16 or fp8 ones.

Version 1 is a package of triton kernels on PyPI; version 2 is built from source, with kernels for each generation.
Where tokens are no multiple of 64, version 1 counts up to 63 keys of score 0 too many (`attn_qk_int8_per_block.py`):
at the tokens of real clips that is far below its error, in clips of a few hundred tokens it shows.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGE = "sageattention"
HEAD_SIZES = (64, 96, 128)
OWN_ROUNDING = "2.2."
"""Versions whose kernel for Hopper is known: its inputs come from kernels of ours, which take a third of the time."""
HOPPER = (9, 0)


def sage_version() -> str | None:
    """The version that is installed; None if none is."""
    return package_version(PACKAGE)


def package_version(package: str) -> str | None:
    """The version of a package that is installed; None if it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@torch.library.custom_op("wan_studio::sage_attention", mutates_args=())
def sage_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of (batch, tokens, heads, head size) tensors in 16 bits, without a mask.

    An operator of its own, so that compiled blocks take it as it is. Keys lose their mean over the tokens first, which
    changes no score's rank and makes them fit int8 better; version 1 would write over the keys for it.
    """
    if rounds_itself(query):
        from wan_pipeline.engine.attention.sage_hopper import hopper_attention  # here: it imports triton

        return hopper_attention(query, key, value)
    from sageattention import sageattn  # here: it is not installed everywhere, and imports triton

    if (sage_version() or "").startswith("1."):
        key = key - key.mean(dim=1, keepdim=True)
        output = sageattn(query, key, value, tensor_layout="NHD", smooth_k=False)
    else:
        output = sageattn(query, key, value, tensor_layout="NHD")
    contiguous: torch.Tensor = output.contiguous()
    return contiguous


@sage_attention.register_fake
def _(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return query.new_empty(query.shape)


def rounds_itself(query: torch.Tensor) -> bool:
    """Whether `sage_hopper` prepares what SageAttention's kernel multiplies."""
    is_known = (sage_version() or "").startswith(OWN_ROUNDING) and query.shape[-1] == 128
    return is_known and torch.version.hip is None and torch.cuda.get_device_capability(query.device) == HOPPER
