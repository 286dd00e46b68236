"""The machine a clip is planned for: free memory in bytes, and speeds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wan_pipeline.errors import UserError
from wan_pipeline.planning.attention import SageSpeed

GIB = 2**30
"""Bytes of one GiB."""
UNITS = {"": 1.0, "gib": 1.0, "gb": 1e9 / GIB, "mib": 1 / 1024, "mb": 1e6 / GIB}
"""GiB in each unit that a memory size may be written in."""


@dataclass(frozen=True)
class Machine:
    """Free memory in bytes and speeds per second. `vram` is 0 where the CPU computes."""

    vram: float
    ram: float
    disk_speed: float = 1.0e9
    """Bytes a second."""
    copy_speed: float = 12e9
    """Bytes a second from pinned memory to the device."""
    matmul_speed: float = 60e12
    """Floating-point operations a second in matrix products, and below in attention."""
    attention_speed: float = 60e12
    decode_speed: float = 1.5e6
    """Pixels of video a second, decoded in fp32 and untiled."""
    int8_speed: float = 0.0
    """Operations a second of products in int8, with rounding the activations; 0 where none were measured."""
    sage: tuple[SageSpeed, ...] = ()
    """SageAttention at the sizes that it was measured at; empty where it is not installed."""
    fused: bool = False
    """Whether our kernels for pointwise operations were measured to be quicker here."""
    second: float = 0.0
    """Free bytes of another device like this one, which may share a clip; 0 if there is none."""


REFERENCE = Machine(80e9, 120e9, 2e9, 54e9, matmul_speed=620e12, attention_speed=530e12, decode_speed=9.8e6)
"""One H100 80 GB: the rates that whole transformer passes reach there (benchmarks/gpu, torch 2.11)."""


def without_device(ram: float) -> Machine:
    """A machine whose CPU computes, with `ram` bytes free.

    The speeds are those of two cores: the demo model takes 0.15 ms per latent token and pass and 1.2 s per million
    decoded pixels there.
    """
    return Machine(0.0, ram, matmul_speed=0.185e12, attention_speed=0.185e12, decode_speed=0.83e6)


def parse_gib(text: str) -> float:
    """GiB of a memory size: "8GB", "7.2 GiB", "6000MB", or "7.2" for GiB. Raises UserError."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{0,9})?)\s*(\w*)", text.strip())
    if found is None or found[2].lower() not in UNITS:
        raise UserError(f"'{text[:80]}' is no size of memory; use one such as 8GB, 7.2GiB or 7.2, which are GiB.")
    return float(found[1]) * UNITS[found[2].lower()]
