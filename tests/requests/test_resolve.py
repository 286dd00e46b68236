"""Settings in layers: each value is the highest layer's that sets it, and the layer is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wan_pipeline.errors import RequestError
from wan_pipeline.models.registry import (
    DEMO,
    WAN21_I2V_480P,
    WAN21_I2V_720P,
    WAN21_T2V_1_3B,
    WAN22_T2V_A14B,
    WAN22_TI2V_5B,
)
from wan_pipeline.models.spec import Mode, ModelSpec, Size
from wan_pipeline.requests.layers import LAYERED, Layer, Layers, Setup, chosen_by, merge, settled, with_none_read
from wan_pipeline.requests.limits import MAX_RANDOM_SEED
from wan_pipeline.requests.presets import Preset, PresetKind
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.resolve import cropped, merge_settings, resolve
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.requests.sampling.speeds import load_speeds
from wan_pipeline.settings import Settings

NOIR = Preset(id="noir", title="Noir", description="", prompt="{prompt}, film noir", num_inference_steps=8, width=256)
FAST = load_speeds(Settings().presets / "speeds")[0]["wan2.2-t2v-4-steps"]


def test_higher_layers_win_whatever_their_order_in_the_call() -> None:
    merged = merge(
        {
            Layer.FORM: {"a": 4, "b": None, "e": 0},
            Layer.MODEL: {"a": 1, "b": 1, "c": 1, "d": None, "e": 1},
            Layer.PRESET: {"a": 2, "b": 2},
        }
    )
    assert merged.values == {"a": 4, "b": 2, "c": 1, "e": 0}
    assert merged.origins == {"a": Layer.FORM, "b": Layer.PRESET, "c": Layer.MODEL, "e": Layer.FORM}


def test_each_value_remembers_its_layer() -> None:
    draft = Draft(prompt="a boat", height=512, first_block_cache=0.1)
    quality = Preset(
        id="fine", title="Fine", description="", kind=PresetKind.QUALITY, num_inference_steps=50, num_frames=17
    )
    merged = merge_settings(draft, WAN22_T2V_A14B, NOIR, speed=FAST, quality=quality)
    layers = {layer: {name for name, origin in merged.origins.items() if origin is layer} for layer in Layer}
    assert layers == {
        Layer.FORM: {"height", "first_block_cache"},
        Layer.SPEED: {"num_inference_steps", "guidance_scale", "guidance_scale_2", "flow_shift", "scheduler"},
        Layer.QUALITY: {"num_frames"},
        Layer.PRESET: {"width"},
        Layer.PROJECT: set(),
        Layer.SHOT: set(),
        Layer.MODEL: {"fps", "negative_prompt", "cache", "cache_amount", "guidance_interval", "early_end"},
    }
    assert merged.values["num_inference_steps"] == 4 and merged.values["width"] == 256
    assert set(LAYERED) == set(merged.values) | {"quantization"}  # which nobody sets: as memory allows


def test_the_model_decides_what_nobody_else_does() -> None:
    request = resolve(Draft(prompt=" a boat ", seed=7), DEMO, None, None, None)
    assert (request.prompt, request.styled_prompt, request.seed) == ("a boat", "a boat", 7)
    assert (request.width, request.height, request.num_frames, request.fps) == (320, 192, DEMO.num_frames, DEMO.fps)
    assert (request.num_inference_steps, request.guidance_scale) == (DEMO.num_inference_steps, DEMO.guidance_scale)
    assert (request.scheduler, request.mode, request.preset) == (SchedulerName.UNIPC, Mode.TEXT_TO_VIDEO, None)
    assert (request.quantization, request.first_block_cache) == (None, 0.0)


def test_preset_over_model_and_draft_over_preset() -> None:
    request = resolve(Draft(prompt="a boat", width=192, height=320, scheduler="dpm++"), DEMO, NOIR, None, None)
    assert (request.preset, request.styled_prompt) == ("noir", "a boat, film noir")
    assert request.num_inference_steps == 8
    assert (request.width, request.height, request.scheduler) == (192, 320, SchedulerName.DPMPP)


def test_an_empty_negative_prompt_is_a_choice() -> None:
    request = resolve(Draft(prompt="a boat", negative_prompt=""), WAN21_T2V_1_3B, None, None, None)
    assert request.negative_prompt == ""
    assert resolve(Draft(prompt="a boat"), WAN21_T2V_1_3B, None, None, None).negative_prompt != ""


def test_zero_is_a_choice_too() -> None:
    assert resolve(Draft(prompt="a boat", seed=0, guidance_scale=0.0), DEMO, None, None, None).guidance_scale == 0.0


def test_braces_in_a_prompt_are_just_braces() -> None:
    assert resolve(Draft(prompt="{prompt} {0}"), DEMO, NOIR, None, None).styled_prompt == "{prompt} {0}, film noir"


@pytest.mark.parametrize(
    ("image", "size"), [((4000, 3000), (320, 192)), ((1080, 1920), (192, 320)), ((500, 500), (256, 256))]
)
def test_an_image_chooses_the_nearest_shape(image: tuple[int, int], size: tuple[int, int]) -> None:
    request = resolve(Draft(prompt="it moves"), DEMO, None, "ab" * 32, image)
    assert request.mode is Mode.IMAGE_TO_VIDEO
    assert (request.width, request.height) == size


@pytest.mark.parametrize("spec", [WAN21_I2V_480P, WAN21_I2V_720P, WAN22_TI2V_5B], ids=lambda spec: spec.id)
@pytest.mark.parametrize("image", [(3000, 4000), (4000, 3000), (3000, 2000), (1080, 1920), (1000, 1000)])
def test_7_an_image_keeps_its_shape_in_every_model(image: tuple[int, int], spec: ModelSpec) -> None:
    request = resolve(Draft(prompt="it moves"), spec, None, "ab" * 32, image)
    assert cropped(image, Size(request.width, request.height)) < 0.015
    assert request.width * request.height <= 1.1 * spec.sizes[0].width * spec.sizes[0].height


def test_seeds_are_drawn_when_not_given() -> None:
    seeds = {resolve(Draft(prompt="a boat"), DEMO, None, None, None).seed for _ in range(8)}
    assert len(seeds) > 1
    assert all(0 <= seed <= MAX_RANDOM_SEED for seed in seeds)


def test_an_unknown_scheduler_lists_the_known() -> None:
    with pytest.raises(RequestError, match="'heun' is not known; choose one of: unipc, euler"):
        resolve(Draft(prompt="a boat", scheduler="heun"), DEMO, None, None, None)


# A project's layer, and a shot's

WARM = Setup(
    num_inference_steps=20, fps=12, negative_prompt="grey", prompt_before="35mm film.", prompt_after="warm light"
)
PALETTE = LoraChoice("palette", 0.8)


def test_a_project_stands_over_the_style_and_below_the_form() -> None:
    layers = Layers(replace(WARM, preset="noir", loras=(PALETTE,)), shot=Setup(fps=10))
    request = resolve(Draft(prompt="a boat", guidance_scale=3.0), WAN21_T2V_1_3B, NOIR, None, None, layers=layers)
    assert (request.num_inference_steps, request.fps, request.width) == (20, 10, 256)
    assert (request.prompt, request.styled_prompt) == ("a boat", "35mm film. a boat, warm light, film noir")
    assert request.negative_prompt == f"{WAN21_T2V_1_3B.negative_prompt}, grey"
    assert request.loras == (PALETTE,)
    came_from = {"num_inference_steps": "project", "fps": "shot", "width": "preset", "guidance_scale": "form"}
    assert came_from.items() <= request.layers.items()
    assert {request.layers[name] for name in ("preset", "loras", "prompt_before", "negative_prompt")} == {"project"}
    assert GenerationRequest.from_json(request.to_json()).layers == request.layers


def test_a_projects_negative_prompt_may_replace_the_authors_own_and_the_forms_replaces_both() -> None:
    layers = Layers(replace(WARM, replaces_negative_prompt=True))
    assert resolve(Draft(prompt="a"), WAN21_T2V_1_3B, None, None, None, layers=layers).negative_prompt == "grey"
    mine = Draft(prompt="a", negative_prompt="")
    assert resolve(mine, WAN21_T2V_1_3B, None, None, None, layers=Layers(WARM)).negative_prompt == ""


def test_a_speed_stands_right_below_who_chose_it() -> None:
    project = Layers(Setup(speed=FAST.id, num_inference_steps=6))
    assert merge_settings(Draft(), WAN22_T2V_A14B, speed=FAST, layers=project).values["num_inference_steps"] == 6
    mine = merge_settings(Draft(speed=FAST.id), WAN22_T2V_A14B, speed=FAST, layers=Layers(WARM))
    assert (mine.values["num_inference_steps"], mine.origins["num_inference_steps"]) == (4, Layer.SPEED)


def test_outside_projects_a_request_is_as_it_was() -> None:
    stored = resolve(Draft(prompt="a boat", seed=1), DEMO, NOIR, None, None).to_dict()
    assert not {"layers", "prompt_before", "prompt_after"} & stored.keys()


def test_a_settled_draft_leaves_nothing_to_a_project() -> None:
    layers = Layers(replace(WARM, preset="noir", speed=FAST.id, loras=(PALETTE,)))
    chosen = chosen_by(with_none_read(settled(Draft(prompt="a boat"))), layers)
    assert (chosen.preset, chosen.speed, chosen.loras, chosen.prompt_before) == ("", "", (), "")
    assert chosen_by(Draft(), layers).preset == "noir"
