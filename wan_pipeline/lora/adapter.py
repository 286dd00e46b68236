"""Matches a LoRA file with a model, by its header. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.fit import Module, fit_module
from wan_pipeline.lora.reading.header import read_lora_header
from wan_pipeline.lora.reading.keys import KeyParts, Place, Role, Spellings, split_keys
from wan_pipeline.lora.reading.metadata import read_settings
from wan_pipeline.lora.reading.values import UNREAD, ValueReader, Values, check_values
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.configs import TRANSFORMERS
from wan_pipeline.models.weights import Header, TensorInfo
from wan_pipeline.wording import first_of

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Adapter:
    """A LoRA file, matched with a model."""

    path: Path
    weight: float
    changes: tuple[Change, ...]
    skipped: tuple[str, ...] = ()
    """Keys that match nothing in the model."""
    experts: tuple[int, ...] = (0,)
    """The transformers to apply it to: 0 is the only or the high-noise expert, 1 the low-noise one."""
    is_half: bool = False
    """It is one of a pair for two experts, and the other one is not used."""
    misfits: tuple[str, ...] = ()
    """Weights of another shape than the model's, which are left out, each as the end of a sentence."""
    without_effect: tuple[str, ...] = ()
    """Keys that hold only zeros, so that a matrix product with them changes nothing."""
    keys: int = 0
    """Tensors in the file."""
    schedule: Schedule | None = None
    """Factors of the weight over the steps; None: 1 in all of them."""
    is_by_default: bool = False
    """Nothing says which of two experts it is for, so it is applied to both."""

    @property
    def note(self) -> str:
        """For a file that is `is_by_default`, a sentence."""
        return (
            f"LoRA '{self.path.stem}' does not say which expert it is for, so both work with it, that of high noise "
            "and that of low noise."
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, a sentence each."""
        name, warnings = self.path.stem, []
        if self.skipped:
            warnings.append(f"LoRA '{name}': left out keys that match nothing: {first_of(self.skipped)}.")
        if self.misfits:
            warnings.append(f"LoRA '{name}': left out {first_of(self.misfits)}.")
        if self.without_effect:
            warnings.append(
                f"LoRA '{name}' changes nothing where it holds only zeros, in {first_of(self.without_effect)}."
            )
        if self.is_half:
            noise, other = ("high", "low") if self.experts == (0,) else ("low", "high")
            warnings.append(f"LoRA '{name}' is for the {noise}-noise expert; the {other}-noise one worked without it.")
        return tuple(warnings)


@dataclass(frozen=True)
class ModelModules:
    """What a model's transformers consist of. It takes a while to make, and serves for many files."""

    shapes: tuple[Mapping[str, Shape], ...]
    """For each transformer: the shape of each module's weight, and of each parameter that is no module's, by name."""
    spellings: Spellings

    @classmethod
    def of(cls, model: InstalledModel) -> ModelModules:
        """Read them from the headers of the model's files. Raises ModelError."""
        shapes = tuple(_shapes(model, component) for component in model.transformers)
        return cls(shapes, Spellings(shapes[0]))


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file whose header was read, with the places of its keys in a model."""

    path: Path
    header: Header
    model: InstalledModel
    modules: ModelModules
    parts: Mapping[str, KeyParts]
    """Parts of each key of a LoRA."""
    places: dict[str, Place]
    """Places by the file's names of modules."""
    values: Values

    @cached_property
    def experts(self) -> tuple[int, ...]:
        """The experts that its keys name; none if they name none."""
        named = {place.expert for place in self.places.values()}
        return tuple(sorted({place or 0 for place in named})) if named - {None} else ()

    def adapter(self, weight: float = 1.0, *, experts: tuple[int, ...] = (0,), is_half: bool = False) -> Adapter:
        """The file's changes for these experts. Raises LoraError if it holds none, or some that do not fit."""
        shapes = self.modules.shapes[experts[0]]
        settings = read_settings(self.path.stem, self.header.metadata, TRANSFORMERS[experts[0]])
        found = self._modules(experts, shapes)
        fits = [fit_module(self.path.stem, module, self.header.tensors, settings) for module in found]
        changes = [change for fit in fits for change in fit.changes]
        misfits = {key: reason for fit in fits for key, reason in fit.misfits.items()}
        if not changes:
            raise LoraError(
                f"LoRA '{self.path.stem}' fits nothing in {self.model.spec.title}: none of its "
                f"{len(self.header.tensors):,} keys is known there; choose a LoRA that was trained for this model."
            )
        if settings.is_dora and not any(change.is_dora for change in changes):
            raise LoraError(
                f"LoRA '{self.path.stem}' says that it is a DoRA, and holds no magnitudes; export it again."
            )
        return Adapter(
            self.path,
            weight,
            tuple(changes),
            self._skipped(changes, experts, misfits),
            experts,
            is_half,
            tuple(dict.fromkeys(misfits.values())),
            self._without_effect(changes),
            len(self.header.tensors),
        )

    def _modules(self, experts: tuple[int, ...], shapes: Mapping[str, Shape]) -> list[Module]:
        """The modules that the file has keys for. Of two names of one module the first counts."""
        found: dict[str, dict[Role, str]] = {}
        names: dict[str, list[str]] = {}
        by_name: dict[str, dict[Role, str]] = {}
        for key, parts in sorted(self.parts.items()):
            if parts.module in self.places and self._is_for(self.places[parts.module], experts):
                by_name.setdefault(parts.module, {}).setdefault(parts.role, key)
        for name, keys in sorted(by_name.items()):
            target = self.places[name].target
            if not keys.keys() & found.get(target, {}).keys():
                found.setdefault(target, {}).update(keys)
                names.setdefault(target, [target]).append(name)
        return [Module(target, shapes[target], keys, tuple(names[target])) for target, keys in found.items()]

    def _is_for(self, place: Place, experts: tuple[int, ...]) -> bool:
        """Whether a key is for one of these experts: all are, unless the file names both of them."""
        return len(self.experts) < 2 or (place.expert or 0) in experts

    def _skipped(self, changes: list[Change], experts: tuple[int, ...], misfits: Mapping[str, str]) -> tuple[str, ...]:
        """The keys that no expert of the model uses, and that are not reported as misfits."""
        used = {key for change in changes for key in change.all_keys}
        left = sorted(self.header.tensors.keys() - used - misfits.keys())
        if len(self.modules.shapes) == 1:
            return tuple(left)
        return tuple(key for key in left if not self._is_for_other(key, experts))

    def _is_for_other(self, key: str, experts: tuple[int, ...]) -> bool:
        place = self.places.get(self.parts[key].module) if key in self.parts else None
        return place is not None and not self._is_for(place, experts)

    def _without_effect(self, changes: list[Change]) -> tuple[str, ...]:
        """Zeros that leave a product of matrices without effect. Raises LoraError if the whole file has none."""
        zeros = self.values.zeros
        dead = {id(change): sorted(key for role, key in _factors(change).items() if key in zeros) for change in changes}
        if all(_is_dead(change, dead[id(change)], zeros) for change in changes):
            first = min(zeros.intersection(key for change in changes for key in change.all_keys))
            raise LoraError(
                f"LoRA '{self.path.stem}' changes nothing: {first} and all its other changes hold only zeros; "
                "train or export it again."
            )
        return tuple(sorted(key for keys in dead.values() for key in keys))


def open_lora(path: Path, model: InstalledModel, values: ValueReader | None = None) -> LoraFile:
    """Read a file and match its keys with a model's modules.

    Raises LoraError for a file that is unreadable, unsafe, of a kind that cannot be applied, or holds what are no
    numbers.
    """
    header = read_lora_header(path)
    return match_header(
        path, header, model, ModelModules.of(model), check_values(path, header, values or ValueReader())
    )


def match_header(
    path: Path,
    header: Header,
    model: InstalledModel,
    modules: ModelModules,
    values: Values = UNREAD,
    parts: Mapping[str, KeyParts] | None = None,
) -> LoraFile:
    """Match the keys of a header with a model's modules; without `values` its numbers count as good.

    `parts` are its keys, if they are split already.
    """
    split = split_keys(header.tensors) if parts is None else parts
    places = modules.spellings.place_all({found.module for found in split.values()})
    return LoraFile(path, header, model, modules, split, places, values)


def match_adapter(
    path: Path,
    model: InstalledModel,
    weight: float = 1.0,
    values: ValueReader | None = None,
    *,
    experts: tuple[int, ...] = (0,),
    is_half: bool = False,
) -> Adapter:
    """Match a file's keys with the modules of a model's transformer.

    Raises LoraError for a file that is unreadable, unsafe, of another kind or size, or that matches nothing.
    """
    return open_lora(path, model, values).adapter(weight, experts=experts, is_half=is_half)


def _shapes(model: InstalledModel, component: str) -> dict[str, Shape]:
    """The shape of each module's weight, and of each parameter that is no module's, by name."""
    tensors: dict[str, TensorInfo] = model.tensors(component)
    return {
        name.removesuffix(".weight"): info.shape
        for name, info in tensors.items()
        if not name.endswith(".bias") or f"{name.removesuffix('.bias')}.weight" not in tensors
    }


def _factors(change: Change) -> dict[Role, str]:
    """The keys whose product a change is: one of zeros makes it nothing."""
    if change.kind not in (Kind.LORA, Kind.LOKR, Kind.LOHA) or change.is_dora:
        return {}
    factors = {role: key for role, key in change.keys.items() if role not in (Role.BIAS, Role.UP_BIAS)}
    return factors | ({Role.ALPHA: change.alpha_key} if change.alpha_key else {})


def _is_dead(change: Change, dead: list[str], zeros: frozenset[str]) -> bool:
    added = [key for role, key in change.keys.items() if role in (Role.DIFF, Role.BIAS, Role.UP_BIAS)]
    if change.kind is Kind.DIFF or dead:
        return all(key in zeros for key in added)
    return False
