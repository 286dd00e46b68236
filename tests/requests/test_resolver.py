"""Many drafts in a row share what they are checked against."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import pytest

from wan_pipeline.errors import LoraError, ModelError
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.studio import Studio

BALL = Draft(prompt="a red ball", model="demo")


def test_a_list_asks_for_each_model_and_lora_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    models, loras = Mock(wraps=studio.models.find), Mock(wraps=studio.loras.find)
    monkeypatch.setattr(studio.models, "find", models)
    monkeypatch.setattr(studio.loras, "find", loras)
    check = studio.requests.checker()
    for seed in range(3):
        assert check(replace(BALL, seed=seed)).seed == seed
        with pytest.raises(ModelError, match="There is no model 'none'"):
            check(replace(BALL, model="none"))
        with pytest.raises(LoraError, match="There is no LoRA 'ghost'"):
            check(replace(BALL, loras=(LoraChoice("ghost"),)))
    assert [call.args for call in models.call_args_list] == [("demo",), ("none",)]
    assert [call.args for call in loras.call_args_list] == [("ghost",)]


def test_the_next_list_sees_what_has_changed(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    assert studio.requests.check(BALL).model == "demo"
    monkeypatch.setattr(studio.models, "find", Mock(side_effect=ModelError("It is gone.")))
    with pytest.raises(ModelError, match="It is gone"):
        studio.requests.check(BALL)
