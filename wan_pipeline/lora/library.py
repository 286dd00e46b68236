"""The adapters in the LoRA folder, by name. No torch."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import LoraError

_MARK = re.compile(r"(?<![^\W_])(?P<expert>high|low)(?P<noise>[ ._-]?noise)?(?![^\W_])", re.IGNORECASE)
"""How files say which expert they are for: `x_high_noise`, `x-LOW`, `x_HighNoise_v1`."""


@dataclass(frozen=True)
class Lora:
    """One choice of the folder: a file, or the two files of a pair for the two experts of Wan 2.2 A14B."""

    name: str
    high: Path | None
    """For the expert of the first, noisy steps. A file that says nothing of experts is `high` and `low` alike."""
    low: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for path in (self.high, self.low) if path is not None))

    @property
    def is_pair(self) -> bool:
        return len(self.paths) == 2

    @property
    def is_half(self) -> bool:
        return self.high is None or self.low is None


@dataclass(frozen=True)
class _Half:
    path: Path
    is_high: bool
    is_certain: bool
    """A bare "high" or "low" in small letters may mean anything, unless the other half is there."""
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the two halves of a pair."""
        return self.before.casefold(), self.after.casefold()

    @property
    def pair_name(self) -> str:
        return "".join([self.before.rstrip(" ._-"), self.after]).strip(" ._-") or "high and low noise"


class LoraLibrary:
    """Names are the stems of `*.safetensors` files, told apart without regard to case, as on Windows.

    Two files that differ only in `high_noise` and `low_noise` are one choice, called what is left of their stems. By
    its own stem each half can still be had alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Every choice's name, sorted. Of two files that differ only in case, the first counts."""
        files = self._files()
        pairs = _pairs(files)
        halves = {path for pair in pairs.values() for path in pair.paths}
        single = [path.stem for path in files.values() if path not in halves]
        return sorted([*single, *(pair.name for pair in pairs.values())], key=str.casefold)

    def find(self, name: str) -> Lora:
        """The choice of that name. Raises LoraError for a name that is not in the folder; a path is never a name."""
        files = self._files()
        key = name.casefold()
        if key in files:
            return _alone(files[key])
        try:
            return _pairs(files)[key]
        except KeyError:
            offer = ", ".join(self.names()) or "none yet"
            raise LoraError(f"There is no LoRA '{name[:80]}' in {self.folder}; it holds: {offer}.") from None

    def files(self, name: str) -> dict[str, Path]:
        """A choice's files by what a receipt calls them: a pair's by their own names. Raises LoraError."""
        lora = self.find(name)
        return {path.stem: path for path in lora.paths} if lora.is_pair else {name: lora.paths[0]}

    def _files(self) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.is_file():
                files.setdefault(path.stem.casefold(), path)
        return files


def _alone(path: Path) -> Lora:
    half = _half(path)
    if half is None or not half.is_certain:
        return Lora(path.stem, path, path)
    return Lora(path.stem, path if half.is_high else None, None if half.is_high else path)


def _pairs(files: dict[str, Path]) -> dict[str, Lora]:
    """By name without case. Where a file has the name that a pair would get, its halves stay by themselves."""
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
    """What a file's name says of experts, None if nothing."""
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
