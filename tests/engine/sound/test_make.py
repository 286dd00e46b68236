"""Sound made by tiny pipelines of the real classes: as long as asked, the same by the same seed, stopped at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.models import sounds
from wan_pipeline.engine.sound.make import make_sound
from wan_pipeline.errors import Cancelled, GenerationError, ModelError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.sound.registry import ACE_STEP, LONGCAT, STABLE_AUDIO_3
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.memory_plan import Residency
from wan_pipeline.planning.sound import plan_sound
from wan_pipeline.progress import Progress, SilentObserver, Stage
from wan_pipeline.requests.sound import SoundRequest, propose_prompt
from wan_pipeline.settings import Settings

WRITERS = {
    STABLE_AUDIO_3.id: sounds.write_stable_audio,
    ACE_STEP.id: sounds.write_ace_step,
    LONGCAT.id: sounds.write_longcat,
}
SECONDS = 0.75


class Watcher(SilentObserver):
    """Notes the stages, and cancels after so many denoising steps."""

    def __init__(self, steps: int = 1000) -> None:
        self.stages: list[Stage] = []
        self._left = steps

    def progress(self, progress: Progress) -> None:
        self.stages.append(progress.stage)
        self._left -= progress.stage is Stage.DENOISING

    def cancelled(self) -> bool:
        return self._left <= 0


@pytest.fixture(scope="module", params=[STABLE_AUDIO_3, ACE_STEP, LONGCAT], ids=lambda spec: spec.id)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> InstalledModel:
    spec: ModelSpec = request.param
    folder = WRITERS[spec.id](tmp_path_factory.mktemp("sound") / spec.id)
    return InstalledModel(replace(spec, num_inference_steps=3), folder)


def test_a_sound_is_made_and_made_again(model: InstalledModel, settings: Settings) -> None:
    facts, watcher = model.spec.sound, Watcher()
    assert facts is not None
    asked = SoundRequest(model.spec.id, "a blue sea at night", SECONDS, 7)
    made = make_sound(model, asked, settings, watcher)
    assert made.samples.shape[0] == facts.channels and made.sample_rate == facts.sample_rate
    assert made.samples.shape[1] / made.sample_rate == pytest.approx(SECONDS, abs=0.1)
    assert made.samples.dtype == np.float32 and abs(made.samples).max() <= 1 and made.samples.std() > 0
    assert watcher.stages[0] is Stage.LOADING and watcher.stages[-1] is Stage.DECODING
    assert made.plan.residency is Residency.RESIDENT and "torch" in made.environment
    assert np.array_equal(make_sound(model, asked, settings, SilentObserver()).samples, made.samples)
    other = make_sound(model, replace(asked, seed=8), settings, SilentObserver())
    assert not np.array_equal(other.samples, made.samples)
    with pytest.raises(Cancelled):
        make_sound(model, asked, settings, Watcher(steps=1))


def test_another_pipeline_is_refused(settings: Settings, tiny_demo: Path) -> None:
    with pytest.raises(ModelError, match="holds a WanPipeline, and ACE-Step"):
        make_sound(
            InstalledModel(ACE_STEP, tiny_demo), SoundRequest(ACE_STEP.id, "a", 1.0, 1), settings, SilentObserver()
        )


def test_the_plan_is_the_quickest_that_fits() -> None:
    parts = {"transformer": 4e9, "text_encoder": 2e9, "vae": 1e9}
    assert plan_sound(parts, 5, 0).residency is Residency.RESIDENT
    assert plan_sound(parts, 5, 12e9).residency is Residency.RESIDENT
    offloaded = plan_sound(parts, 5, 6e9)
    assert offloaded.residency is Residency.OFFLOAD and 4e9 < offloaded.peak_bytes < 6e9
    with pytest.raises(GenerationError, match="make a shorter one"):
        plan_sound(parts, 5, 3e9)


def test_a_prompt_is_proposed_of_what_can_be_heard() -> None:
    prompt = "A train crosses an iron bridge at night, cinematic lighting, 35mm film grain; heavy rain. 4k"
    assert propose_prompt(ACE_STEP, prompt) == (
        "Instrumental film score for a train crosses an iron bridge at night, heavy rain"
    )
    assert propose_prompt(LONGCAT, prompt) == "" == propose_prompt(ACE_STEP, "cinematic, 4k")
