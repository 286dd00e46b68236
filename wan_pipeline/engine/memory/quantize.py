"""8-bit and 4-bit weights by optimum-quanto: quantized once, saved to a file, and mapped from it ever after.

Only the linear layers inside the repeated blocks are quantized: they hold nearly all weights, and the layers outside
are more sensitive. How a layer computes stands in `quantized_layers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from optimum.quanto import qfloat8_e4m3fn, qint4, qint8, quantization_map
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from wan_pipeline.engine.memory.alignment import save_aligned
from wan_pipeline.engine.memory.inner_tensors import blocks_of, set_tensor
from wan_pipeline.engine.memory.quantized_layers import DequantizedLinear, kind_of
from wan_pipeline.errors import ModelError
from wan_pipeline.models.precision import Precision

QTYPES: dict[Precision, Any] = {Precision.INT8: qint8, Precision.FP8: qfloat8_e4m3fn, Precision.INT4: qint4}
MAP, SOURCE = "quantization_map", "source"
"""Keys of a file's metadata."""
FORMAT = "1"
"""Version of the file format; files of another version are made again."""
WEIGHT_PARTS = ("weight._data", "weight._scale", "weight._shift", "weight._data._data")


def skeleton(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """The module that `make` returns, in eval mode, its weights on the meta device."""
    with init_empty_weights(include_buffers=False):
        module = make()
    if isinstance(module, PreTrainedModel):
        module.tie_weights()  # on the meta device tied weights come apart
    return module.eval()


def quantize(module: torch.nn.Module, precision: Precision, dtype: torch.dtype) -> None:
    """Quantize the linear layers of the module's blocks in place. Their outputs are in `dtype`."""
    if not precision.is_quantized:
        return
    for block in blocks_of(module):
        for name, layer in list(block.named_modules()):
            if type(layer) is torch.nn.Linear:
                quantized = kind_of(precision).from_module(layer.to(dtype), weights=QTYPES[precision.stored])
                quantized.freeze()
                block.set_submodule(name, quantized.requires_grad_(False).train(layer.training))


def cast(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast all floating weights that are not quantized to `dtype`, and to fp32 those that the library keeps in it."""
    in_fp32 = _modules_in_fp32(module, dtype)
    for prefix, owner in module.named_modules():
        for name, tensor in list(owner._parameters.items()):
            if tensor is not None and tensor.is_floating_point() and not isinstance(owner, DequantizedLinear):
                is_exempt = not in_fp32.isdisjoint((*prefix.split("."), name))
                set_tensor(owner, name, tensor.detach().to(torch.float32 if is_exempt else dtype))


def _modules_in_fp32(module: torch.nn.Module, dtype: torch.dtype) -> set[str]:
    """Names of submodules that `from_pretrained(dtype=dtype)` leaves in fp32.

    diffusers always leaves `_keep_in_fp32_modules`, transformers only for fp16; its strict list goes for bf16 too
    (transformers 5.23, `PreTrainedModel._get_dtype_plan`).
    """
    kept: set[str] = set(getattr(module, "_keep_in_fp32_modules", None) or ())
    if isinstance(module, PreTrainedModel):
        strict: set[str] = set(getattr(module, "_keep_in_fp32_modules_strict", None) or ())
        return strict | kept if dtype is torch.float16 else strict
    return kept


def save_quantized(module: torch.nn.Module, path: Path, source: str) -> None:
    """Write all tensors and quanto's map of the quantized layers to one file; `source` names what they were made from.

    Raises StorageError.
    """
    metadata = {"format": "pt", MAP: json.dumps(quantization_map(module)), SOURCE: _source(source)}
    save_aligned(_without_ties(module.state_dict()), path, metadata)


def load_quantized(skeleton: torch.nn.Module, path: Path, source: str, precision: Precision = Precision.INT8) -> bool:
    """Fill a module on the meta device with the file's weights, mapped into memory and not read.

    The file says how its weights are stored; of `precision` only how they compute matters. Returns False if
    there is no such file, or it was made from another source. Raises ModelError for a damaged file.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get(SOURCE) != _source(source):
                return False
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        _fill(skeleton, json.loads(metadata[MAP]), tensors, kind_of(precision))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); remove it, and it is made again.") from error
    return True


def map_weights(skeleton: torch.nn.Module, files: Iterable[Path]) -> None:
    """Fill a module on the meta device with the weights of its files, mapped into memory and not read.

    So a model larger than the memory can be quantized. Raises ModelError for a tensor that is missing, unexpected or of
    another shape.
    """
    tensors: dict[str, torch.Tensor] = {}
    paths = list(files)
    try:
        for path in paths:
            with safe_open(path, framework="pt") as file:
                tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        _assign(skeleton, tensors)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        folder = paths[0].parent if paths else "The model's folder"
        raise ModelError(f"{folder} cannot be used: {error}; put the model's files there again.") from error


def _fill(
    skeleton: torch.nn.Module,
    layers: dict[str, dict[str, str]],
    tensors: dict[str, torch.Tensor],
    kind: type[DequantizedLinear],
) -> None:
    for name, kinds in layers.items():
        quantized = kind.from_module(skeleton.get_submodule(name), weights=kinds["weights"])
        quantized.load({part: tensors.pop(f"{name}.{part}") for part in WEIGHT_PARTS if f"{name}.{part}" in tensors})
        skeleton.set_submodule(name, quantized.requires_grad_(False).eval())
    _assign(skeleton, tensors)


def _assign(skeleton: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Assign the tensors that are not quantized. Raises KeyError or ValueError where file and module disagree."""
    wanted = skeleton.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}  # of each tensor; a text encoder's tied embedding table has two
    for key, tensor in wanted.items():
        names.setdefault(id(tensor), []).append(key)
    for prefix, owner in skeleton.named_modules():
        for name, tensor in [*owner._parameters.items(), *owner._buffers.items()]:
            key = f"{prefix}.{name}" if prefix else name
            if tensor is not None and key in wanted:
                set_tensor(owner, name, _found(tensors, names[id(tensor)], tensor.shape))
    if left := tensors.keys() - wanted.keys():
        raise ValueError(f"{sorted(left)[0]} belongs to another model")


def _found(tensors: dict[str, torch.Tensor], names: list[str], shape: torch.Size) -> torch.Tensor:
    for name in names:
        if name in tensors:
            if tensors[name].shape != shape:
                raise ValueError(f"{name} has the shape {tuple(tensors[name].shape)} and not {tuple(shape)}")
            return tensors[name]
    raise KeyError(f"{names[0]} is missing")


def _without_ties(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state with one name for each tensor."""
    seen: dict[int, str] = {}
    return {name: tensor for name, tensor in state.items() if seen.setdefault(tensor.data_ptr(), name) == name}


def _source(source: str) -> str:
    """The source as it is written in a file of the present format."""
    return f"{FORMAT}:{source}"
