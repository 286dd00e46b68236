"""The adapters in the LoRA folder, by name. No torch."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.values import ValueReader
from wan_pipeline.models.names import is_text

_MARK = re.compile(
    r"(?<![^\W_])(?:(?P<expert>high|low|hi|lo)(?P<noise>[ ._-]?noise)?|(?P<letter>[hl])(?P<n>n)?)(?![^\W_])",
    re.IGNORECASE,
)
"""The expert in a file's name: `x_high_noise`, `x-LOW`, `x_HighNoise_v1`, `x_HN`, `x-22-H-e8`."""
_STAGE = re.compile(r"(?<![^\W_])(?:e|ep|epoch|s|steps?|v)?[ ._-]?\d+(?:\.\d+)?(?![^\W_])", re.IGNORECASE)
"""How far a half was trained: `e8`, `epoch_12`, `v2`, `000004500`. The halves of a pair need not agree in it."""

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
    """Whether the name says so by itself. What "high", "low", "H" or "LOW_POLY" may mean, the other half tells."""
    before: str
    """The stem before the expert's name, and after it."""
    after: str

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the two halves of a pair."""
        return self.before.casefold(), self.after.casefold()

    @property
    def loose_key(self) -> tuple[str, str]:
        """The same, whatever the names say of how far the halves were trained."""
        return self.before.casefold(), _STAGE.sub("", self.after.casefold())

    @property
    def pair_name(self) -> str:
        return "".join([self.before.rstrip(" ._-"), self.after]).strip(" ._-") or "high and low noise"

    def name_with(self, other: _Half) -> str:
        """Of the pair that it is with another half."""
        if self.key == other.key:
            return self.pair_name
        return replace(self, after=_STAGE.sub("", self.after)).pair_name


class LoraLibrary:
    """Finds the `*.safetensors` files of a folder and of those in it, regardless of case, as on Windows.

    A file is named by its stem. One in a folder below is named with it (`characters/anna`), and found by the stem alone
    where no other has it.

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
        single = [self._name(path) for path in files.values() if path not in halves]
        return sorted([*single, *(pair.name for pair in pairs.values())], key=str.casefold)

    def find(self, name: str) -> Lora:
        """The LoRA of that name; a path is no name. Raises LoraError."""
        files = self._files()
        pairs, key = _pairs(files), name.casefold()
        same = [path for path in files.values() if path.stem.casefold() == key]
        path = files.get(key) or (same[0] if len(same) == 1 else None)
        if path is not None:
            return _alone(path, self._name(path), pairs.values())
        if key in pairs:
            return pairs[key]
        names = ", ".join(self.names()) or "none yet"
        raise LoraError(f"There is no LoRA '{name[:80]}' in {self.folder}; it holds: {names}.")

    def files(self, name: str) -> dict[str, Path]:
        """The files of a LoRA, by their names in a receipt: those of a pair by their own stems. Raises LoraError."""
        lora = self.find(name)
        return {path.stem: path for path in lora.paths} if lora.is_pair else {name: lora.paths[0]}

    def counterpart(self, path: Path) -> Path | None:
        """The other half of the pair that a file is of; None if it is of none."""
        pair = next((pair for pair in _pairs(self._files()).values() if path in pair.paths), None)
        return next((other for other in pair.paths if other != path), None) if pair else None

    def _files(self) -> dict[str, Path]:
        """By name in small letters. A name that is not valid text is left out: no page and no receipt can hold it."""
        files: dict[str, Path] = {}
        for path in sorted(self.folder.rglob("*.safetensors")):
            if not is_text(self._name(path)):
                self._report(path)
            elif path.is_file():
                files.setdefault(self._name(path).casefold(), path)
        return files

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).with_suffix("").as_posix()

    def _report(self, path: Path) -> None:
        if path not in self._reported:
            self._reported.add(path)
            logger.warning("%r is left out: its name is not valid text; rename it.", str(path))


def _alone(path: Path, name: str, pairs: Iterable[Lora]) -> Lora:
    half = _half(path)
    if half is None or not (half.is_certain or any(path in pair.paths for pair in pairs)):
        return Lora(name, path, path)
    return Lora(name, path if half.is_high else None, None if half.is_high else path)


def _pairs(files: dict[str, Path]) -> dict[str, Lora]:
    """By name in small letters. Where a file has the name that a pair would get, the halves stay single."""
    halves = [half for path in files.values() if (half := _half(path))]
    folders = {path: name.rpartition("/")[0] for name, path in files.items()}
    pairs: dict[str, Lora] = {}
    paired: set[Path] = set()
    for is_loose in (False, True):
        groups: dict[tuple[Path, tuple[str, str]], list[_Half]] = defaultdict(list)
        for half in halves:
            if half.path not in paired:
                groups[half.path.parent, half.loose_key if is_loose else half.key].append(half)
        for group in groups.values():
            high, low = ([half for half in group if half.is_high is side] for side in (True, False))
            if len(high) != 1 or len(low) != 1:
                continue
            folder = folders[high[0].path]
            name = "/".join([*([folder] if folder else []), high[0].name_with(low[0])])
            if name.casefold() not in files and name.casefold() not in pairs:
                pairs[name.casefold()] = Lora(name, high[0].path, low[0].path)
                paired |= {high[0].path, low[0].path}
    return pairs


def _half(path: Path) -> _Half | None:
    """None for a name without an expert in it."""
    marks = sorted(_MARK.finditer(path.stem), key=lambda mark: not mark["noise"])
    if not marks:
        return None
    mark = marks[0]
    word = mark["expert"] or mark["letter"]
    return _Half(
        path,
        is_high=word[0].lower() == "h",
        is_certain=bool(mark["noise"]) or (bool(mark["expert"]) and word.isupper() and mark.start() > 0),
        before=path.stem[: mark.start()],
        after=path.stem[mark.end() :],
    )
