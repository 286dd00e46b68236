"""Preset files are checked key by key; a draft, a preset and a model make one request."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline.errors import PresetError, RequestError
from wan_pipeline.models.registry import DEMO, MODELS, WAN21_T2V_1_3B
from wan_pipeline.models.spec import LastImage, Mode
from wan_pipeline.requests.limits import MAX_SEED
from wan_pipeline.requests.presets import Preset, find_preset, load_preset, load_presets, resolve
from wan_pipeline.requests.request import Draft, SchedulerName
from wan_pipeline.settings import Settings

WHOLE = 'title = "Noir"\ndescription = "Rain and neon"\n'
NOIR = Preset(id="noir", title="Noir", description="", prompt="{prompt}, film noir", num_inference_steps=8, width=256)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "noir.toml"


def test_a_preset_file_is_read(file: Path) -> None:
    file.write_text(WHOLE + 'colors = ["#000000", "#ff8800"]\nguidance_scale = 4\nscheduler = "euler"\n')
    preset = load_preset(file)
    assert (preset.id, preset.title, preset.colors) == ("noir", "Noir", ("#000000", "#ff8800"))
    assert (preset.guidance_scale, preset.scheduler, preset.width) == (4, "euler", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WHOLE + 'contrast = "high"\n', "unknown key 'contrast'; known keys: colors, "),
        (WHOLE + 'width = "wide"\n', "key 'width': 'wide' is not of type int"),
        (WHOLE + "width = true\n", "key 'width': True is not of type int"),
        (WHOLE + "num_inference_steps = 8.5\n", "key 'num_inference_steps'"),
        (WHOLE + 'guidance_scale = "4"\n', "not of type int or float"),
        (WHOLE + 'colors = ["#000000"]\n', "two or three colours"),
        (WHOLE + 'colors = ["red", "#000000"]\n', "two or three colours"),
        (WHOLE + "colors = [1, 2]\n", "two or three colours"),
        (WHOLE + 'prompt = "film noir"\n', "key 'prompt': it must hold {prompt} once"),
        (WHOLE + 'prompt = "{prompt} {prompt}"\n', "key 'prompt'"),
        (WHOLE + 'scheduler = "heun"\n', "'heun' is not one of unipc, euler"),
        (WHOLE + "num_inference_steps = 999\n", "key 'num_inference_steps': Steps 999 is out of range"),
        (WHOLE + "guidance_scale = nan\n", "key 'guidance_scale': Guidance nan is out of range"),
        (WHOLE + "flow_shift = 0\n", "key 'flow_shift': Flow shift 0 is out of range"),
        ('title = "Noir"\n', "lacks the key 'description'"),
        ("title = \n", "cannot be read"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(text: str, says: str, file: Path) -> None:
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(PresetError, match=says) as caught:
        load_preset(file)
    assert "noir.toml" in str(caught.value)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(PresetError, match=r"noir\.toml cannot be read"):
        load_preset(file)


def test_a_folder_gives_its_cards_in_order(tmp_path: Path) -> None:
    for name, order in (("a", 3), ("b", 1), ("c", 2)):
        (tmp_path / f"{name}.toml").write_text(WHOLE + f"order = {order}\n")
    (tmp_path / "notes.txt").write_text("not a preset")
    assert list(load_presets(tmp_path)) == ["b", "c", "a"]


def test_the_presets_that_ship_work_with_every_model() -> None:
    presets = load_presets(Settings().presets)
    assert len(presets) >= 8
    for preset in presets.values():
        for spec in MODELS.values():
            image = ("ab" * 32, spec.sizes[0].width, spec.sizes[0].height)
            wants_image = Mode.TEXT_TO_VIDEO not in spec.modes
            request = resolve(
                Draft(prompt="a boat", last_image=Path("b.png") if spec.last_image is LastImage.REQUIRED else None),
                spec,
                preset,
                image[0] if wants_image else None,
                image[1:] if wants_image else None,
            )
            assert "a boat" in request.styled_prompt


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(PresetError, match="no preset 'noire'; choose one of: noir"):
        find_preset({"noir": NOIR}, "noire")


def test_the_model_decides_what_nobody_else_does() -> None:
    request = resolve(Draft(prompt=" a boat ", seed=7), DEMO, None, None, None)
    assert (request.prompt, request.styled_prompt, request.seed) == ("a boat", "a boat", 7)
    assert (request.width, request.height, request.num_frames, request.fps) == (320, 192, DEMO.num_frames, DEMO.fps)
    assert (request.num_inference_steps, request.guidance_scale) == (DEMO.num_inference_steps, DEMO.guidance_scale)
    assert (request.scheduler, request.mode, request.preset) == (SchedulerName.UNIPC, Mode.TEXT_TO_VIDEO, None)


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


def test_seeds_are_drawn_when_not_given() -> None:
    seeds = {resolve(Draft(prompt="a boat"), DEMO, None, None, None).seed for _ in range(8)}
    assert len(seeds) > 1
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_an_unknown_scheduler_lists_the_known() -> None:
    with pytest.raises(RequestError, match="'heun' is not known; choose one of: unipc, euler"):
        resolve(Draft(prompt="a boat", scheduler="heun"), DEMO, None, None, None)
