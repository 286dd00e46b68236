"""Speeds: settings and a LoRA that belong together, told before the click where the LoRA is not here."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatch

import numpy as np
import pytest

from tests.support import adapters, tiny
from tests.support.studios import finish
from wan_pipeline.cli import main
from wan_pipeline.engine.loading.schedulers import make_scheduler
from wan_pipeline.errors import LoraError, PresetError, RequestError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.registry import DEMO, MODELS, WAN21_I2V_480P, WAN22_T2V_A14B
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.requests.sampling.speeds import find_speed, load_speed, load_speeds
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

FAST = "wan2.2-t2v-4-steps"
FOLDER = Settings().presets / "speeds"
SHIPPED, PROBLEMS = load_speeds(FOLDER)
NOIR = Preset("noir", "Noir", "", prompt="{prompt}, film noir", num_inference_steps=8)


def test_all_that_ship_are_read():
    assert len(SHIPPED) == len(list(FOLDER.glob("*.toml"))) and PROBLEMS == ()


@pytest.mark.parametrize("speed", SHIPPED.values(), ids=lambda speed: speed.id)
def test_those_that_ship_fit_their_models_and_files(speed, tmp_path):
    for name in speed.files:
        (tmp_path / name).touch()
    lora = LoraLibrary(tmp_path).find(speed.lora)
    assert {path.name for path in lora.paths} == set(speed.files)
    for model in speed.models:
        spec = MODELS[model]
        assert lora.is_pair == (spec.memory.experts == 2)
        assert (speed.guidance_scale_2 is None) == (spec.guidance_scale_2 is None)
        speed.check_model(spec)


def test_the_four_steps_are_where_the_loras_were_trained():
    """1000, 750, 500 and 250 of 1000 before a shift of 5, as their authors have it."""
    flow = {"num_train_timesteps": 1000, "prediction_type": "flow_prediction", "use_flow_sigmas": True}
    for speed in SHIPPED.values():
        scheduler = make_scheduler(SchedulerName(speed.scheduler), flow, speed.flow_shift)
        scheduler.set_timesteps(speed.num_inference_steps)
        times = np.array([1.0, 0.75, 0.5, 0.25])
        assert np.allclose(scheduler.timesteps.numpy(), 1000 * 5 * times / (1 + 4 * times), atol=2)


def test_a_speed_overrides_the_style_and_is_overridden_by_the_form():
    speed = SHIPPED[FAST]
    request = resolve(Draft(prompt="a boat"), WAN22_T2V_A14B, NOIR, None, None, speed)
    assert (request.num_inference_steps, request.guidance_scale, request.guidance_scale_2) == (4, 1.0, 1.0)
    assert (request.flow_shift, request.scheduler) == (5.0, SchedulerName.UNIPC)
    assert (request.styled_prompt, request.preset) == ("a boat, film noir", "noir")
    assert request.loras == (LoraChoice(speed.lora, 1.0),)
    own = Draft(prompt="a boat", num_inference_steps=6, loras=(LoraChoice("x"), LoraChoice(speed.lora.upper(), 0.8)))
    request = resolve(own, WAN22_T2V_A14B, NOIR, None, None, speed)
    assert request.num_inference_steps == 6 and request.loras == own.loras


def test_a_speed_fits_its_models_and_imported_ones_of_their_architecture():
    speed = SHIPPED[FAST]
    for spec in (DEMO, WAN21_I2V_480P):
        with pytest.raises(RequestError, match=rf"was made for wan2\.2-t2v-a14b, and not for {spec.id}") as caught:
            resolve(Draft(prompt="a boat"), spec, None, "ab" * 32, (10, 10), speed)
        assert caught.value.field == "speed"
    assert speed.fits(replace(WAN22_T2V_A14B, id="my-own")) and not speed.fits(replace(WAN21_I2V_480P, id="my-own"))


@pytest.fixture
def model(settings):
    return tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")


def test_without_its_lora_the_estimate_and_the_queue_say_how_to_get_it(settings, model, capsys):
    speed = SHIPPED[FAST]
    draft = Draft(prompt="a boat", model="wan2.2-t2v-a14b", speed=FAST)
    pattern = "wan2.2_t2v_A14b_*_noise_lora_rank64_lightx2v_4step_1217.safetensors"
    assert all(fnmatch(name, pattern) for name in speed.files)
    words = f'hf download lightx2v/Wan2.2-Distill-Loras --include "{pattern}" --local-dir "{settings.loras}"'
    with Studio(settings) as studio:
        for ask in (studio.submit, studio.estimates.of_draft):
            with pytest.raises(LoraError, match=re.escape(words)):
                ask(draft)
        (settings.loras / speed.files[0]).touch()
        with pytest.raises(LoraError, match=re.escape(words)):
            studio.submit(draft)
        assert studio.jobs.recent() == []
    folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
    order = ["generate", "--prompt", "a boat", "--model", "wan2.2-t2v-a14b", "--speed", FAST]
    assert main([*order, *folders, "--loras-folder", str(settings.loras)]) == 2
    assert "hf download" in capsys.readouterr().err


def test_a_clip_is_made_at_the_speed_with_its_pair(settings, model):
    for number, name in enumerate(SHIPPED[FAST].files):
        adapters.write(settings.loras / name, "diffusion-model", seed=number, but="proj_out")
    draft = Draft(prompt="a ball", model="wan2.2-t2v-a14b", speed=FAST, width=128, height=128, num_frames=5, seed=1)
    with Studio(settings) as studio:
        (job,) = finish(studio, settings, draft)
        assert job.error is None and job.clip is not None
        assert job.request.num_inference_steps == 4 and "LoRA" not in str(job.warnings)
        again = studio.drafts.of_job(job.id)
        assert again.speed == "" and studio.requests.resolve(again) == job.request


def changed(key: str, value: str) -> str:
    """A shipped file with another value for a key, in TOML."""
    text = (FOLDER / f"{FAST}.toml").read_text(encoding="utf-8")
    return re.sub(rf"(?ms)^{key} = (\[.*?\]|[^\n]*)$", f"{key} = {value}", text, count=1)


BAD_FILES = [
    ("title = 1", "'title' = 1: Input should be a valid string"),
    ('title = "a"\ndescription = "b"', "'models' is missing"),
    ("nonsense", "is not TOML"),
    ("", "'title' is missing"),
    (changed("title", '"x"\npace = 1'), "has an unknown key 'pace'; known keys: description, "),
    (changed("num_inference_steps", "0"), "'num_inference_steps' = 0: Input should be greater than or equal to 1"),
    (changed("num_inference_steps", "4.5"), "'num_inference_steps' = 4.5"),
    (changed("guidance_scale", "nan"), "'guidance_scale' is nan"),
    (changed("flow_shift", "1e308"), "'flow_shift' = 1e+308: Input should be less than or equal to 30"),
    (changed("models", "[]"), "'models': Tuple should have at least 1 item"),
    (changed("models", '["wan9"]'), "'models.0' = 'wan9': there is no such model; choose of: demo, "),
    (changed("models", '"demo"'), "'models' = 'demo': Input should be a valid array"),
    (changed("files", '["a", "b", "c"]'), "'files': Tuple should have at most 2 items"),
    (changed("lora", "3"), "'lora' = 3"),
    (changed("licence", "true"), "'licence' = True"),
    (changed("title", '"x"\nscheduler = "heun"'), "'scheduler' = 'heun': Input should be 'unipc'"),
    (changed("title", '"x"\nlora_weight = 11'), "'lora_weight' = 11: Input should be less than or equal to 10"),
]


def test_a_changed_file_is_as_good_as_the_one_that_ships(tmp_path):
    (tmp_path / f"{FAST}.toml").write_text(changed("lora_weight", "1.0"), encoding="utf-8")
    assert load_speed(tmp_path / f"{FAST}.toml") == SHIPPED[FAST]


@pytest.mark.parametrize(("text", "words"), BAD_FILES, ids=lambda value: value[-40:])
def test_a_bad_file_is_named_with_its_key_and_left_out_of_its_folder(tmp_path, text, words):
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(PresetError, match=r"^Speed file bad\.toml ") as caught:
        load_speed(tmp_path / "bad.toml")
    assert words in str(caught.value)
    assert load_speeds(tmp_path) == ({}, (f"{caught.value} It is left out.",))


def test_an_unknown_speed_lists_the_known():
    with pytest.raises(PresetError, match=f"no speed 'warp'; choose one of: .*{FAST}"):
        find_speed(SHIPPED, "warp")
