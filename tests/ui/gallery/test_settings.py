"""Two clips are compared by the settings in which they differ."""

from __future__ import annotations

from dataclasses import replace

from tests.support.pages import NAMES
from tests.support.requests import make_request
from tests.ui.gallery.clips import CLIP
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.ui.gallery.settings import differences


def test_only_settings_that_differ_are_listed() -> None:
    other = replace(CLIP, request=make_request(preset="noir", seed=7, loras=(LoraChoice("ink", 0.5),)))
    assert differences([CLIP, other], NAMES) == {"LoRAs": ("none", "ink 0.5"), "Seed": ("42", "7")}
    assert differences([CLIP, CLIP], NAMES) == {}
    led = replace(CLIP, request=replace(CLIP.request, control_video="ab" * 32, quantization="int8"))
    assert differences([CLIP, led], NAMES) == {
        "Weights": ("automatic", "int8"),
        "Control video": ("none", "abababababab"),
    }
    edited = replace(CLIP, request=replace(CLIP.request, styled_prompt="in another wording"))
    assert list(differences([CLIP, edited], NAMES)) == ["Prompt with style"]
