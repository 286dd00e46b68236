"""Linear layers with quantized weights by optimum-quanto: how each kind computes.

A layer dequantizes its whole weight for each forward: at the token counts of video that costs next to nothing, where
quanto's own kernels cost a pass over the activations, and crash on some processors. Other kinds round their input too,
and multiply in 8 bits.
"""

from __future__ import annotations

from typing import Any

import torch
from optimum.quanto import WeightQBitsTensor, WeightQBytesTensor, quantize_weight
from optimum.quanto.nn import QLinear
from torch.nn.functional import linear

from wan_pipeline.engine.int8.product import int8_linear, int8_product_of
from wan_pipeline.engine.int8.rounded import Rounded
from wan_pipeline.models.precision import Precision

FP8_MAX = 448.0
"""The largest finite number of float8_e4m3fn."""


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


class Int8Linear(DequantizedLinear):
    """An int8 layer that also rounds its input to int8, row by row, and multiplies in int8.

    For the CPU and devices of which `computes_int8` is true. The relative error of one layer's output is about 1 %.
    """

    is_exact = False
    """Whether it multiplies in 16 bits for a while, with its dequantized weight. It takes no rounded rows then."""

    def forward(self, inputs: torch.Tensor | Rounded) -> torch.Tensor:
        if isinstance(inputs, Rounded):
            return int8_product_of(inputs, self.weight._data, self.weight._scale, self.bias)
        return super().forward(inputs) if self.is_exact else self.product(inputs)

    def product(self, inputs: torch.Tensor) -> torch.Tensor:
        """The product in int8."""
        return int8_linear(inputs, self.weight._data, self.weight._scale, self.bias)

    def relative_error(self, rows: torch.Tensor) -> float:
        """What rounding these rows (m, k) changes, relative to the product with the dequantized weight."""
        wanted = super().forward(rows).float()
        return float((self.product(rows).float() - wanted).norm() / wanted.norm().clamp(min=1e-12))


def kind_of(precision: Precision) -> type[DequantizedLinear]:
    """The layer that computes as the precision says."""
    match precision:
        case Precision.FP8_COMPUTE:
            return Fp8Linear
        case Precision.INT8_COMPUTE:
            return Int8Linear
    return DequantizedLinear


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
