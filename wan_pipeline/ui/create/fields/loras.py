"""The LoRAs of the clip: any number of rows, in order. They are one field, whose value is the rows as JSON.

`loras.js` changes that text when a row on the page is edited, so that what is typed counts at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import gradio as gr
from pydantic import ConfigDict
from pydantic import Field as Bounded

from wan_pipeline.errors import RequestError
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.limits import Name
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, has_second_expert, parse_number

NO_ROWS = "[]"
ROW = "lora-"
"""How the ids of the rows on the page begin, after the form's mode."""
Typed = Annotated[str, Bounded(max_length=1000)]


@dataclass(frozen=True)
class LoraRow:
    """One LoRA of the form. Numbers are as they were typed."""

    name: Name
    weight: Typed = "1"
    """Weight for both experts, or for the high-noise one where `low` is not blank."""
    low: Typed = ""
    """For the low-noise expert; blank: as `weight`."""
    over: Typed = ""
    """Factors over the steps, such as `0:0, 0.3:1`; blank: the same in all of them."""
    on: bool = True

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @classmethod
    def of(cls, choice: LoraChoice) -> LoraRow:
        weight, low = (f"{weight:.10g}" for weight in choice.weights)
        return cls(choice.name, weight, low if choice.is_by_expert else "", str(choice.schedule or ""))

    def choice(self, spec: ModelSpec) -> LoraChoice:
        """What a clip of this model takes of it. Raises RequestError."""
        weight = self._number(self.weight, "Weight")
        low = self._number(self.low, "Low-noise weight") if has_second_expert(spec) else None
        if low is None:
            return LoraChoice(self.name, 1.0 if weight is None else weight, schedule=self._schedule())
        high = 1.0 if weight is None else weight
        return LoraChoice(self.name, weight_high=high, weight_low=low, schedule=self._schedule())

    def _number(self, text: str, what: str) -> float | None:
        return parse_number("loras", f"{what} of LoRA '{self.name}'", text, float)

    def _schedule(self) -> Schedule | None:
        try:
            return Schedule.parse(self.over) if self.over.strip() else None
        except ValueError as error:
            raise RequestError("loras", f"LoRA '{self.name}' over the steps: {error}.") from None


def read_rows(text: str | None) -> tuple[LoraRow, ...]:
    """The rows of the field's value. Raises RequestError."""
    try:
        return parse(tuple[LoraRow, ...], parse_json(text or NO_ROWS))
    except OutsideDataError as error:
        raise RequestError("loras", f"The LoRAs of the form cannot be read: {error}; reload the page.") from error


def write_rows(rows: Iterable[LoraRow]) -> str:
    """The inverse of `read_rows`."""
    return json.dumps([asdict(row) for row in rows], ensure_ascii=False)


def with_row(text: str | None, name: str, weight: str = "") -> str:
    """The field's value with one more LoRA at its end, or with the one that is there already turned on.

    Its weight is 1, or what it was, unless one is given.
    """
    rows, changes = read_rows(text), {"on": True} | ({"weight": weight} if weight else {})
    if all(row.name != name for row in rows):
        return write_rows([*rows, LoraRow(name, weight or "1")])
    return write_rows(LoraRow(**asdict(row) | changes) if row.name == name else row for row in rows)


def row_element(name: str) -> str:
    """The end of the id of a row's element on the page."""
    return f"{ROW}{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _build(choices: Choices) -> gr.Textbox:
    return gr.Textbox(NO_ROWS, visible="hidden", container=False, elem_classes="lora-text")


def _read(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    return {"loras": tuple(row.choice(spec) for row in read_rows(values["loras"]) if row.on)}


def _show(draft: Draft, spec: ModelSpec) -> str:
    return write_rows(LoraRow.of(lora) for lora in draft.loras or ())


LORAS = Field(_build, _read, _show)
