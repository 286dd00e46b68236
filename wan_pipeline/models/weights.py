"""Safetensors headers, read by ourselves: what a file claims to hold, checked before any library opens it; and written.

Layout of a file: 8 bytes little endian with the header's length, the header as JSON, then the tensors' bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_HEADER_BYTES = 32 * 1024 * 1024
MAX_TENSORS = 100_000
BYTES_OF = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
ALIGNMENT = 64
"""Bytes: where mapped tensors should start. `engine/memory/alignment.py` says why."""


class DamagedFileError(Exception):
    """The file is not a whole safetensors file; the text says what is wrong, as the end of a sentence."""


@dataclass(frozen=True)
class TensorInfo:
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Where each tensor's bytes lie in the file: first, and one past the last."""


def read_header(path: Path, max_bytes: int = MAX_HEADER_BYTES, max_tensors: int = MAX_TENSORS) -> Header:
    """Names, dtypes and shapes of a file's tensors. Raises DamagedFileError, OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise DamagedFileError("it is cut short or is not a safetensors file")
        if length > max_bytes:
            raise DamagedFileError(f"its header has {length:,} bytes, more than the {max_bytes:,} allowed")
        entries = _parse(file.read(length))
    metadata = entries.pop("__metadata__", None) or {}
    if len(entries) > max_tensors:
        raise DamagedFileError(f"it lists {len(entries):,} tensors, more than the {max_tensors:,} allowed")
    end = max((_check_entry(name, entry) for name, entry in entries.items()), default=0)
    if 8 + length + end != size:
        raise DamagedFileError(f"it has {size:,} bytes where its header describes {8 + length + end:,}")
    tensors = {name: TensorInfo(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
    first = 8 + length
    spans = {
        name: (first + entry["data_offsets"][0], first + entry["data_offsets"][1]) for name, entry in entries.items()
    }
    return Header(tensors, metadata if isinstance(metadata, dict) else {}, spans)


def aligned_layout(tensors: Mapping[str, TensorInfo], metadata: dict[str, str]) -> tuple[bytes, list[str]]:
    """The first bytes of a file, up to its tensors, and the order in which the tensors' bytes follow without holes.

    Mapped into memory, each tensor starts on a 64-byte boundary, but for those at the end whose own size is no
    multiple of it. The format allows no padding between tensors.
    """
    sizes = {name: math.prod(info.shape) * BYTES_OF[info.dtype] for name, info in tensors.items()}
    order = sorted(tensors, key=lambda name: (sizes[name] % ALIGNMENT != 0, -BYTES_OF[tensors[name].dtype], name))
    table: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name in order:
        info, start, end = tensors[name], end, end + sizes[name]
        table[name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": [start, end]}
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    return len(header).to_bytes(8, "little") + header, order


def _parse(text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError("its header is not JSON") from error
    if not isinstance(entries, dict):
        raise DamagedFileError("its header is not a table of tensors")
    return entries


def _check_entry(name: str, entry: Any) -> int:
    """End of the tensor's bytes. The name is only ever printed in part, for it may be megabytes long."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if dtype in BYTES_OF:
            whole = all(isinstance(side, int) and side >= 0 for side in shape)
            if whole and 0 <= start <= end and end - start == math.prod(shape) * BYTES_OF[dtype]:
                return end
    raise DamagedFileError(f"its tensor '{name[:80]}' has an impossible description")
