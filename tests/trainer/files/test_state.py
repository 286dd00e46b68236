"""What a training needs to go on, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from wan_pipeline.trainer.files.state import Facts, ResumeError, TrainingState, load_state, save_state

STATE = TrainingState(Facts(3, [3], [[1, 0]], [0.5, 0.4, 0.3], []), {"a": torch.arange(3.0)})


def saved(folder: Path, recipe: dict[str, Any]) -> Path:
    save_state(path := folder / "state.safetensors", STATE, {"recipe": recipe})
    return path


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    loaded = load_state(
        saved(tmp_path, {"rank": 4, "optimizer": "adamw8bit"}), {"recipe": {"rank": 4, "optimizer": "adamw8bit"}}
    )
    assert loaded.facts == STATE.facts
    assert loaded.tensors["a"].equal(STATE.tensors["a"])


def test_a_training_begun_before_recipes_named_their_optimizer_goes_on(tmp_path: Path) -> None:
    path = saved(tmp_path, {"rank": 4})
    assert load_state(path, {"recipe": {"rank": 4, "optimizer": "adamw"}}).facts == STATE.facts
    with pytest.raises(ResumeError, match="recipe has changed"):
        load_state(path, {"recipe": {"rank": 4, "optimizer": "adamw8bit"}})


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="recipe has changed"):
        load_state(saved(tmp_path, {"rank": 4}), {"recipe": {"rank": 8, "optimizer": "adamw"}})
