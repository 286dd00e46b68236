"""The demo model learns a character that it never saw, under a word that means nothing to it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.datasets.characters import own_colors
from tests.support.requests import Silence, make_request
from tests.support.trainings import Watcher
from training import styles
from training.characters import draw_character, write_dataset
from wan_pipeline.demo.captions import UNKNOWN, make_tokenizer
from wan_pipeline.demo.scenes import sample_scenes
from wan_pipeline.demo.vocabulary import COLORS, MOTIONS, OBJECTS, PLACES
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models.registry import DEMO, find
from wan_pipeline.models.vocabulary.words import demo_vocabulary
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.request import TrainingRequest, trigger_notes
from wan_pipeline.trainer.run import train

logger = logging.getLogger(__name__)

WORD = "wug"
SHOWN = (
    "a ball bounces over green hills",
    "a ball moves right in the day sky",
    "a ball moves left in the night sky",
    "a ball circles over the sea",
)
OTHERS = ("a blue ball bounces over green hills", "a green box moves right in the day sky", "a purple star spins")


def test_trigger_words_are_tokens_of_their_own() -> None:
    tokenizer, words = make_tokenizer(), demo_vocabulary().triggers
    numbers = {tokenizer.convert_tokens_to_ids(word) for word in words}
    assert len(numbers) == len(words) == 8
    assert tokenizer.convert_tokens_to_ids(UNKNOWN) not in numbers
    assert min(numbers) == len(tokenizer) - len(words)  # so that every other word keeps its row


def test_other_trigger_words_are_pointed_out() -> None:
    assert trigger_notes("wug", DEMO) == trigger_notes("", DEMO) == trigger_notes("zorro", find("wan2.1-t2v-14b")) == []
    (note,) = trigger_notes("the zorro", DEMO)
    assert "does not know 'zorro'" in note
    assert "wug, dax" in note


def test_the_measure_tells_the_character_from_other_balls() -> None:
    scene = sample_scenes(1, torch.Generator().manual_seed(3), styled=0.0)
    for field, names, name in (("obj", OBJECTS, "ball"), ("place", PLACES, "day sky"), ("motion", MOTIONS, "right")):
        getattr(scene, field).fill_(names.index(name))
    scene.color.fill_(COLORS.index("blue"))
    shown = torch.arange(0, 33, 4)
    assert own_colors(styles._draw(scene, shown, 33)) < 0.1
    scene.color.fill_(COLORS.index("white"))
    assert own_colors(draw_character(scene, shown)) > 0.7


@pytest.mark.soak
@pytest.mark.timeout(3600)  # it takes three minutes of one quiet core
def test_a_character_is_learnt_under_its_word_alone(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "workspace", loras=tmp_path / "loras", models=tmp_path)
    settings.make_folders()
    pictures = write_dataset(tmp_path / "pictures", 24, 0)
    others = styles.write_dataset(tmp_path / "others", lambda pixels: pixels, 12, 4)
    asked = TrainingRequest(pictures, "ball", recipe="character", trigger=WORD, regularisation=others)
    logger.info("validation %s", train(asked, settings, Watcher()).validation)
    with Engine(settings) as engine:
        own = [_own(engine, f"{WORD} {prompt}") for prompt in SHOWN]
        foreign = [_own(engine, prompt) for prompt in OTHERS]
    assert np.mean(own) >= 0.5, own
    assert np.mean(foreign) <= 0.1, foreign


def _own(engine: Engine, prompt: str) -> float:
    loras = (LoraChoice("ball", 1.0),)
    asked = make_request(prompt=prompt, styled_prompt=prompt, num_frames=17, num_inference_steps=6, loras=loras)
    frames: NDArray[np.uint8] = engine.render(asked, Silence()).frames
    share = own_colors(frames)
    logger.info("%s: %.2f", prompt, share)
    return share
