"""What a project and its clips need of a studio, and whether a studio has it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from wan_pipeline.errors import LoraError, UserError
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.library import SUFFIX
from wan_pipeline.projects.bundles.bundle import Need, NeedKind
from wan_pipeline.projects.project import Project
from wan_pipeline.requests.layers import NONE, Setup
from wan_pipeline.requests.presets import find_preset, find_quality
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.requests.sampling.speeds import Speed, find_speed
from wan_pipeline.settings import Settings


class Needs:
    """Finds the models, styles, speeds and LoRAs of projects in one studio."""

    def __init__(self, settings: Settings, requests: RequestResolver, catalog: LoraCatalog) -> None:
        self._settings, self._requests, self._catalog = settings, requests, catalog

    def of(self, project: Project, requests: Sequence[GenerationRequest], of_shots: Sequence[Setup] = ()) -> list[Need]:
        """All needs of a project, of its clips' requests and of its shots' settings.

        Raises LoraError for a LoRA of the project's setup that is gone.
        """
        setups = (project.setup, project.draft.setup, project.final.setup, *of_shots)
        models = {*(setup.model for setup in setups), *(request.model for request in requests)}
        speeds = [self._speed(setup.speed) for setup in setups if _is_some(setup.speed)]
        return [
            *(Need(NeedKind.MODEL, model) for model in sorted(model for model in models if model)),
            *(Need(NeedKind.PRESET, style, self._own_sha256(style)) for style in self._styles(setups, requests)),
            *(Need(NeedKind.SPEED, name) for name in sorted({_id(speed) for speed in speeds})),
            *self._lora_needs(project, requests, setups, speeds),
        ]

    def style_file(self, style: str) -> Path | None:
        """The file of a style by its id: a person's own, or one that ships."""
        places = (self._settings.own_presets / f"{style}.toml", self._settings.presets / f"{style}.toml")
        return next((path for path in places if path.is_file()), None)

    def lora_files(self, needs: Iterable[Need]) -> dict[str, Path]:
        """The files of the LoRAs that are here, by their places below a folder."""
        names = {need.name: None for need in needs if need.kind is NeedKind.LORA}
        return {self._below(path): path for name in names for path in self._paths(name)}

    def has(self, need: Need) -> bool:
        """Whether the studio has it, with the same content. A need only names things; it leads to no other file."""
        match need.kind:
            case NeedKind.MODEL:
                return any(model.spec.id == need.name for model in self._requests.models.installed())
            case NeedKind.PRESET:
                is_here = need.name in self._requests.presets
                return is_here and need.sha256 in ("", _sha256(self.style_file(need.name)))
            case NeedKind.SPEED:
                return need.name in self._requests.speeds
            case NeedKind.LORA:
                paths = self._paths(need.name.removesuffix(SUFFIX))
                return bool(paths) and (not need.sha256 or need.sha256 in map(self._catalog.sha256, paths))

    def _styles(self, setups: Sequence[Setup], requests: Sequence[GenerationRequest]) -> list[str]:
        """The ids of styles and qualities; the name of one that is gone."""
        presets = self._requests.presets
        found = {request.preset for request in requests if request.preset}
        for setup in setups:
            if setup.preset and _is_some(setup.preset):
                found.add(_found(lambda name: find_preset(presets, name).id, setup.preset))
            if setup.quality and _is_some(setup.quality):
                found.add(_found(lambda name: find_quality(presets, name).id, setup.quality))
        return sorted(found)

    def _speed(self, name: str | None) -> Speed | str:
        """The speed; its name if it is gone."""
        try:
            return find_speed(self._requests.speeds, name or "")
        except UserError:
            return name or ""

    def _lora_needs(
        self,
        project: Project,
        requests: Sequence[GenerationRequest],
        setups: Sequence[Setup],
        speeds: Sequence[Speed | str],
    ) -> Iterator[Need]:
        for lora in project.setup.loras or ():
            self._requests.loras.find(lora.name)
        used = [lora.name for setup in setups for lora in setup.loras or ()]
        used += [each.lora.name for each in project.characters.values() if each.lora]
        used += [speed.lora for speed in speeds if isinstance(speed, Speed)]
        used += [lora.name for request in requests for lora in request.loras]
        for name in sorted({name.casefold(): name for name in reversed(used)}.values()):
            paths = self._paths(name)
            yield from (Need(NeedKind.LORA, name, self._catalog.sha256(path)) for path in paths)
            if not paths:
                yield Need(NeedKind.LORA, name)

    def _paths(self, lora: str) -> tuple[Path, ...]:
        """None for a LoRA that is not here."""
        try:
            return self._requests.loras.find(lora).paths
        except LoraError:
            return ()

    def _below(self, path: Path) -> str:
        folder = next(folder for folder in self._requests.loras.folders if path.is_relative_to(folder))
        return path.relative_to(folder).as_posix()

    def _own_sha256(self, style: str) -> str:
        path = self.style_file(style)
        return _sha256(path) if path and path.parent == self._settings.own_presets else ""


def _sha256(path: Path | None) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


def _is_some(name: str | None) -> bool:
    return bool(name) and (name or "").casefold() != NONE


def _found(find: Callable[[str], str], name: str) -> str:
    try:
        return find(name)
    except UserError:
        return name


def _id(speed: Speed | str) -> str:
    return speed.id if isinstance(speed, Speed) else speed
