"""What the page says of a LoRA and a model: in the rows of a form, and on the cards of the LoRAs room."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.errors import LoraError, ModelError
from wan_pipeline.lora.experts import Expert
from wan_pipeline.lora.facts import LoraFacts
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.studio import Studio


@dataclass(frozen=True)
class LoraFit:
    """How a LoRA and the chosen model go together."""

    line: str = ""
    """How many of its keys apply; empty where that is not known."""
    problem: str = ""
    """Why the model cannot take it."""
    asks_expert: bool = False
    """Whether nothing says which of the model's two experts its file is for."""


def installed(studio: Studio, model_id: str) -> InstalledModel | None:
    """The model's files; None if they are not all here."""
    try:
        return studio.models.find(model_id)
    except ModelError:
        return None


def fit_of(facts: LoraFacts, model: InstalledModel | None) -> LoraFit:
    """What to say of these facts, which were read for the model."""
    if facts.problem:
        return LoraFit(problem=facts.problem)
    if model is None or facts.applied is None:
        return LoraFit()
    experts = f", {' and '.join(facts.experts)} noise" if facts.experts else ""
    line = f"{facts.applied:,} of {facts.keys:,} keys apply to {model.spec.title}{experts}"
    return LoraFit(line, asks_expert=facts.asks_expert)


def remember_expert(studio: Studio, name: str, answer: str) -> None:
    """Remember which expert a LoRA is for, where nothing says it. Raises UserError."""
    if answer not in [*Expert]:
        raise LoraError(f"'{answer[:20]}' is no expert; choose high, low or both.")
    studio.lora_files.remember_expert(studio.loras.find(name).paths[0], Expert(answer))


def look_up(studio: Studio, lora: Lora, model: InstalledModel | None) -> LoraFit:
    return fit_of(studio.lora_catalog.facts(lora, model), model)
