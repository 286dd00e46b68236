"""The number formats of a transformer's weights. No torch."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Format of the weights in the transformer's blocks.

    Activations are bf16 (fp32 on a CPU), except where the format says otherwise.
    """

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"
    INT8_COMPUTE = "int8-compute"
    """INT8 weights, multiplied with activations that are quantized to int8 as well: faster, and a little less exact."""
    FP8 = "fp8"
    FP8_COMPUTE = "fp8-compute"
    """FP8 weights, multiplied with activations that are quantized to fp8 as well: faster and less exact."""
    INT4 = "int4"

    @property
    def is_quantized(self) -> bool:
        return self not in (Precision.FP32, Precision.BF16, Precision.FP16)

    @property
    def stored(self) -> Precision:
        """The format that the weights have in a file."""
        match self:
            case Precision.INT8_COMPUTE:
                return Precision.INT8
            case Precision.FP8_COMPUTE:
                return Precision.FP8
        return self

    @property
    def computes_in_8_bits(self) -> bool:
        """Whether activations are quantized too: such layers never hold a weight in 16 bits."""
        return self is not self.stored

    @property
    def bytes_per_weight(self) -> float:
        """With the scales of a quantized layer: 16 bits per row, and for int4 32 bits per group of 128 weights."""
        match self:
            case Precision.FP32:
                return 4.0
            case Precision.BF16 | Precision.FP16:
                return 2.0
            case Precision.INT8 | Precision.INT8_COMPUTE | Precision.FP8 | Precision.FP8_COMPUTE:
                return 1.001
            case Precision.INT4:
                return 0.5 + 4 / 128
