"""Every rule has a sentence with the value, the rule and the way out, and points at its field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import RequestError
from wan_pipeline.models.registry import DEMO, MODELS, WAN21_T2V_1_3B
from wan_pipeline.models.spec import LastImage, Mode, ModelSpec
from wan_pipeline.requests.limits import MAX_PROMPT_CHARACTERS, MAX_SEED, check_request
from wan_pipeline.requests.request import GenerationRequest, LoraChoice
from wan_pipeline.requests.texts import check_project

NAN, INFINITY = float("nan"), float("inf")


def refusal(request: GenerationRequest, spec: ModelSpec) -> str | None:
    try:
        check_request(request, spec)
    except RequestError as error:
        return str(error)
    return None


def test_an_ordinary_request_passes() -> None:
    assert refusal(make_request(), DEMO) is None


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.id)
def test_every_offered_size_and_default_passes(spec: Any) -> None:
    mode = sorted(spec.modes)[0]
    assert spec.sizes
    for size in spec.sizes:
        request = make_request(
            model=spec.id,
            mode=mode,
            image="ab" * 32 if mode is Mode.IMAGE_TO_VIDEO else None,
            last_image="ab" * 32 if spec.last_image is LastImage.REQUIRED else None,
            width=size.width,
            height=size.height,
            num_frames=spec.num_frames,
            fps=spec.fps,
            num_inference_steps=spec.num_inference_steps,
            negative_prompt=spec.negative_prompt,
        )
        assert refusal(request, spec) is None


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "p" * MAX_PROMPT_CHARACTERS},
        {"prompt": "<b>bold</b> & {braces} 🎈\nand a new line\t!"},
        {"seed": 0},
        {"seed": MAX_SEED},
        {"num_frames": 1},
        {"num_frames": DEMO.max_frames},
        {"guidance_scale": 0},
        {"num_inference_steps": 1},
        {"loras": (LoraChoice("a", -10.0), LoraChoice("b", 10), LoraChoice("A"))},
        {"prompt": "", "mode": Mode.IMAGE_TO_VIDEO, "image": "ab"},
    ],
)
def test_the_edges_pass(change: dict[str, Any]) -> None:
    assert refusal(make_request(**change), DEMO) is None


@pytest.mark.parametrize(
    ("field", "change", "says"),
    [
        ("prompt", {"prompt": ""}, "empty; describe"),
        ("prompt", {"prompt": "p" * 100_000}, "100,000 characters; at most 4,000"),
        ("negative_prompt", {"negative_prompt": "p" * 4001}, "negative prompt has 4,001"),
        ("prompt", {"prompt": "a\0b"}, r"control character \(U\+0000\)"),
        ("prompt", {"prompt": "a\x1b[31m"}, r"control character \(U\+001B\)"),
        ("prompt", {"prompt": "broken \udcff byte"}, r"control character \(U\+DCFF\)"),
        ("negative_prompt", {"negative_prompt": "\x07"}, "control character"),
        ("width", {"width": 0}, "Width 0 is out of range; .* makes 160 to 896"),
        ("height", {"height": -192}, "Height -192 is out of range"),
        ("width", {"width": 330}, "not a multiple of 32.*use 320 or 352"),
        ("height", {"height": 161}, "use 160 or 192"),
        ("width", {"width": 320.5}, "320.5 is not a whole number"),
        ("width", {"width": True}, "True is not a whole number"),
        ("width", {"width": 10**20 - 1}, "Width 99999999999999999999 is out of range"),
        ("width", {"width": 640, "height": 320}, "640 x 320 is larger than"),
        ("num_frames", {"num_frames": 0}, "0 frames is out of range.*1 to 49"),
        ("num_frames", {"num_frames": 34}, r"34 frames is not of the form 4k\+1.*use 33 or 37"),
        ("num_frames", {"num_frames": 53}, "53 frames is out of range"),
        ("num_frames", {"num_frames": 33.0}, "out of range"),
        ("seed", {"seed": -2}, "Seed -2 is out of range; use a whole number from 0 to 18,446,744,073,709,551,615"),
        ("seed", {"seed": 2**64}, "out of range"),
        ("seed", {"seed": 1.5}, "out of range"),
        (
            "num_inference_steps",
            {"num_inference_steps": 0},
            "Steps 0 is out of range; use a whole number from 1 to 200",
        ),
        ("num_inference_steps", {"num_inference_steps": 201}, "out of range"),
        ("fps", {"fps": 0}, "Frames per second 0"),
        ("guidance_scale", {"guidance_scale": NAN}, "Guidance nan is out of range"),
        ("guidance_scale", {"guidance_scale": -1}, "from 0 to 30"),
        ("flow_shift", {"flow_shift": INFINITY}, "Flow shift inf"),
        ("flow_shift", {"flow_shift": "3"}, "Flow shift 3 is out of range"),
        ("loras", {"loras": (LoraChoice("ink", 11.0),)}, "Weight of LoRA 'ink' 11.0"),
    ],
)
def test_what_breaks_a_rule_is_named(field: str, change: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        check_request(make_request(**change), DEMO)
    assert caught.value.field == field
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "\0", "half \ud800", "\x1b[31m"])
def test_a_project_is_a_short_line_of_text(name: str) -> None:
    check_project("Film 3:\u3000'Hügel' 红 & <b>")
    with pytest.raises(RequestError, match="The project ") as caught:
        check_project(name)
    assert str(caught.value).encode()


def test_a_model_that_cannot_do_the_mode_says_what_it_does() -> None:
    with pytest.raises(RequestError, match="does not do image-to-video; it does text-to-video"):
        check_request(make_request(mode=Mode.IMAGE_TO_VIDEO, image="ab"), WAN21_T2V_1_3B)
