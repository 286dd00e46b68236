"""Weights of eight or four bits, by optimum-quanto: made once, kept in a file, and read from it without the originals.

Only the linear layers inside the repeated blocks are quantized: they hold nearly everything, and the layers around them
are delicate. Computing goes through the full weight, made anew for each use: at the token counts of video that
costs next to nothing, where quanto's own way costs a pass over the activations, and crashes on some processors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from optimum.quanto import (
    QTensor,
    WeightQBitsTensor,
    WeightQBytesTensor,
    qfloat8_e4m3fn,
    qint4,
    qint8,
    quantization_map,
    quantize_weight,
)
from optimum.quanto.nn import QLinear
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.functional import linear
from transformers import PreTrainedModel

from wan_pipeline.engine.memory.inner_tensors import blocks_of, put
from wan_pipeline.errors import ModelError
from wan_pipeline.models.precision import Precision
from wan_pipeline.storage.files import whole_file

QTYPES: dict[Precision, Any] = {Precision.INT8: qint8, Precision.FP8: qfloat8_e4m3fn, Precision.INT4: qint4}
FP8_MAX = 448.0
"""The largest number of float8_e4m3fn."""
MAP, SOURCE = "quantization_map", "source"
FORMAT = "1"
WEIGHT_PARTS = ("weight._data", "weight._scale", "weight._shift", "weight._data._data")


class DequantizedLinear(QLinear):  # type: ignore[misc]
    """A quanto layer that computes with its full weight."""

    weight: Any

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return linear(inputs, full_weight(self.weight), self.bias)

    def freeze(self) -> None:
        """Quantize for good, in quanto's plain packing: the others belong to one device's kernels."""
        weight = self.weight.detach()
        if self.weight_qtype.bits == 8:
            scale, shift = self.optimizer(weight, qtype=self.weight_qtype, axis=0), None
        else:
            scale, shift = self.optimizer(weight, qtype=self.weight_qtype, axis=0, group_size=self.weight_group_size)
        quantized = quantize_weight(
            weight, self.weight_qtype, 0, scale, shift, group_size=self.weight_group_size, optimized=False
        )
        self.weight = torch.nn.Parameter(quantized, requires_grad=False)

    def take(self, parts: dict[str, torch.Tensor]) -> None:
        """Let the weight be what a file holds of it. KeyError where a part is missing."""
        shape: dict[str, Any] = {"size": self.weight.size(), "stride": self.weight.stride()}
        missing: list[str] = []
        if self.weight_qtype.bits == 8:
            weight = WeightQBytesTensor.load_from_state_dict(
                parts, "weight.", self.weight_qtype, 0, activation_qtype=None, missing_keys=missing, **shape
            )
        else:
            group = {"group_size": self.weight_group_size}
            weight = WeightQBitsTensor.load_from_state_dict(
                parts, "weight.", self.weight_qtype, 0, missing_keys=missing, **group, **shape
            )
        if missing:
            raise KeyError(missing[0])
        self.weight = torch.nn.Parameter(weight, requires_grad=False)


class Fp8Linear(DequantizedLinear):
    """A layer of fp8 weights that rounds its input to fp8 too, row by row, and multiplies in fp8.

    For GPUs that can (see `computes_fp8`). The relative error of one layer's output is about 4 %.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.flatten(0, -2)
        scale = rows.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / FP8_MAX
        product = torch._scaled_mm(
            (rows / scale).to(torch.float8_e4m3fn),
            self.weight._data.t(),
            scale_a=scale,
            scale_b=self.weight._scale.float().view(1, -1),
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        output = product.view(*inputs.shape[:-1], -1).to(inputs.dtype)
        return output if self.bias is None else output + self.bias


def computes_fp8(device: torch.device) -> bool:
    """Whether the device multiplies fp8 row by row: NVIDIA's from Ada on."""
    return device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 9)


def full_weight(weight: Any) -> Any:
    """What `weight.dequantize()` gives, bit for bit, by plain operations that torch.compile can see through."""
    if isinstance(weight, WeightQBytesTensor):
        data, scale = weight._data, weight._scale
        weight = scale * (data.to(scale.dtype) if data.is_floating_point() else data)
    elif isinstance(weight, WeightQBitsTensor):
        packed, scale, shift = weight._data._data, weight._scale, weight._shift
        # quanto's operator for this compiles an extension on its first use
        values = torch.cat([packed & 15, packed // 16])[: weight._data.shape[0]]
        weight = (scale * values - shift).reshape(weight.shape)
    return weight


def skeleton(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """The module that `make` makes, without memory for its weights."""
    with init_empty_weights(include_buffers=False):
        module = make()
    if isinstance(module, PreTrainedModel):
        module.tie_weights()  # what two names shared was made twice
    return module.eval()


def quantize(module: torch.nn.Module, precision: Precision, dtype: torch.dtype) -> None:
    """Quantize the linear layers of the module's blocks where they lie, one after another. They compute in `dtype`."""
    if not precision.is_quantized:
        return
    for block in blocks_of(module):
        for name, layer in list(block.named_modules()):
            if type(layer) is torch.nn.Linear:
                quantized = _kind(precision).from_module(layer.to(dtype), weights=QTYPES[precision.stored])
                quantized.freeze()
                block.set_submodule(name, quantized.requires_grad_(False).train(layer.training))


def _kind(precision: Precision) -> type[DequantizedLinear]:
    return Fp8Linear if precision is Precision.FP8_COMPUTE else DequantizedLinear


def cast(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """All floating weights but the quantized ones into `dtype`, except those that the library wants in 32 bits."""
    exact = set(getattr(module, "_keep_in_fp32_modules", None) or ())
    for prefix, owner in module.named_modules():
        for name, tensor in list(owner._parameters.items()):
            if tensor is not None and tensor.is_floating_point() and not isinstance(owner, DequantizedLinear):
                in_full = not exact.isdisjoint((*prefix.split("."), name))
                put(owner, name, tensor.detach().to(torch.float32 if in_full else dtype))


def save_quantized(module: torch.nn.Module, path: Path, source: str) -> None:
    """One file with all tensors and quanto's map of what is quantized; `source` names what it was made from.

    Raises StorageError.
    """
    metadata = {"format": "pt", MAP: json.dumps(quantization_map(module)), SOURCE: _source(source)}
    tensors = {name: tensor.contiguous() for name, tensor in _plain(module.state_dict()).items()}
    with whole_file(path) as part:
        save_file(tensors, part, metadata)


def load_quantized(skeleton: torch.nn.Module, path: Path, source: str, precision: Precision = Precision.INT8) -> bool:
    """Fill a module without weights (on the meta device) with those of the file, mapped into memory, not read.

    What the weights are is the file's matter; `precision` says whether they compute in fp8.

    False if there is no such file, or it was made from something else. Raises ModelError for a file that is damaged.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get(SOURCE) != _source(source):
                return False
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        _fill(skeleton, json.loads(metadata[MAP]), tensors, _kind(precision))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); remove it, and it is made again.") from error
    return True


def map_weights(skeleton: torch.nn.Module, files: Iterable[Path]) -> None:
    """Fill a module without weights with those of its files as they are, mapped into memory, not read.

    So a model larger than the memory can be quantized. Raises ModelError if a tensor is missing, foreign or misshapen.
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


def is_quantized(module: torch.nn.Module) -> bool:
    return any(isinstance(tensor, QTensor) for tensor in module.parameters())


def _fill(
    skeleton: torch.nn.Module,
    layers: dict[str, dict[str, str]],
    tensors: dict[str, torch.Tensor],
    kind: type[DequantizedLinear],
) -> None:
    for name, kinds in layers.items():
        quantized = kind.from_module(skeleton.get_submodule(name), weights=kinds["weights"])
        quantized.take({part: tensors.pop(f"{name}.{part}") for part in WEIGHT_PARTS if f"{name}.{part}" in tensors})
        skeleton.set_submodule(name, quantized.requires_grad_(False).eval())
    _assign(skeleton, tensors)


def _assign(skeleton: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Everything that is not quantized. KeyError, ValueError where file and module do not agree."""
    wanted = skeleton.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}  # a tensor may have several: a text encoder's embedding has two
    for key, tensor in wanted.items():
        names.setdefault(id(tensor), []).append(key)
    for prefix, owner in skeleton.named_modules():
        for name, tensor in [*owner._parameters.items(), *owner._buffers.items()]:
            key = f"{prefix}.{name}" if prefix else name
            if tensor is not None and key in wanted:
                put(owner, name, _found(tensors, names[id(tensor)], tensor.shape))
    if left := tensors.keys() - wanted.keys():
        raise ValueError(f"{sorted(left)[0]} is of another model")


def _found(tensors: dict[str, torch.Tensor], names: list[str], shape: torch.Size) -> torch.Tensor:
    for name in names:
        if name in tensors:
            if tensors[name].shape != shape:
                raise ValueError(f"{name} has the shape {tuple(tensors[name].shape)} and not {tuple(shape)}")
            return tensors[name]
    raise KeyError(f"{names[0]} is missing")


def _plain(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without second names of one tensor, which safetensors refuses."""
    seen: dict[int, str] = {}
    return {name: tensor for name, tensor in state.items() if seen.setdefault(tensor.data_ptr(), name) == name}


def _source(source: str) -> str:
    """A file of another format of ours is as good as none."""
    return f"{FORMAT}:{source}"
