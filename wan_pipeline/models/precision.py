"""How many bits a weight has. No torch: the planner and the page read this too."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Of the weights in a transformer's blocks. Computing is in 16 bits (on a CPU in 32) unless it says otherwise."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"
    FP8 = "fp8"
    FP8_COMPUTE = "fp8-compute"
    """Weights as FP8, and the activations become fp8 too before each product: quicker and coarser."""
    INT4 = "int4"

    @property
    def is_quantized(self) -> bool:
        return self not in (Precision.FP32, Precision.BF16, Precision.FP16)

    @property
    def stored(self) -> Precision:
        """As what its weights are kept in a file."""
        return Precision.FP8 if self is Precision.FP8_COMPUTE else self

    @property
    def bytes_per_weight(self) -> float:
        """In a quantized layer, with its scales: 16 bits a row, or 32 for each group of 128 weights of four bits."""
        match self:
            case Precision.FP32:
                return 4.0
            case Precision.BF16 | Precision.FP16:
                return 2.0
            case Precision.INT8 | Precision.FP8 | Precision.FP8_COMPUTE:
                return 1.001
            case Precision.INT4:
                return 0.5 + 4 / 128
