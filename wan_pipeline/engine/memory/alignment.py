"""64-byte aligned memory for every tensor that computes on the CPU.

A tensor that is mapped from a safetensors file is wherever the file puts it, usually 8 bytes past a cache line. On
some processors MKL takes another code path there and rounds differently (AMD EPYC with AVX-512, one-row matrix
products: 1.8e-7 apart), so that mapped weights would give other bits than a copy of them in torch's own memory, which
is aligned. Files written here are laid out so that nearly every mapped tensor is aligned; other tensors are copied.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from wan_pipeline.engine.memory.inner_tensors import NamedTensor, inner_tensors, rewrap, set_tensor
from wan_pipeline.models.weights import ALIGNMENT, TensorInfo, aligned_layout
from wan_pipeline.storage.files import whole_file

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""Torch's dtypes by their names in safetensors files."""


def is_aligned(tensor: torch.Tensor) -> bool:
    """Whether a plain tensor is on another device, or starts on a 64-byte boundary of the machine's memory."""
    return tensor.device.type != "cpu" or tensor.data_ptr() % ALIGNMENT == 0


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The plain tensor itself if it is aligned, else a copy that is."""
    return tensor if is_aligned(tensor) else tensor.clone()


def align(entries: Iterable[NamedTensor]) -> None:
    """Replace the tensors that are not aligned by copies. Names that share a tensor share its copy."""
    copies: dict[tuple[object, ...], torch.Tensor] = {}
    for owner, name, tensor in list(entries):
        inner = inner_tensors(tensor)
        if all(map(is_aligned, inner)):
            continue
        for part in inner:
            copies.setdefault(_key(part), aligned(part))
        copy = rewrap(tensor, iter([copies[_key(part)] for part in inner]))
        if isinstance(tensor, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, requires_grad=tensor.requires_grad)
        set_tensor(owner, name, copy)


def save_aligned(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file whose tensors are aligned when mapped, all but the odd-sized ones at its end.

    Raises StorageError.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    infos = {name: TensorInfo(DTYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in plain.items()}
    header, order = aligned_layout(infos, metadata)
    with whole_file(path) as part, part.open("wb") as file:
        file.write(header)
        for name in order:
            file.write(plain[name].view(-1).view(torch.uint8).numpy().data)


def _key(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
