"""What the metadata of a LoRA file says of its tensors: alpha, patterns, and the settings of peft. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wan_pipeline.errors import LoraError
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

DIFFUSERS_KEY = "lora_adapter_metadata"
"""Where diffusers writes peft's settings, as JSON (`diffusers/loaders/lora_base.py`)."""

Alpha = Annotated[float, Field(allow_inf_nan=False)]


class _Peft(BaseModel):
    """The settings of peft that change what the tensors mean, with its defaults."""

    model_config = ConfigDict(populate_by_name=True)

    lora_alpha: Alpha | None = None
    alpha: Alpha | None = None
    """What LoKr and LoHa call it."""
    rank: int | None = Field(None, alias="r")
    use_rslora: bool | None = None
    use_dora: bool | None = None
    alpha_pattern: dict[str, Alpha] | None = None


@dataclass(frozen=True)
class AdapterSettings:
    """What metadata says of one expert's tensors."""

    alpha: float | None = None
    rank: int | None = None
    """Of the whole file; of a pair the matrices themselves tell it."""
    uses_root: bool = False
    """rsLoRA: the scale is alpha over the root of the rank (`peft/tuners/lora/layer.py`)."""
    is_dora: bool = False
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    """Alpha of single modules, by the end of their names."""

    def alpha_of(self, *names: str) -> float | None:
        """Alpha of a module by any of its names."""
        for pattern, alpha in self.alpha_pattern.items():
            if any(name == pattern or name.endswith(f".{pattern}") for name in names):
                return alpha
        return self.alpha


def read_settings(name: str, metadata: dict[str, str], component: str) -> AdapterSettings:
    """The settings of a file for a component of the model, such as `transformer`. Raises LoraError."""
    try:
        table = parse(dict[str, Any], parse_json(metadata.get(DIFFUSERS_KEY, "{}")))
        peft = parse(_Peft, _of_component(table, component))
    except OutsideDataError as error:
        raise LoraError(f"LoRA '{name}' has unreadable metadata ({error}); export it again.") from error
    return AdapterSettings(
        alpha=peft.alpha if peft.lora_alpha is None else peft.lora_alpha,
        rank=peft.rank,
        uses_root=bool(peft.use_rslora),
        is_dora=bool(peft.use_dora),
        alpha_pattern={_plain(name, pattern): alpha for pattern, alpha in (peft.alpha_pattern or {}).items()},
    )


def _of_component(table: dict[str, Any], component: str) -> dict[str, Any]:
    """The settings of this component; those of the first one if it has none of its own; or those without a prefix."""
    for prefix in (f"{component}.", "transformer."):
        found = {key.removeprefix(prefix): value for key, value in table.items() if key.startswith(prefix)}
        if found:
            return found
    return table


def _plain(name: str, pattern: str) -> str:
    """A pattern that is a module's name, or its end. Raises LoraError for a regular expression, which may never end."""
    plain = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not re.fullmatch(r"[\w.-]+", plain):
        raise LoraError(
            f"LoRA '{name}' sets alpha by the pattern {pattern[:60]!r}; only names of modules are supported."
        )
    return plain
