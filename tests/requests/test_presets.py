"""Preset files are checked key by key; one that is bad is left out of its folder and named."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.requests import make_request
from wan_pipeline.cli import main
from wan_pipeline.errors import PresetError
from wan_pipeline.models.registry import MODELS
from wan_pipeline.models.spec import LastImage, Mode
from wan_pipeline.requests.presets import Preset, PresetGroup, find_preset, load_preset, load_presets
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

WHOLE = 'title = "Noir"\ndescription = "Rain and neon"\n'
NOIR = Preset(id="noir", title="Noir", description="", prompt="{prompt}, film noir")

BAD_FILES = [
    (WHOLE + 'contrast = "high"\n', "has an unknown key 'contrast'; known keys: colors, "),
    (WHOLE + 'id = "comic"\n', "has an unknown key 'id'"),
    (WHOLE + f'{"x" * 5000} = "high"\n', "has an unknown key 'xxx"),
    (WHOLE + 'width = "wide"\n', "'width' = 'wide': Input should be a valid integer"),
    (WHOLE + "width = true\n", "'width' = True: Input should be a valid integer"),
    (WHOLE + f"width = {10**30}\n", "'width' = 1000000000000000000000000000000: Input should be less than or equal"),
    (WHOLE + "height = 0\n", "'height' = 0: Input should be greater than or equal to 1"),
    (WHOLE + "num_frames = -1\n", "'num_frames' = -1"),
    (WHOLE + "num_inference_steps = 8.5\n", "'num_inference_steps' = 8.5: Input should be a valid integer"),
    (WHOLE + "num_inference_steps = 999\n", "'num_inference_steps' = 999: Input should be less than or equal to 200"),
    (WHOLE + 'guidance_scale = "4"\n', "'guidance_scale' = '4': Input should be a valid number"),
    (WHOLE + "guidance_scale = nan\n", "'guidance_scale' is nan, which is not a finite number"),
    (WHOLE + "guidance_scale = 1e400\n", "'guidance_scale' is inf"),
    (WHOLE + "flow_shift = 0\n", "'flow_shift' = 0: Input should be greater than or equal to 0.1"),
    (WHOLE + "order = 2026-01-01\n", "'order' is a date"),
    (WHOLE + 'colors = ["#000000"]\n', "'colors': write two or three colours"),
    (WHOLE + 'colors = ["red", "#000000"]\n', "'colors': write two or three colours"),
    (WHOLE + "colors = [1, 2]\n", "'colors.0' = 1: Input should be a valid string"),
    (WHOLE + 'colors = "#000000"\n', "'colors' = '#000000': Input should be a valid array"),
    (WHOLE + 'prompt = "film noir"\n', "'prompt' = 'film noir': it must hold {prompt} once"),
    (WHOLE + 'prompt = "{prompt} {prompt}"\n', "it must hold {prompt} once"),
    (WHOLE + 'kind = "quality"\nprompt = "{prompt}, sharp"\n', "a quality has no prompt template"),
    (WHOLE + 'kind = "sharp"\n', "'kind' = 'sharp': Input should be 'look' or 'quality'"),
    (WHOLE + f'prompt = "{{prompt}}{"x" * 4000}"\n', "'prompt' = "),
    (WHOLE + 'scheduler = "heun"\n', "'scheduler' = 'heun': Input should be 'unipc', 'euler' or 'dpm++'"),
    ('title = "Noir"\n', "'description' is missing"),
    ('title = ""\ndescription = "x"\n', "'title' = '': String should have at least 1 character"),
    ("title = \n", "is not TOML"),
    ("a = " + "[" * 100_000, "nested too deeply"),
    ("#" * 2**21, "is larger than"),
    ("\udcff", "is not TOML"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "noir.toml"


def write(file: Path, text: str) -> None:
    file.write_bytes(text.encode("utf-8", "surrogateescape"))


def test_a_preset_file_is_read(file: Path) -> None:
    file.write_text(WHOLE + 'colors = ["#000000", "#ff8800"]\nguidance_scale = 4\nscheduler = "euler"\n')
    preset = load_preset(file)
    assert (preset.id, preset.title, preset.colors) == ("noir", "Noir", ("#000000", "#ff8800"))
    assert (preset.guidance_scale, preset.scheduler, preset.width) == (4.0, SchedulerName.EULER, None)


@pytest.mark.parametrize(("text", "says"), BAD_FILES, ids=lambda value: value[-40:])
def test_a_bad_file_is_named_with_its_key(text: str, says: str, file: Path) -> None:
    write(file, text)
    with pytest.raises(PresetError, match=r"^Preset file noir\.toml ") as caught:
        load_preset(file)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(PresetError, match=r"noir\.toml cannot be read"):
        load_preset(file)


def test_a_folder_gives_its_cards_in_order(tmp_path: Path) -> None:
    for name, order in (("a", 3), ("b", 1), ("c", 2)):
        (tmp_path / f"{name}.toml").write_text(WHOLE + f"order = {order}\n")
    (tmp_path / "notes.txt").write_text("not a preset")
    presets, problems = load_presets(tmp_path)
    assert list(presets) == ["b", "c", "a"] and problems == ()


def test_bad_files_are_left_out_of_a_folder_and_named(tmp_path: Path) -> None:
    for number, (text, _) in enumerate(BAD_FILES):
        write(tmp_path / f"bad{number:02}.toml", text)
    (tmp_path / "folder.toml").mkdir()
    write(tmp_path / "good.toml", WHOLE)
    presets, problems = load_presets(tmp_path)
    assert list(presets) == ["good"]
    assert len(problems) == len(BAD_FILES) + 1
    for number, ((_, says), problem) in enumerate(zip(BAD_FILES, problems, strict=False)):
        assert f"bad{number:02}.toml" in problem and says in problem and problem.endswith("It is left out.")
    assert "folder.toml cannot be read: it is not a regular file" in problems[-1]
    assert load_presets(tmp_path / "nothing") == ({}, ())


@pytest.mark.skipif("sys.platform == 'win32'", reason="file names are text there")
def test_a_file_whose_name_is_no_text_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "b\udcff.toml", WHOLE)
    presets, (problem,) = load_presets(tmp_path)
    assert presets == {}
    assert "b?.toml" in problem and problem.encode()


def test_a_bad_file_stops_neither_the_studio_nor_the_queue(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "presets"
    (folder / "speeds").mkdir(parents=True)
    write(folder / "good.toml", WHOLE)
    write(folder / "bad.toml", WHOLE + "width = nan\n")
    write(folder / "speeds" / "worse.toml", "title = 1\n")
    with Studio(replace(settings, presets=folder)) as studio:
        assert list(studio.presets) == ["good"] and studio.speeds == {}
        assert "bad.toml" in studio.notices[0] and "worse.toml" in studio.notices[1]
        job_id = studio.submit(Draft(prompt="a red ball", preset="good"))
    folders = ["--workspace", str(settings.workspace), "--presets-folder", str(folder)]
    assert main(["queue", "list", "--json", *folders]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["id"] == job_id
    assert "bad.toml" in shown.err and "worse.toml" in shown.err


def test_the_presets_that_ship_work_with_every_model() -> None:
    presets, problems = load_presets(Settings().presets)
    assert len(presets) >= 24 and problems == ()
    assert {preset.group for preset in presets.values()} - {None} == set(PresetGroup)
    for preset in presets.values():
        for spec in MODELS.values():
            wants_image = Mode.TEXT_TO_VIDEO not in spec.modes
            request = resolve(
                Draft(prompt="a boat", last_image=Path("b.png") if spec.last_image is LastImage.REQUIRED else None),
                spec,
                preset,
                "ab" * 32 if wants_image else None,
                (spec.sizes[0].width, spec.sizes[0].height) if wants_image else None,
            )
            assert "a boat" in request.styled_prompt


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(PresetError, match="no preset 'noire'; choose one of: noir"):
        find_preset({"noir": NOIR}, "noire")


def test_a_styled_prompt_always_fits_a_stored_request() -> None:
    longest = replace(NOIR, prompt="{prompt}" + "x" * (4000 - len("{prompt}")))
    request = make_request(styled_prompt=longest.styled("p" * 4000))
    assert type(request).from_json(request.to_json()) == request


def test_10_a_clip_has_a_look_and_a_quality(studio: Studio) -> None:
    request = studio.requests.check(Draft(prompt="a red ball", preset="noir", quality="quick-draft"))
    assert (request.preset, request.num_inference_steps) == ("noir", 6)
    assert request.styled_prompt == "a red ball, black and white film noir"
    again = studio.requests.check(studio.requests.draft_of(request))
    assert again == request
    assert studio.requests.check(Draft(prompt="a red ball", preset="quick-draft")).num_inference_steps == 6  # as ever
    for name, says in (("noir", "'noir' is a style, not a quality; choose one of: faithful"), ("x", "no quality 'x'")):
        with pytest.raises(PresetError, match=says):
            studio.requests.check(Draft(prompt="a red ball", quality=name))


def test_18_a_wrong_key_leaves_out_that_preset_and_is_told(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(settings.presets, tmp_path / "presets")
    write(tmp_path / "presets" / "mine.toml", WHOLE + 'mood = "grim"\n')
    folders = ["--workspace", str(settings.workspace), "--presets-folder", str(tmp_path / "presets")]
    assert main(["queue", "list", *folders]) == 0
    assert "warning: Preset file mine.toml has an unknown key 'mood'" in capsys.readouterr().err
    with Studio(replace(settings, presets=tmp_path / "presets")) as studio:
        assert studio.submit(Draft(prompt="a red ball", preset="noir"))
        with pytest.raises(PresetError, match=r"'mine' is left out: Preset file mine\.toml has an unknown key 'mood'"):
            studio.submit(Draft(prompt="a red ball", preset="mine"))


def test_18_presets_are_read_again_when_their_files_change(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "presets"
    (folder / "speeds").mkdir(parents=True)
    with Studio(replace(settings, presets=folder)) as studio:
        draft = Draft(prompt="a red ball", preset="mine")
        with pytest.raises(PresetError, match="no preset 'mine'"):
            studio.submit(draft)
        write(folder / "mine.toml", WHOLE + 'prompt = "{prompt}, in rain"\n')
        assert studio.jobs.existing(studio.submit(draft)).request.styled_prompt == "a red ball, in rain"
        write(folder / "mine.toml", WHOLE + 'prompt = "{prompt}, in snow"\n')
        os.utime(folder / "mine.toml", (1, 1))  # a clock with coarse ticks would give both files one time
        assert studio.jobs.existing(studio.submit(draft)).request.styled_prompt == "a red ball, in snow"
        write(folder / "mine.toml", WHOLE + "mood = 1\n")
        assert "mine.toml has an unknown key 'mood'" in studio.notices[0]
        (folder / "mine.toml").unlink()
        assert studio.notices == () and list(studio.presets) == []
