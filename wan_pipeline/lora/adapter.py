"""Matches a LoRA file with a model, by the file's header alone. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.keys import Role, Spellings, split_key
from wan_pipeline.models.configs import TRANSFORMERS
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.weights import DamagedFileError, Header, TensorInfo, read_header, with_remedy
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

MAX_HEADER_BYTES = 4 * 2**20
MAX_TENSORS = 20_000
MAX_RANK = 4096
MAX_KEY_LENGTH = 300
FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
OTHER_KINDS = {
    ".dora_scale": "DoRA",
    ".lora_magnitude_vector": "DoRA",
    ".lokr_": "LoKr",
    ".hada_": "LoHa",
    ".oft_": "OFT",
}
"""Kinds of adapters that are not supported, by a part of their keys."""
UNSUPPORTED_SETTINGS = ("use_dora", "use_rslora", "alpha_pattern")
"""Settings of peft that change what the matrices mean."""

Keys = dict[Role, str]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """The keys of one module: the matrices down (rank, inputs) and up (outputs, rank), alpha and bias."""

    down: str
    up: str
    rank: int
    alpha_key: str | None = None
    alpha: float | None = None
    """Alpha from the metadata, if there is no key. If neither is there, alpha is the rank."""
    bias_key: str | None = None
    """(outputs,), added to the module's bias; in files that were extracted from the difference of two models."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA file, matched with a model."""

    path: Path
    weight: float
    pairs: dict[str, Pair]
    """By module name in diffusers' WanTransformer3DModel."""
    skipped: tuple[str, ...] = ()
    """Keys that match nothing in the model."""
    experts: tuple[int, ...] = (0,)
    """The transformers to apply it to: 0 is the only or the high-noise expert, 1 the low-noise one."""
    is_half: bool = False
    """It is one of a pair for two experts, and the other one is not used."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, a sentence each."""
        name, warnings = self.path.stem, []
        if self.skipped:
            more = f" and {len(self.skipped) - 1:,} more" if len(self.skipped) > 1 else ""
            warnings.append(f"LoRA '{name}': left out keys that match nothing: {self.skipped[0]}{more}.")
        if self.is_half:
            noise, other = ("high", "low") if self.experts == (0,) else ("low", "high")
            warnings.append(f"LoRA '{name}' is for the {noise}-noise expert; the {other}-noise one worked without it.")
        return tuple(warnings)


class _Metadata(BaseModel):
    """What diffusers writes into a file's metadata."""

    alpha: float | None = Field(None, alias="transformer.lora_alpha", allow_inf_nan=False)


def match_adapter(
    path: Path, model: InstalledModel, weight: float = 1.0, *, experts: tuple[int, ...] = (0,), is_half: bool = False
) -> Adapter:
    """Match a file's keys with the linear layers of a model's transformer.

    Raises LoraError for a file that is unreadable, unsafe, of another kind or size, or that matches nothing.
    """
    header = _read_header(path)
    layers = _linear_layers(model, TRANSFORMERS[experts[0]])
    matched, skipped = _group_by_module(header.tensors, Spellings(layers))
    if not matched:
        raise LoraError(
            f"LoRA '{path.stem}' fits nothing in {model.spec.title}: none of its {len(header.tensors):,} keys is "
            "known there; choose a LoRA that was trained for this model."
        )
    alpha = _metadata_alpha(path.stem, header.metadata)
    pairs = {
        module: _pair(path.stem, module, keys, header.tensors, layers[module], alpha)
        for module, keys in matched.items()
    }
    return Adapter(path, weight, pairs, tuple(skipped), experts, is_half)


def _read_header(path: Path) -> Header:
    try:
        header = read_header(path, MAX_HEADER_BYTES, MAX_TENSORS)
    except (DamagedFileError, OSError) as error:
        reason = with_remedy(error, "download or export it again")
        raise LoraError(f"LoRA '{path.stem}' cannot be read: {reason}.") from error
    for key in header.tensors:
        if len(key) > MAX_KEY_LENGTH or not key.isprintable() or any(part in key for part in ("/", "\\", "..")):
            raise LoraError(f"LoRA '{path.stem}' has an unsafe key {key[:60]!r}; use a file from a source you trust.")
        for mark, kind in OTHER_KINDS.items():
            if mark in key:
                raise LoraError(f"LoRA '{path.stem}' is a {kind}, which is not supported; use a plain LoRA.")
    return header


def _linear_layers(model: InstalledModel, component: str) -> dict[str, Shape]:
    """The shape (outputs, inputs) of each linear layer's weight, by module name."""
    return {
        name.removesuffix(".weight"): info.shape
        for name, info in model.tensors(component).items()
        if name.endswith(".weight") and len(info.shape) == 2
    }


def _group_by_module(tensors: dict[str, TensorInfo], spellings: Spellings) -> tuple[dict[str, Keys], list[str]]:
    """The keys of each module by their roles, and the keys that match nothing. A bias alone is no LoRA."""
    matched: dict[str, Keys] = {}
    skipped = []
    for key in sorted(tensors):
        parts = split_key(key)
        module = spellings.find(parts.module) if parts else None
        if parts is None or module is None or parts.role in matched.get(module, {}):
            skipped.append(key)
        else:
            matched.setdefault(module, {})[parts.role] = key
    only_bias = [module for module, keys in matched.items() if keys.keys() == {Role.BIAS}]
    skipped += [matched.pop(module)[Role.BIAS] for module in only_bias]
    return matched, sorted(skipped)


def _pair(
    name: str, module: str, keys: Keys, tensors: dict[str, TensorInfo], layer: Shape, alpha: float | None
) -> Pair:
    """Raises LoraError unless the matrices are whole and of the layer's size."""
    if not {Role.DOWN, Role.UP} <= keys.keys():
        raise LoraError(f"LoRA '{name}' has only one of the two matrices of {module}; export it again.")
    down, up = tensors[keys[Role.DOWN]], tensors[keys[Role.UP]]
    if len(down.shape) != 2 or not 1 <= down.shape[0] <= MAX_RANK:
        raise LoraError(f"LoRA '{name}': {keys[Role.DOWN]} has the shape {down.shape}; export it again.")
    rank, (outputs, inputs) = down.shape[0], layer
    if down.shape != (rank, inputs) or up.shape != (outputs, rank):
        raise LoraError(
            f"LoRA '{name}' was made for a model of another size: {module} is {layer} here, and its matrices are "
            f"{up.shape} and {down.shape}; choose a LoRA that was trained for this model."
        )
    if not {down.dtype, up.dtype} <= FLOATS:
        raise LoraError(f"LoRA '{name}' holds {down.dtype} numbers; only floating point is supported.")
    _check_shape(name, keys.get(Role.ALPHA), tensors, ((), (1,)), "one number")
    _check_shape(name, keys.get(Role.BIAS), tensors, ((outputs,),), "one number for each output")
    return Pair(keys[Role.DOWN], keys[Role.UP], rank, keys.get(Role.ALPHA), alpha, keys.get(Role.BIAS))


def _check_shape(
    name: str, key: str | None, tensors: dict[str, TensorInfo], allowed: tuple[Shape, ...], what: str
) -> None:
    if key is not None and tensors[key].shape not in allowed:
        raise LoraError(f"LoRA '{name}': {key} is not {what}; export it again.")


def _metadata_alpha(name: str, metadata: dict[str, str]) -> float | None:
    """Alpha, if diffusers wrote it into the metadata instead of a key. Raises LoraError."""
    try:
        settings = parse(dict[str, Any], parse_json(metadata.get("lora_adapter_metadata", "{}")))
        alpha = parse(_Metadata, settings).alpha
    except OutsideDataError as error:
        raise LoraError(f"LoRA '{name}' has unreadable metadata ({error}); export it again.") from error
    for setting in UNSUPPORTED_SETTINGS:
        if settings.get(f"transformer.{setting}"):
            raise LoraError(f"LoRA '{name}' uses {setting}, which is not supported; use a plain LoRA.")
    return alpha
