"""Checks the values of a LoRA file before anything is queued: infinities, NaNs and zeros. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.errors import LoraError
from wan_pipeline.models.weights import Header
from wan_pipeline.wording import first_of

CHUNK_BYTES = 16 * 2**20
_BITS: Mapping[str, tuple[Any, int, int]] = {
    "F64": (np.uint64, 0x7FFF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7FFF_FFFF, 0x7F80_0000),
    "BF16": (np.uint16, 0x7FFF, 0x7F80),
    "F16": (np.uint16, 0x7FFF, 0x7C00),
    "F8_E5M2": (np.uint8, 0x7F, 0x7C),
    "F8_E4M3": (np.uint8, 0x7F, 0x7F),
}
"""For each dtype: integers of its size, the mask without the sign bit, and the least value that is not finite."""


@dataclass(frozen=True)
class Values:
    """What stands out in a file's values."""

    not_finite: tuple[str, ...]
    """Keys of tensors that hold an infinity or a NaN."""
    zeros: frozenset[str]
    """Keys of tensors that hold only zeros."""


UNREAD = Values((), frozenset())
"""Stands for a file whose values have not been read."""


class ValueReader:
    """Reads the numbers of files, each once as long as it stays as it is."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], Values]] = {}

    def read(self, path: Path, header: Header) -> Values:
        """Raises OSError."""
        facts = path.stat()
        state = (facts.st_size, facts.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != state:
            known = self._known[path] = (state, _read(path, header))
        return known[1]


def _read(path: Path, header: Header) -> Values:
    not_finite, zeros = [], set()
    with path.open("rb") as file:
        for key, info in sorted(header.tensors.items(), key=lambda item: header.spans[item[0]]):
            if info.dtype not in _BITS:
                continue
            kind, mask, limit = _BITS[info.dtype]
            start, end = header.spans[key]
            file.seek(start)
            largest = max((int((chunk & mask).max()) for chunk in _chunks(file, end - start, kind)), default=0)
            if largest >= limit:
                not_finite.append(key)
            elif largest == 0:
                zeros.add(key)
    return Values(tuple(sorted(not_finite)), frozenset(zeros))


def _chunks(file: Any, length: int, kind: Any) -> Iterator[NDArray[Any]]:
    while length > 0:
        chunk = file.read(min(length, CHUNK_BYTES))
        if not chunk:  # the file was cut short after its header had been read; who loads it says so
            return
        length -= len(chunk)
        yield np.frombuffer(chunk[: len(chunk) // kind().itemsize * kind().itemsize], dtype=kind)


def check_values(path: Path, header: Header, reader: ValueReader) -> Values:
    """Read a file's values. Raises LoraError for infinities and NaNs."""
    try:
        values = reader.read(path, header)
    except OSError as error:
        raise LoraError(f"LoRA '{path.stem}' cannot be read: {error}; download or export it again.") from error
    if values.not_finite:
        raise LoraError(
            f"LoRA '{path.stem}' holds values that are not numbers, in {first_of(values.not_finite)}; "
            "download or export it again."
        )
    return values
