"""Fields of the form: numbers as people type them, sizes, lengths and rows of LoRAs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ui.create.forms import FULL, TAKES_ALL, shown
from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.models.registry import DEMO, MODELS, WAN22_TI2V_5B
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.ui.create.fields.field import parse_number
from wan_pipeline.ui.create.fields.loras import LoraRow, read_rows, with_row, write_rows
from wan_pipeline.ui.create.fields.size import size_choices
from wan_pipeline.ui.create.form import read_draft


@pytest.mark.parametrize(
    ("text", "kind", "number"), [("", int, None), ("  ", float, None), (" 12 ", int, 12), ("2,5", float, 2.5)]
)
def test_numbers_as_people_type_them(text: str, kind: type[int] | type[float], number: float | None) -> None:
    assert parse_number("seed", "Seed", text, kind) == number


@pytest.mark.parametrize("text", ["abc", "1.5", "1" * 5000, "<b>1</b>", "None"])
def test_what_is_no_whole_number_gets_a_short_sentence(text: str) -> None:
    with pytest.raises(RequestError, match="is not a whole number") as error:
        parse_number("seed", "Seed", text, int)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("width", "height", "sentence"), [("", "192", "no width"), ("320", "", "no height"), ("a", "192", "Width 'a'")]
)
def test_a_custom_size_needs_both_sides(width: str, height: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        read_draft({**shown(FULL), "size": "custom", "width": width, "height": height}, DEMO)


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.id)
def test_every_length_offered_can_be_made(spec: Any) -> None:
    low, high = spec.length_bounds
    lengths = [low + quarter * 0.25 for quarter in range(round((high - low) * 4) + 1)]
    frames = [spec.frames_of(length, spec.fps) for length in lengths]
    assert all(count % spec.temporal_compression == 1 and 1 < count <= spec.max_frames for count in frames)
    assert lengths[-1] == high


def read_loras(*rows: LoraRow, spec: ModelSpec = DEMO) -> tuple[LoraChoice, ...]:
    return read_draft({**shown(FULL), "loras": write_rows(rows)}, spec).loras


def test_lora_rows_as_people_fill_them_in() -> None:
    assert read_loras(LoraRow("paint", weight=""), LoraRow("ink", on=False)) == (LoraChoice("paint", 1.0),)
    by_expert = LoraRow("fast", weight="3", low="1,5")
    assert read_loras(by_expert, spec=TAKES_ALL) == (LoraChoice("fast", weight_high=3.0, weight_low=1.5),)
    assert read_loras(by_expert) == (LoraChoice("fast", 3.0),), "this model has one expert"
    with pytest.raises(RequestError, match="Weight of LoRA 'paint' 'heavy' is not a number"):
        read_loras(LoraRow("paint", weight="heavy"))
    with pytest.raises(RequestError, match=r"LoRA 'paint' over the steps: the shares .* do not rise"):
        read_loras(LoraRow("paint", over="0.5:1, 0.2:0"))


@pytest.mark.parametrize("text", ["{", "[3]", '[{"name": "x", "more": 1}]', '[{"weight": "1"}]', "[" * 10_000])
def test_what_is_no_lora_rows_is_one_sentence(text: str) -> None:
    with pytest.raises(RequestError, match=r"The LoRAs of the form cannot be read: .*; reload the page"):
        read_draft({**shown(FULL), "loras": text}, DEMO)


def test_a_lora_is_added_once_and_turned_on_again() -> None:
    text = with_row(write_rows([LoraRow("ink", "0.5", on=False)]), "paint")
    assert read_rows(with_row(text, "ink")) == (LoraRow("ink", "0.5"), LoraRow("paint"))


def test_a_faster_clip_that_is_too_long_is_said_in_seconds() -> None:
    with pytest.raises(UserError, match=r"1 s at 60 frames per second are 61 frames; .* at most 49"):
        read_draft({**shown(FULL), "fps": "60"}, DEMO)


def test_sizes_follow_model_and_mode() -> None:
    assert size_choices(WAN22_TI2V_5B, Mode.TEXT_TO_VIDEO)[0][1] == "1280x704"
    assert size_choices(DEMO, Mode.IMAGE_TO_VIDEO)[0][1] == "match"
