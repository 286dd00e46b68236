"""Which expert of Wan 2.2 A14B a LoRA file is for by its name, and which two files are a pair. No torch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_MARK = re.compile(
    r"(?<![^\W_])(?:(?P<expert>high|low|hi|lo)(?P<noise>[ ._-]?noise)?|(?P<letter>[hl])(?P<n>n)?)(?![^\W_])"
    r"|(?P<chinese>[高低])噪[声音]?",
    re.IGNORECASE,
)
"""The expert in a file's name: `x_high_noise`, `x-LOW`, `x_HighNoise_v1`, `x_HN`, `x-22-H-e8`, `x高噪`."""
_STAGE = re.compile(r"(?<![^\W_])(?:e|ep|epoch|s|steps?|v)?[ ._-]?\d+(?:\.\d+)?(?![^\W_])", re.IGNORECASE)
"""How far a half was trained: `e8`, `epoch_12`, `v2`, `000004500`. The halves of a pair need not agree in it."""


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
class Half:
    """A file whose name seems to say which expert it is for."""

    path: Path
    is_high: bool
    is_certain: bool
    """Whether the name says so by itself. "high", "low", "H" or "LOW_POLY" need the other half to mean an expert."""
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

    def name_with(self, other: Half) -> str:
        """Name of the pair that it is with another half."""
        if self.key == other.key:
            return self.pair_name
        return replace(self, after=_STAGE.sub("", self.after)).pair_name


def alone(path: Path, name: str, pairs: Iterable[Lora] = ()) -> Lora:
    """A file by its own name: for one expert if the name says so, or if it is of a pair; else for both."""
    return single(path, name, half_of(path), is_paired=any(path in pair.paths for pair in pairs))


def single(path: Path, name: str, half: Half | None, *, is_paired: bool = False) -> Lora:
    """As `alone`, of what the file's name says."""
    if half is None or not (half.is_certain or is_paired):
        return Lora(name, path, path)
    return Lora(name, path if half.is_high else None, None if half.is_high else path)


def find_pairs(files: Mapping[str, tuple[str, Path]], halves: Iterable[Half]) -> dict[str, Lora]:
    """The pairs among files, both by name in small letters; `files` holds the names as they are written, and paths.

    Where a file has the name that a pair would get, the halves stay single.
    """
    folders = {path: name.rpartition("/")[0] for name, path in files.values()}
    pairs: dict[str, Lora] = {}
    paired: set[Path] = set()
    for is_loose in (False, True):
        groups: dict[tuple[Path, tuple[str, str]], list[Half]] = defaultdict(list)
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


def half_of(path: Path) -> Half | None:
    """None for a name without an expert in it."""
    marks = sorted(_MARK.finditer(path.stem), key=lambda mark: not (mark["noise"] or mark["chinese"]))
    if not marks:
        return None
    mark = marks[0]
    word = mark["expert"] or mark["letter"] or mark["chinese"]
    is_said = bool(mark["noise"] or mark["chinese"])
    return Half(
        path,
        is_high=word[0].lower() in "h高",
        is_certain=is_said or (bool(mark["expert"]) and word.isupper() and mark.start() > 0),
        before=path.stem[: mark.start()],
        after=path.stem[mark.end() :],
    )
