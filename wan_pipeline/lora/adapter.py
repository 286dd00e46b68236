"""What a LoRA file would do to a model, told from its header alone. No torch."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.keys import Spellings, split_key
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.weights import DamagedFileError, Header, TensorInfo, read_header

MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_TENSORS = 20_000
MAX_RANK = 4096
TRANSFORMERS = ("transformer", "transformer_2")
FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
OTHER_KINDS = {
    ".dora_scale": "DoRA",
    ".lora_magnitude_vector": "DoRA",
    ".lokr_": "LoKr",
    ".hada_": "LoHa",
    ".oft_": "OFT",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """Keys of one module's two matrices, down (rank, inputs) and up (outputs, rank), and of its alpha."""

    down: str
    up: str
    rank: int
    alpha_key: str | None = None
    alpha: float | None = None
    """Where it is known without a key. With neither, alpha is the rank."""
    bias_key: str | None = None
    """Of what is added to the module's bias; files taken from the difference of two models have it."""


@dataclass(frozen=True)
class Adapter:
    """One file, laid out for one model."""

    path: Path
    weight: float
    pairs: dict[str, Pair]
    """By module name in diffusers' WanTransformer3DModel."""
    skipped: tuple[str, ...] = ()
    """Keys that fit nothing in the model."""
    experts: tuple[int, ...] = (0,)
    """Which of the model's transformers it is for: 0 does the first, noisy steps, and 1, if there is one, the last."""
    is_half: bool = False
    """Of a pair whose other half is not used."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell of it, a sentence each."""
        name, told = self.path.stem, []
        if self.skipped:
            told.append(f"LoRA '{name}': {len(self.skipped)} keys fit nothing and were left out, as {self.skipped[0]}.")
        if self.is_half:
            noise, other = ("high", "low") if self.experts == (0,) else ("low", "high")
            told.append(f"LoRA '{name}' is for the {noise}-noise expert; the {other}-noise one worked without it.")
        return tuple(told)


def match_adapter(
    path: Path, model: InstalledModel, weight: float = 1.0, *, experts: tuple[int, ...] = (0,), is_half: bool = False
) -> Adapter:
    """Match a file's keys with the model's modules. Raises LoraError: unreadable, unsafe, misshapen, or no match."""
    header = _read(path)
    weights = {
        name.removesuffix(".weight"): info.shape
        for name, info in model.tensors(TRANSFORMERS[experts[0]]).items()
        if name.endswith(".weight") and len(info.shape) == 2
    }
    found, skipped = _match(header.tensors, Spellings(weights))
    alpha = _metadata_alpha(path, header.metadata)
    pairs = {module: _pair(path, module, keys, header, weights[module], alpha) for module, keys in found.items()}
    if not pairs:
        raise LoraError(
            f"LoRA '{path.stem}' fits nothing in {model.spec.title}: none of its {len(header.tensors):,} keys is "
            "known there; choose a LoRA that was trained for this model."
        )
    return Adapter(path, weight, pairs, tuple(skipped), experts, is_half)


def _read(path: Path) -> Header:
    try:
        header = read_header(path, MAX_HEADER_BYTES, MAX_TENSORS)
    except (DamagedFileError, OSError) as error:
        raise LoraError(f"LoRA '{path.stem}' cannot be read: {error}; download or export it again.") from error
    for key in header.tensors:
        if len(key) > 300 or not key.isprintable() or any(part in key for part in ("/", "\\", "..")):
            raise LoraError(f"LoRA '{path.stem}' has an unsafe key {key[:60]!r}; use a file from a source you trust.")
        for mark, kind in OTHER_KINDS.items():
            if mark in key:
                raise LoraError(f"LoRA '{path.stem}' is a {kind}, which is not supported; use a plain LoRA.")
    return header


def _match(tensors: dict[str, TensorInfo], spellings: Spellings) -> tuple[dict[str, dict[str, str]], list[str]]:
    """({module: {role: key}}, keys that fit nothing)."""
    found: dict[str, dict[str, str]] = {}
    skipped = []
    for key in sorted(tensors):
        parts = split_key(key)
        module = spellings.find(parts[0]) if parts else None
        if parts is None or module is None or parts[1] in found.get(module, {}):
            skipped.append(key)
        else:
            found.setdefault(module, {})[parts[1]] = key
    alone = [module for module, keys in found.items() if keys.keys() == {"bias"}]
    return found, sorted([*skipped, *(found.pop(module)["bias"] for module in alone)])


def _pair(
    path: Path, module: str, keys: dict[str, str], header: Header, weight: tuple[int, ...], alpha: float | None
) -> Pair:
    if not {"down", "up"} <= keys.keys():
        raise LoraError(f"LoRA '{path.stem}' has only one of the two matrices of {module}; export it again.")
    down, up = header.tensors[keys["down"]], header.tensors[keys["up"]]
    if len(down.shape) != 2 or not 1 <= down.shape[0] <= MAX_RANK:
        raise LoraError(f"LoRA '{path.stem}': {keys['down']} has the shape {down.shape}; export it again.")
    outputs, inputs = weight
    rank = down.shape[0]
    if down.shape != (rank, inputs) or up.shape != (outputs, rank):
        raise LoraError(
            f"LoRA '{path.stem}' was made for a model of another size: {module} is {(outputs, inputs)} here, and its "
            f"matrices are {up.shape} and {down.shape}; choose a LoRA that was trained for this model."
        )
    if not {down.dtype, up.dtype} <= FLOATS:
        raise LoraError(f"LoRA '{path.stem}' holds {down.dtype} numbers; only floating point is supported.")
    if "alpha" in keys and header.tensors[keys["alpha"]].shape not in ((), (1,)):
        raise LoraError(f"LoRA '{path.stem}': {keys['alpha']} is not one number; export it again.")
    if "bias" in keys and header.tensors[keys["bias"]].shape != (outputs,):
        raise LoraError(f"LoRA '{path.stem}': {keys['bias']} is not one number for each output; export it again.")
    return Pair(keys["down"], keys["up"], rank, keys.get("alpha"), alpha, keys.get("bias"))


def _metadata_alpha(path: Path, metadata: dict[str, str]) -> float | None:
    """The alpha that diffusers writes into a file's metadata instead of a key, None if there is none."""
    try:
        config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        for setting in ("use_dora", "use_rslora", "alpha_pattern"):
            if config.get(f"transformer.{setting}"):
                raise LoraError(f"LoRA '{path.stem}' uses {setting}, which is not supported; use a plain LoRA.")
        alpha = config.get("transformer.lora_alpha")
        return None if alpha is None else float(alpha)
    except (ValueError, TypeError, AttributeError) as error:
        raise LoraError(f"LoRA '{path.stem}' has unreadable metadata ({error}); export it again.") from error
