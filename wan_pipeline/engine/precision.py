"""How many bits a weight has. No torch: the planner and the page read this too."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Of the weights; the computing is in 16 bits whatever this says (on a CPU in 32)."""

    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"
    FP8 = "fp8"
    INT4 = "int4"

    @property
    def is_quantized(self) -> bool:
        return self not in (Precision.BF16, Precision.FP16)

    @property
    def bytes_per_weight(self) -> float:
        """In a quantized layer, with its scales: 16 bits a row, or 32 for each group of 128 weights of four bits."""
        match self:
            case Precision.BF16 | Precision.FP16:
                return 2.0
            case Precision.INT8 | Precision.FP8:
                return 1.001
            case Precision.INT4:
                return 0.5 + 4 / 128
