"""The adapters in the LoRA folder, by name. No torch."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.values import ValueReader
from wan_pipeline.models.names import is_text

_MARK = re.compile(r"(?<![^\W_])(?P<expert>high|low)(?P<noise>[ ._-]?noise)?(?![^\W_])", re.IGNORECASE)
"""The expert in a file's name: `x_high_noise`, `x-LOW`, `x_HighNoise_v1`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lora:
    """A file, or a pair of files for the two experts of Wan 2.2 A14B.

    A file that names no expert is applied to both.
    """

    name: str
    high: Path | None
    """For the high-noise expert, which denoises the early steps."""
    low: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for path in (self.high, self.low) if path is not None))

    @property
    def is_pair(self) -> bool:
        return len(self.paths) == 2

    @property
    def is_half(self) -> bool:
        """Whether it is a file for one of the two experts."""
        return self.high is None or self.low is None


@dataclass(frozen=True)
class _Half:
    """A file whose name seems to say which expert it is for."""

    path: Path
    is_high: bool
    is_certain: bool
    """A bare "high" or "low" in small letters may mean anything, unless the other half exists."""
    before: str
    """The stem before the expert's name, and after it."""
    after: str

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the two halves of a pair."""
        return self.before.casefold(), self.after.casefold()

    @property
    def pair_name(self) -> str:
        return "".join([self.before.rstrip(" ._-"), self.after]).strip(" ._-") or "high and low noise"


class LoraLibrary:
    """Finds the `*.safetensors` files of a folder by their stems, regardless of case, as on Windows.

    Two files that differ only in `high_noise` and `low_noise` are one LoRA, named by the rest of their stems. Each can
    still be used alone, by its own stem.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values = ValueReader()
        """Of its files."""
        self._reported: set[Path] = set()

    def names(self) -> list[str]:
        """The names of all LoRAs, sorted. Of files whose names differ only in case, the first counts."""
        files = self._files()
        pairs = _pairs(files)
        halves = {path for pair in pairs.values() for path in pair.paths}
        single = [path.stem for path in files.values() if path not in halves]
        return sorted([*single, *(pair.name for pair in pairs.values())], key=str.casefold)

    def find(self, name: str) -> Lora:
        """The LoRA of that name; a path is no name. Raises LoraError."""
        files = self._files()
        key = name.casefold()
        if key in files:
            return _alone(files[key])
        try:
            return _pairs(files)[key]
        except KeyError:
            names = ", ".join(self.names()) or "none yet"
            raise LoraError(f"There is no LoRA '{name[:80]}' in {self.folder}; it holds: {names}.") from None

    def files(self, name: str) -> dict[str, Path]:
        """The files of a LoRA, by their names in a receipt: those of a pair by their own stems. Raises LoraError."""
        lora = self.find(name)
        return {path.stem: path for path in lora.paths} if lora.is_pair else {name: lora.paths[0]}

    def _files(self) -> dict[str, Path]:
        """By stem in small letters. A name that is not valid text is left out: no page and no receipt can hold it."""
        files: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            if not is_text(path.stem):
                self._report(path)
            elif path.is_file():
                files.setdefault(path.stem.casefold(), path)
        return files

    def _report(self, path: Path) -> None:
        if path not in self._reported:
            self._reported.add(path)
            logger.warning("%r is left out: its name is not valid text; rename it.", str(path))


def _alone(path: Path) -> Lora:
    half = _half(path)
    if half is None or not half.is_certain:
        return Lora(path.stem, path, path)
    return Lora(path.stem, path if half.is_high else None, None if half.is_high else path)


def _pairs(files: dict[str, Path]) -> dict[str, Lora]:
    """By name in small letters. Where a file has the name that a pair would get, the halves stay single."""
    groups: dict[tuple[str, str], list[_Half]] = defaultdict(list)
    for path in files.values():
        if half := _half(path):
            groups[half.key].append(half)
    pairs: dict[str, Lora] = {}
    for halves in groups.values():
        high, low = ([half for half in halves if half.is_high is side] for side in (True, False))
        if len(high) == len(low) == 1 and (name := high[0].pair_name).casefold() not in files | pairs:
            pairs[name.casefold()] = Lora(name, high[0].path, low[0].path)
    return pairs


def _half(path: Path) -> _Half | None:
    """None for a name without an expert in it."""
    marks = sorted(_MARK.finditer(path.stem), key=lambda mark: not mark["noise"])
    if not marks:
        return None
    mark = marks[0]
    return _Half(
        path,
        is_high=mark["expert"].lower() == "high",
        is_certain=bool(mark["noise"]) or mark["expert"].isupper(),
        before=path.stem[: mark.start()],
        after=path.stem[mark.end() :],
    )
