"""Clips for regularisation, given or made by the base model: mixed in, without the trigger word, never held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.trainings import Watcher
from wan_pipeline.cli import main
from wan_pipeline.errors import UserError
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.registry import DEMO, find
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.buckets import Buckets
from wan_pipeline.trainer.dataset.check import check_dataset
from wan_pipeline.trainer.progress import TrainingStage
from wan_pipeline.trainer.request import TrainingRequest, check_wanted
from wan_pipeline.trainer.run import _Training, forecast_training

COUNT = 2


@pytest.fixture(scope="module")
def request_of(pictures: Path) -> TrainingRequest:
    return TrainingRequest(pictures, "kept", trigger="moon", steps=2, rank=2, regularisation_clips=COUNT)


def started(request: TrainingRequest, settings: Settings) -> tuple[_Training, Watcher]:
    watcher = Watcher()
    training = _Training(request, settings, watcher)
    training.start()
    return training, watcher


@pytest.mark.soak
def test_the_base_model_makes_clips_once(
    request_of: TrainingRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.models.registry.DEMO", replace(DEMO, num_inference_steps=1))
    training, watcher = started(request_of, settings)
    made = [example for example in training._dataset.examples if example.is_regular]
    assert [example.bucket.frames for example in made] == [17] * COUNT
    assert [example.item.caption for example in made] == ["a red ball at night 0", "a red ball at night 1"]
    own = len(training._dataset.examples) - COUNT
    assert training._prepared.own == own == 10
    assert max(training.loop._held_out) < own
    assert not any("only stills" in warning for warning in training.warnings)
    assert TrainingStage.REGULARISING in {one.stage for one in watcher.told}
    again, watcher = started(replace(request_of, output="again"), settings)
    assert TrainingStage.REGULARISING not in {one.stage for one in watcher.told}
    assert again._prepared.sha256 == training._prepared.sha256


def test_given_ones_have_no_trigger_word(request_of: TrainingRequest, settings: Settings, pictures: Path) -> None:
    with_word, _ = started(replace(request_of, output="word", regularisation_clips=0), settings)
    given = replace(request_of, output="given", regularisation_clips=0, regularisation=pictures)
    both, _ = started(given, settings)
    texts = both._prepared.texts
    assert len(texts) == 20
    assert both._prepared.own == 10
    assert all(text.equal(other) for text, other in zip(with_word._prepared.texts, texts[:10], strict=True))
    assert all(len(plain) == len(text) - 1 for text, plain in zip(texts[:10], texts[10:], strict=True))
    assert both._prepared.sha256 != with_word._prepared.sha256
    assert max(both.loop._held_out) < 10


def test_what_cannot_be_made_is_said_first(request_of: TrainingRequest, settings: Settings) -> None:
    with pytest.raises(UserError, match="need a --trigger word"):
        forecast_training(replace(request_of, output="no", trigger=""), settings, Watcher())
    with pytest.raises(UserError, match="500 regularisation clips are out of range; choose 1 to 200"):
        check_wanted(DEMO, 500, "moon")
    with pytest.raises(UserError, match="give clips by --regularisation"):
        check_wanted(find("wan2.2-i2v-a14b"), 2, "moon")
    candidate = forecast_training(replace(request_of, output="no"), settings, Watcher())
    alone = forecast_training(replace(request_of, output="no", regularisation_clips=0), settings, Watcher())
    assert candidate.forecast.bytes > alone.forecast.bytes  # a clip is the largest batch


def test_only_stills_are_pointed_out(pictures: Path, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ModelLibrary(settings).find("demo").spec
    assert "--regularisation-clips 8" in check_dataset(pictures, spec, Buckets(spec)).advice[0]
    assert main(["dataset", "check", str(pictures), "--json", f"--workspace={settings.workspace}"]) == 0
    assert "only stills" in json.loads(capsys.readouterr().out)["advice"][0]
