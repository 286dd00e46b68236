"""A project: a client or a film. One folder of the workspace, with a `project.toml`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from wan_pipeline.projects.naming import check_template
from wan_pipeline.requests.layers import Layers, Setup
from wan_pipeline.requests.limits import EarlyEndAmount, Name, Side, Steps
from wan_pipeline.requests.post_processing import UNCHANGED, Interpolate, NetworkName, PostProcessing, Upscale
from wan_pipeline.requests.prompts.characters import Characters

DEFAULT = "default"
"""Id of the project that clips without one belong to. In rows and receipts its name is empty."""
MAX_NOTES = 20_000


def _check_folder(folder: str) -> str:
    if "\0" in folder:
        raise ValueError("it holds a zero character, which no folder's name has")
    return folder


@dataclass(frozen=True)
class Profile:
    """What of the setup is another thing for drafts, or for finals."""

    model: Name | None = None
    speed: Name | None = None
    width: Side | None = None
    height: Side | None = None
    num_inference_steps: Steps | None = None
    early_end: EarlyEndAmount | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @property
    def is_empty(self) -> bool:
        """Whether it sets nothing."""
        return all(value is None for value in vars(self).values())

    @property
    def given(self) -> dict[str, Any]:
        """The settings of the setup that it changes."""
        values = {each.name: getattr(self, each.name) for each in fields(Profile)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def setup(self) -> Setup:
        return Setup(**self.given)


@dataclass(frozen=True)
class FinalProfile(Profile):
    """For finals also what is done to their frames, as another file, once they are made."""

    upscale: Upscale | None = None
    interpolate: Interpolate | None = None
    upscaler: NetworkName | None = None
    interpolator: NetworkName | None = None

    @property
    def post_processing(self) -> PostProcessing:
        return PostProcessing(self.upscale or 1, self.interpolate or 1, self.upscaler or "", self.interpolator or "")


@dataclass(frozen=True)
class Project:
    """A project as its file is now."""

    id: str
    """Name of its folder, and of the project in rows, receipts and keys."""
    title: Annotated[str, Field(min_length=1, max_length=200)]
    setup: Setup = field(default_factory=Setup)
    draft: Profile = field(default_factory=Profile)
    final: FinalProfile = field(default_factory=FinalProfile)
    naming: Annotated[str, AfterValidator(check_template)] = ""
    """Template of clips' names; empty for the usual names."""
    output: Annotated[str, Field(max_length=1000), AfterValidator(_check_folder)] = ""
    """Folder that every finished clip is copied to; empty for none. `~` is the owner's home."""
    notes: Annotated[str, Field(max_length=MAX_NOTES)] = ""
    archived: bool = False
    """Whether it is archived: no longer offered; its clips stay."""
    characters: Characters = field(default_factory=dict)
    """Characters and places that prompts name by `@anna`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @property
    def label(self) -> str:
        """What rows, receipts and keys hold of it."""
        return "" if self.id == DEFAULT else self.id

    def post_processing(self, profile: str) -> PostProcessing:
        """What is done to the frames of a clip made by the profile "draft" or "final", or "" for neither."""
        return self.final.post_processing if profile == "final" else UNCHANGED

    def layers(self, profile: str = "") -> Layers:
        """Its layers for a clip, or for one by the profile "draft" or "final"."""
        match profile:
            case "draft":
                setup = self.draft.setup.over(self.setup)
            case "final":
                setup = self.final.setup.over(self.setup)
            case _:
                setup = self.setup
        return Layers(setup, characters=self.characters)


SETUP_KEYS = tuple(each.name for each in fields(Setup))
OWN_KEYS = ("title", "naming", "output", "notes", "archived", "draft", "final", "characters")
