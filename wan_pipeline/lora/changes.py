"""The changes that a LoRA file holds, by kind. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from wan_pipeline.lora.reading.keys import Role

Keys = dict[Role, str]
Shape = tuple[int, ...]


class Kind(StrEnum):
    """The kinds of change, by the names that people know them by."""

    LORA = "LoRA"
    DIFF = "difference"
    """A difference of a weight, a bias, a norm or a table."""
    LOKR = "LoKr"
    LOHA = "LoHa"
    OFT = "OFT"
    IA3 = "(IA)3"


ROLES: dict[Kind, frozenset[Role]] = {
    Kind.LORA: frozenset({Role.DOWN, Role.UP, Role.MID, Role.UP_BIAS}),
    Kind.LOKR: frozenset(role for role in Role if role.value.startswith("lokr_")),
    Kind.LOHA: frozenset(role for role in Role if role.value.startswith("hada_")),
    Kind.OFT: frozenset({Role.OFT_R, Role.OFT_BLOCKS, Role.RESCALE}),
    Kind.IA3: frozenset({Role.IA3, Role.IA3_DIFF, Role.ON_INPUT}),
    Kind.DIFF: frozenset({Role.DIFF, Role.BIAS}),
}
"""The tensors of each kind. Alpha and a magnitude (DoRA) belong to whichever kind is beside them."""
DECOMPOSED = (Kind.LORA, Kind.LOKR, Kind.LOHA)
"""Kinds that have an alpha, and that DoRA's magnitude can be beside."""


@dataclass(frozen=True)
class Change:
    """What a file changes in one module, or in one table."""

    kind: Kind
    target: str
    """Name in diffusers' WanTransformer3DModel."""
    shape: Shape
    """Shape of the weight or table."""
    keys: Keys
    rank: int = 0
    """0 where a kind has none."""
    alpha: float | None = None
    """Alpha from the metadata, if there is no key. If neither is there, alpha is the rank."""
    alpha_key: str | None = None
    uses_root: bool = False
    cayley_terms: int = 0
    """OFT: terms of the series that its rotations are computed by; 0: exactly."""

    @property
    def scale_divisor(self) -> float:
        """What alpha is divided by: the rank, or its root with rsLoRA."""
        return math.sqrt(self.rank) if self.uses_root else float(self.rank)

    @property
    def is_dora(self) -> bool:
        return Role.MAGNITUDE in self.keys

    @property
    def all_keys(self) -> tuple[str, ...]:
        return (*self.keys.values(), *([self.alpha_key] if self.alpha_key else []))
