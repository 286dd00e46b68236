"""8-bit and 4-bit weights by optimum-quanto: quantized once, saved to a file, and mapped from it ever after.

Only the linear layers inside the repeated blocks are quantized: they hold nearly all weights, and the layers outside
are more sensitive. A layer dequantizes its whole weight for each forward: at the token counts of video that costs next
to nothing, where quanto's own kernels cost a pass over the activations, and crash on some processors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from optimum.quanto import (
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
from torch.nn.functional import linear
from transformers import PreTrainedModel

from wan_pipeline.engine.memory.alignment import save_aligned
from wan_pipeline.engine.memory.inner_tensors import blocks_of, set_tensor
from wan_pipeline.errors import ModelError
from wan_pipeline.models.precision import Precision

QTYPES: dict[Precision, Any] = {Precision.INT8: qint8, Precision.FP8: qfloat8_e4m3fn, Precision.INT4: qint4}
FP8_MAX = 448.0
"""The largest finite number of float8_e4m3fn."""
MAP, SOURCE = "quantization_map", "source"
"""Keys of a file's metadata."""
FORMAT = "1"
"""Version of the file format; files of another version are made again."""
WEIGHT_PARTS = ("weight._data", "weight._scale", "weight._shift", "weight._data._data")


class DequantizedLinear(QLinear):  # type: ignore[misc]
    """A quanto layer that computes with its dequantized weight."""

    weight: Any

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return linear(inputs, dequantized(self.weight), self.bias)

    def freeze(self) -> None:
        """Quantize the weight in quanto's plain packing: its other packings belong to one device's kernels."""
        weight = self.weight.detach()
        if self.weight_qtype.bits == 8:
            scale, shift = self.optimizer(weight, qtype=self.weight_qtype, axis=0), None
        else:
            scale, shift = self.optimizer(weight, qtype=self.weight_qtype, axis=0, group_size=self.weight_group_size)
        quantized = quantize_weight(
            weight, self.weight_qtype, 0, scale, shift, group_size=self.weight_group_size, optimized=False
        )
        self.weight = torch.nn.Parameter(quantized, requires_grad=False)

    def load(self, parts: dict[str, torch.Tensor]) -> None:
        """Take the quantized weight from a file's tensors. Raises KeyError if one is missing."""
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
    """An fp8 layer that also rounds its input to fp8, row by row, and multiplies in fp8.

    For devices of which `computes_fp8` is true. The relative error of one layer's output is about 4 %.
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
    """Whether the device multiplies fp8 with a scale for each row: NVIDIA GPUs from Ada on."""
    return device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 9)


def dequantized(weight: Any) -> Any:
    """The bits of `weight.dequantize()`, by plain operations that torch.compile can trace."""
    if isinstance(weight, WeightQBytesTensor):
        data, scale = weight._data, weight._scale
        weight = scale * (data.to(scale.dtype) if data.is_floating_point() else data)
    elif isinstance(weight, WeightQBitsTensor):
        packed, scale, shift = weight._data._data, weight._scale, weight._shift
        # quanto's own operator compiles an extension on its first use
        values = torch.cat([packed & 15, packed // 16])[: weight._data.shape[0]]
        weight = (scale * values - shift).reshape(weight.shape)
    return weight


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
                quantized = _kind(precision).from_module(layer.to(dtype), weights=QTYPES[precision.stored])
                quantized.freeze()
                block.set_submodule(name, quantized.requires_grad_(False).train(layer.training))


def _kind(precision: Precision) -> type[DequantizedLinear]:
    return Fp8Linear if precision is Precision.FP8_COMPUTE else DequantizedLinear


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

    The file says how its weights are stored; of `precision` only whether they compute in fp8 matters. Returns False if
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
        _fill(skeleton, json.loads(metadata[MAP]), tensors, _kind(precision))
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
