"""What the metadata of a LoRA file says of its tensors: alpha, patterns, and the settings of peft. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from wan_pipeline.errors import LoraError
from wan_pipeline.models.weights import Header
from wan_pipeline.storage.outside import MAX_BYTES, OutsideDataError, parse, parse_json

DIFFUSERS_KEY = "lora_adapter_metadata"
"""Where diffusers writes peft's settings, as JSON (`diffusers/loaders/lora_base.py`)."""

PEFT_FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""What peft's `save_pretrained` writes into a folder."""

T = TypeVar("T")
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
    rank_pattern: dict[str, int] | None = None
    peft_type: str | None = None
    coft: bool | None = None
    use_cayley_neumann: bool = False
    num_cayley_neumann_terms: Annotated[int, Field(ge=1, le=100)] = 5


@dataclass(frozen=True)
class AdapterSettings:
    """What metadata says of one expert's tensors."""

    alpha: float | None = None
    rank: int | None = None
    """Rank of the whole file; a pair's matrices have their own."""
    uses_root: bool = False
    """rsLoRA: the scale is alpha over the root of the rank (`peft/tuners/lora/layer.py`)."""
    is_dora: bool = False
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    """Alpha of single modules, by the end of their names."""

    rank_pattern: dict[str, int] = field(default_factory=dict)
    oft_terms: int | None = None
    """Terms of the series that OFT's rotations are computed by; 0: exactly; None: nothing is said of OFT."""

    def alpha_of(self, *names: str) -> float | None:
        """Alpha of a module by any of its names."""
        return _matching(self.alpha_pattern, names, self.alpha)

    def rank_of(self, *names: str) -> int | None:
        """Rank of a module by any of its names."""
        return _matching(self.rank_pattern, names, self.rank)


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
        rank_pattern={_plain(name, pattern): rank for pattern, rank in (peft.rank_pattern or {}).items()},
        oft_terms=_oft_terms(name, peft),
    )


def settings_beside(path: Path) -> Path | None:
    """Where peft's settings of a file are, if it has peft's name."""
    return path.with_name(CONFIG) if path.name == PEFT_FILE else None


def with_settings_beside(path: Path, header: Header) -> Header:
    """The header with the settings of the `adapter_config.json` that peft writes beside its file. Raises OSError."""
    beside = settings_beside(path)
    if beside is None or DIFFUSERS_KEY in header.metadata or not beside.is_file():
        return header
    with beside.open("rb") as file:
        text = file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")
    return replace(header, metadata=header.metadata | {DIFFUSERS_KEY: text})


def _oft_terms(name: str, peft: _Peft) -> int | None:
    """As in `OFTRotationModule` (`peft/tuners/oft/layer.py`). Raises LoraError for constrained OFT."""
    if peft.peft_type != "OFT":
        return None
    if peft.coft:
        raise LoraError(f"LoRA '{name}' is a constrained OFT, which is not supported; merge it into its model.")
    return peft.num_cayley_neumann_terms if peft.use_cayley_neumann else 0


def _matching(patterns: dict[str, T], names: tuple[str, ...], default: T | None) -> T | None:
    for pattern, value in patterns.items():
        if any(name == pattern or name.endswith(f".{pattern}") for name in names):
            return value
    return default


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
