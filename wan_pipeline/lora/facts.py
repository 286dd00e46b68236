"""What a LoRA's files say of themselves, and what of them a model takes: for lists, cards and receipts. No torch.

Only headers are read, each once as long as its file stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from wan_pipeline.errors import LoraError, StudioError
from wan_pipeline.lora.adapter import LoraFile, ModelModules, match_header
from wan_pipeline.lora.applied import EXPERTS, applied_lora
from wan_pipeline.lora.changes import ROLES, Kind
from wan_pipeline.lora.check import SaidExpert, match_files
from wan_pipeline.lora.experts import expert_by_metadata
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.lora.reading.header import read_lora_header
from wan_pipeline.lora.reading.keys import KeyParts, Role, split_keys
from wan_pipeline.lora.reading.metadata import settings_beside
from wan_pipeline.lora.reading.values import UNREAD, ValueReader, check_values
from wan_pipeline.lora.reading.words import base_of, trigger_words
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.weights import Header
from wan_pipeline.settings import Settings
from wan_pipeline.storage.hashes import FileHashes

T = TypeVar("T")
_RANKED = frozenset({Role.DOWN, Role.LOKR_W1_B, Role.LOKR_W2_B, Role.HADA_W1_B})
"""Tensors whose first side is the rank."""


@dataclass(frozen=True)
class LoraFacts:
    """A LoRA as a list shows it."""

    name: str
    paths: tuple[Path, ...]
    kind: str = ""
    """LoRA, DoRA, LoKr, LoHa or difference; several are joined by " + "."""
    rank: int | None = None
    """The largest; None for a kind that has none."""
    base: str = ""
    """The model that it was made for, as the file says, or whose width its shapes have; empty if neither is known."""
    keys: int = 0
    applied: int | None = None
    """Keys that the chosen model takes; None if no model was chosen, or none of it can be applied."""
    experts: tuple[str, ...] = ()
    """Those of EXPERTS that it is for: by its name, or in the chosen model."""
    trigger_words: tuple[str, ...] = ()
    bytes: int = 0
    problem: str | None = None
    """Why it cannot be used, with the chosen model if there is one, in a sentence."""
    asks_expert: bool = False
    """Nothing says which of the chosen model's experts it is for; the person is asked, and the answer is remembered."""
    warnings: tuple[str, ...] = ()
    """What of it is left out with the chosen model, a sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "path": str(self.paths[0]),
            "paths": [str(path) for path in self.paths],
            "kind": self.kind,
            "rank": self.rank,
            "base": self.base,
            "keys": self.keys,
            "applied": self.applied,
            "experts": list(self.experts),
            "trigger_words": list(self.trigger_words),
            "bytes": self.bytes,
            "problem": self.problem,
            "asks_expert": self.asks_expert,
            "warnings": list(self.warnings),
        }


class LoraCatalog:
    """Facts of many LoRAs, read once each as long as their files and the model's stay as they are."""

    def __init__(self, hashes: FileHashes, said: SaidExpert = lambda path: None) -> None:
        """`said` gives what a person said of a file's expert."""
        self._hashes = hashes
        self._said = said
        self._files = _Unchanged[_File]()
        self._facts = _Unchanged[LoraFacts]()
        self._modules = _Unchanged[ModelModules]()

    @classmethod
    def of(cls, settings: Settings, library: LoraLibrary) -> LoraCatalog:
        """The catalog of a studio."""
        return cls(FileHashes(settings.cache / "hashes"), partial(library.expert_of, quickly=True))

    def facts(self, lora: Lora, model: InstalledModel | None = None, values: ValueReader | None = None) -> LoraFacts:
        """What a LoRA holds, and what of it the model takes. Numbers are looked at only with `values`."""
        try:
            if values is not None:
                return self._read(lora, model, values)
            of_model = () if model is None else model.transformer_files
            said = self._said(lora.paths[0]) if model is not None and lora.high == lora.low else None
            key = f"{lora.name}\n{said}"
            return self._facts.of([*lora.paths, *of_model], lambda: self._read(lora, model, None), key)
        except (LoraError, OSError) as error:
            return LoraFacts(lora.name, lora.paths, problem=_sentence(lora, error), experts=_named(lora))

    def sha256(self, path: Path, between: Callable[[], object] = lambda: None) -> str:
        """The hash of a file, in hex; reads it all the first time. Raises OSError, StorageError."""
        return self._hashes.sha256(path, between)

    def known_sha256(self, path: Path) -> str | None:
        """The hash of a file that was hashed before, without reading it. Raises OSError."""
        return self._hashes.known(path)

    def _read(self, lora: Lora, model: InstalledModel | None, values: ValueReader | None) -> LoraFacts:
        """Raises LoraError, OSError."""
        files = {path: self._files.of([path], partial(_File.read, path)) for path in lora.paths}
        first = next(iter(files.values()))
        kinds, rank = _kinds_and_rank(files.values())
        plain = LoraFacts(
            name=lora.name,
            paths=lora.paths,
            kind=" + ".join(kinds),
            rank=rank,
            base=base_of(first.header, first.parts),
            keys=sum(len(file.header.tensors) for file in files.values()),
            experts=(_experts_in_metadata(first) if len(files) == 1 else ()) or _named(lora),
            trigger_words=trigger_words(first.header.metadata),
            bytes=sum(path.stat().st_size for path in lora.paths),
            problem=None if kinds else f"LoRA '{lora.name}' holds no changes of weights; choose a LoRA file.",
        )
        return plain if model is None else self._with_model(plain, lora, files, model, values)

    def _with_model(
        self,
        facts: LoraFacts,
        lora: Lora,
        files: Mapping[Path, _File],
        model: InstalledModel,
        values: ValueReader | None,
    ) -> LoraFacts:
        modules = self._modules.of(model.transformer_files, lambda: ModelModules.of(model))

        def open_file(path: Path) -> LoraFile:
            file = files[path]
            found = check_values(path, file.header, values) if values else UNREAD
            return match_header(path, file.header, model, modules, found, parts=file.parts)

        try:
            adapters = match_files(lora, model, open_file, said=self._said)
        except StudioError as error:
            return replace(facts, problem=str(error))
        took = applied_lora(lora.name, adapters, model)
        warnings = tuple(dict.fromkeys(warning for adapter in adapters for warning in adapter.warnings))
        asks = any(adapter.is_by_default for adapter in adapters)
        return replace(facts, applied=took.applied, experts=took.experts, asks_expert=asks, warnings=warnings)


@dataclass(frozen=True)
class _File:
    """A file's header, and its keys split."""

    header: Header
    parts: Mapping[str, KeyParts]

    @classmethod
    def read(cls, path: Path) -> _File:
        """Raises LoraError."""
        header = read_lora_header(path)
        return cls(header, split_keys(header.tensors))


class _Unchanged(Generic[T]):
    """Values made of files, made again when a file, or peft's settings beside it, has another size or time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | Path, ...], tuple[list[tuple[int, int] | None], T]] = {}

    def of(self, paths: Sequence[Path], make: Callable[[], T], key: str = "") -> T:
        """Raises OSError, and what `make` raises."""
        beside = [settings for path in paths if (settings := settings_beside(path))]
        state = [_state(path) for path in (*paths, *beside)]
        known = self._known.get((key, *paths))
        if known is None or known[0] != state:
            known = self._known[key, *paths] = (state, make())
        return known[1]


def _state(path: Path) -> tuple[int, int] | None:
    """A file's size, and its time in ns; None if it is not there. Raises OSError."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _kinds_and_rank(files: Iterable[_File]) -> tuple[list[str], int | None]:
    """The kinds of change by the roles of the keys, and the largest rank by the shapes, whatever the model."""
    roles: set[Role] = set()
    ranks: set[int] = set()
    for file in files:
        for key, parts in file.parts.items():
            roles.add(parts.role)
            ranks |= set(file.header.tensors[key].shape[:1]) if parts.role in _RANKED else set()
    kinds = [kind.value for kind in Kind if ROLES[kind] & roles]
    if Role.MAGNITUDE in roles:
        kinds = ["DoRA", *(kind for kind in kinds if kind != Kind.LORA)]
    return kinds, max(ranks, default=None)


def _experts_in_metadata(file: _File) -> tuple[str, ...]:
    """The expert that a file's metadata names, if any."""
    told = expert_by_metadata(file.header.metadata)
    return tuple(EXPERTS[number] for number in told.numbers) if told else ()


def _named(lora: Lora) -> tuple[str, ...]:
    """The experts that the files' names give, if any."""
    if not lora.is_half and not lora.is_pair:
        return ()
    return tuple(name for name, path in zip(EXPERTS, (lora.high, lora.low), strict=True) if path is not None)


def _sentence(lora: Lora, error: Exception) -> str:
    return str(error) if isinstance(error, LoraError) else f"LoRA '{lora.name}' cannot be read: {error}."
