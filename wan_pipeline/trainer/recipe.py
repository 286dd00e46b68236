"""Recipes: one TOML file for each subject, with every number of a training at each pace and the reason for it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.errors import UserError
from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.storage.outside import OutsideDataError, parse, read_toml_file

FOLDER = Path(__file__).parent / "recipes"
SMALL = "small"
"""The table of a file that holds for small models."""
PACES = ("quick", "thorough")
"""The tables of a file, and of its table for small models, that hold for recipes with these ends of their names."""
SMALL_PARAMS = 100e6
"""Parameters of a transformer below which a model is small: it learns at a hundred times the rate of a large one."""


class RecipeError(UserError):
    """A recipe that cannot be read, or a number in it that cannot be."""


class Decay(StrEnum):
    """How the learning rate falls after warm-up: to nothing, at the last step."""

    LINEAR = "linear"
    COSINE = "cosine"


class Optimizer(StrEnum):
    """What turns gradients into steps."""

    ADAMW = "adamw"
    ADAMW_8BIT = "adamw8bit"
    """Its moments in eight bits, by bitsandbytes, which not everyone has."""


MIN_RATE, MAX_RATE = 1e-7, 0.1
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=MIN_RATE, le=MAX_RATE)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Change = int | float | str | None
"""Another value for an entry of a recipe; None for its own."""
Line = Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class Recipe:
    """Every number of a training but its seed."""

    title: Line
    description: Line
    rank: Annotated[int, Field(ge=1, le=256)]
    alpha: Annotated[float, Field(gt=0, le=1024)]
    """The update is `alpha / rank` times the product of the factors."""
    steps: Count
    learning_rate: Rate
    high_noise_learning_rate: Rate
    """Of the high-noise expert, for models with two."""
    warm_up: Annotated[int, Field(ge=0, le=10_000)]
    """Steps in which the learning rate rises from nothing."""
    decay: Decay
    optimizer: Optimizer
    beta_1: Share
    beta_2: Share
    weight_decay: Share
    clip_norm: Annotated[float, Field(gt=0)]
    """Largest norm of all gradients together."""
    uniform_share: Share
    """Of the noise levels that are uniform and not logit-normal."""
    caption_dropout: Share
    """Of the examples that are trained without their caption."""
    first_frame_share: Share
    """Of the clips that are trained with their first frame given."""
    stills: Annotated[int, Field(ge=1, le=64)]
    """Stills in a batch."""
    clips: Annotated[int, Field(ge=1, le=64)]
    accumulation: Annotated[int, Field(ge=1, le=64)]
    """Batches whose mean gradient makes one step: as a larger batch, in the memory of one."""
    average: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the mean of the factors that the file holds, in each step; 0 for the factors themselves."""
    max_frames: Annotated[int, Field(ge=1, le=161)]
    """Of a clip."""
    pixels: Annotated[int, Field(ge=0, le=2_100_000)]
    """Area of a frame; 0 for the model's own size."""
    held_out: Share
    """Of the stills, or of the clips where there are none, for the validation loss."""
    checkpoints: Annotated[int, Field(ge=1, le=1000)]
    """LoRA files on the way, evenly spaced; the last is the result."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def peak_rate(self, *, high_noise: bool = False) -> float:
        """The largest learning rate of an expert."""
        return self.high_noise_learning_rate if high_noise else self.learning_rate

    def rate(self, step: int, *, high_noise: bool = False) -> float:
        """The learning rate of a step, which counts from 0."""
        peak = self.peak_rate(high_noise=high_noise)
        if step < self.warm_up:
            return peak * (step + 1) / self.warm_up
        left = 1 - (step - self.warm_up) / max(self.steps - self.warm_up, 1)
        match self.decay:
            case Decay.LINEAR:
                return peak * left
            case Decay.COSINE:
                return peak * (1 - math.cos(math.pi * left)) / 2

    def is_checkpoint(self, step: int) -> bool:
        """Whether a LoRA file is written after this many steps."""
        return step * self.checkpoints // self.steps > (step - 1) * self.checkpoints // self.steps

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def recipe_names() -> list[str]:
    """All of them: each subject's balanced recipe under its own name, such as `style`, then `style-quick` and so on."""
    return [name for subject in _subjects() for name in (subject, *(f"{subject}-{pace}" for pace in PACES))]


def _subjects() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str, model: MemoryFacts, **changes: Change) -> Recipe:
    """The recipe of that name for a model of this size; `changes` that are not None replace its numbers.

    Raises RecipeError.
    """
    if name not in recipe_names():
        raise RecipeError(
            f"There is no recipe '{name[:80]}'; choose one of: {', '.join(_subjects())}; "
            f"each also with {' or '.join(f'-{pace}' for pace in PACES)} behind it."
        )
    subject, _, pace = name.partition("-")
    path = FOLDER / f"{subject}.toml"
    try:
        table = read_toml_file(path)
        small = table.pop(SMALL, {})
        values = _paced(table, pace) | (_paced(small, pace) if _params(model) < SMALL_PARAMS else {})
        values["title"] = f"{values['title']}, {pace}" if pace else values["title"]
        recipe = parse(Recipe, values)
    except (OutsideDataError, KeyError, OSError) as error:
        raise RecipeError(f"The recipe {path.name} cannot be read: {error}.") from error
    return change(recipe, **changes)


def _paced(table: dict[str, Any], pace: str) -> dict[str, Any]:
    """The numbers of a table at a pace."""
    numbers = {name: value for name, value in table.items() if name not in PACES}
    return numbers | (table.get(pace, {}) if pace else {})


def change(recipe: Recipe, **changes: Change) -> Recipe:
    """The recipe with other numbers, checked. A rank without an alpha takes that of its own size; a learning rate takes
    that of the high-noise expert with it; steps below the warm-up shorten it. Raises RecipeError.
    """
    wanted: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    for name, value in wanted.items():
        if not isinstance(value, str) and not math.isfinite(value):
            raise RecipeError(
                f"The training cannot be done so: {name}: {value} is no finite number; change that number."
            )
    if "rank" in wanted:
        wanted.setdefault("alpha", float(wanted["rank"]))
    if "learning_rate" in wanted:
        scaled = recipe.high_noise_learning_rate * wanted["learning_rate"] / recipe.learning_rate
        wanted.setdefault("high_noise_learning_rate", min(max(scaled, MIN_RATE), MAX_RATE))
    if "steps" in wanted:
        wanted["warm_up"] = min(recipe.warm_up, max(wanted["steps"] // 4, 0))
        wanted["checkpoints"] = min(recipe.checkpoints, max(wanted["steps"], 1))
    known = {field.name for field in fields(Recipe)}
    assert wanted.keys() <= known  # noqa: S101 - of our own callers
    try:
        return parse(Recipe, replace(recipe, **wanted).to_dict())
    except OutsideDataError as error:
        raise RecipeError(f"The training cannot be done so: {error}; change that number.") from error


def _params(model: MemoryFacts) -> float:
    return model.blocks * model.block_params
