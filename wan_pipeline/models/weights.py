"""Headers of safetensors files: read and checked before any library opens the file; and written.

Layout of a file: 8 bytes little endian with the header's length, the header as JSON, then the tensors' bytes
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from wan_pipeline.models.foreign import HEAD_BYTES, what_it_is
from wan_pipeline.storage.outside import OutsideDataError, parse

MAX_HEADER_BYTES = 32 * 2**20
MAX_TENSORS = 100_000
BYTES_OF = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes per element, by dtype."""

ALIGNMENT = 64
"""Bytes: where mapped tensors should start. `engine/memory/alignment.py` says why."""

_NotNegative = Annotated[int, Field(ge=0)]


class DamagedFileError(Exception):
    """The file is no complete safetensors file; the text says why, as the end of a sentence."""


class ForeignFileError(DamagedFileError):
    """The file is something else than safetensors; the text says what, and the way out."""


def with_remedy(error: Exception, remedy: str) -> str:
    """The end of a sentence about a file that cannot be read: the error's own way out, or this one."""
    return str(error) if isinstance(error, ForeignFileError) else f"{error}; {remedy}"


@dataclass(frozen=True)
class TensorInfo:
    dtype: str
    """As safetensors calls it, such as BF16."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Offsets of each tensor's bytes in the file: the first, and one past the last."""


@dataclass(frozen=True)
class _Entry:
    """A tensor as a header describes it."""

    dtype: str
    shape: tuple[_NotNegative, ...]
    data_offsets: tuple[_NotNegative, _NotNegative]


def read_header(path: Path, max_bytes: int = MAX_HEADER_BYTES, max_tensors: int = MAX_TENSORS) -> Header:
    """The names, dtypes and shapes of a file's tensors. Raises DamagedFileError, OSError."""
    try:
        return _read_header(path, max_bytes, max_tensors)
    except DamagedFileError as error:
        with path.open("rb") as file:
            found = what_it_is(file.read(HEAD_BYTES))
        if not found:
            raise
        raise ForeignFileError(found) from error


def _read_header(path: Path, max_bytes: int, max_tensors: int) -> Header:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise DamagedFileError("it is cut short or is not a safetensors file")
        if length > max_bytes:
            raise DamagedFileError(f"its header has {length:,} bytes, more than the {max_bytes:,} allowed")
        table = _parse(file.read(length))
    metadata = table.pop("__metadata__", None)
    if len(table) > max_tensors:
        raise DamagedFileError(f"it lists {len(table):,} tensors, more than the {max_tensors:,} allowed")
    entries = _entries(table)
    start = 8 + length
    end = start + max((entry.data_offsets[1] for entry in entries.values()), default=0)
    if end != size:
        raise DamagedFileError(f"it has {size:,} bytes where its header describes {end:,}")
    return Header(
        {name: TensorInfo(entry.dtype, entry.shape) for name, entry in entries.items()},
        _metadata(metadata),
        {name: (start + entry.data_offsets[0], start + entry.data_offsets[1]) for name, entry in entries.items()},
    )


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
    """Without the checks of `parse_json`, which take ten times as long; `parse` makes them in `_entries`."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError("its header is not JSON") from error
    if not isinstance(table, dict):
        raise DamagedFileError("its header is not a table of tensors")
    return table


def _entries(table: dict[str, Any]) -> dict[str, _Entry]:
    try:
        entries = parse(dict[str, _Entry], table)
    except OutsideDataError as error:  # names may be megabytes long
        raise DamagedFileError(f"its header describes an impossible tensor: {str(error)[:200]}") from error
    for name, entry in entries.items():
        start, end = entry.data_offsets
        if entry.dtype not in BYTES_OF or end - start != math.prod(entry.shape) * BYTES_OF[entry.dtype]:
            raise DamagedFileError(f"its header describes an impossible tensor: '{name[:80]}'")
    return entries


def _metadata(value: object) -> dict[str, str]:
    try:
        return {} if value is None else parse(dict[str, str], value)
    except OutsideDataError as error:
        raise DamagedFileError(f"its metadata is not a table of texts: {str(error)[:200]}") from error
