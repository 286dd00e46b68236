"""From requests of any origin back to drafts: what is missing here is left out and named, and no path is followed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import adapters
from tests.support.files.receipts import EXTREME_RECEIPTS
from tests.support.requests import make_request
from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.recover import find_missing, recover
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings

NOIR = Preset(id="noir", title="Noir", description="Rain", prompt="{prompt}, film noir")


@pytest.fixture
def resolver(settings: Settings) -> RequestResolver:
    models, loras = ModelLibrary(settings), LoraLibrary(settings.loras)
    return RequestResolver(models, {"noir": NOIR}, {}, loras, InputFiles(settings.inputs))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (320, 192), "orange").save(path)
    return path


def missing(request: GenerationRequest, resolver: RequestResolver) -> tuple[str, ...]:
    return find_missing(request, resolver.models, resolver.loras, resolver.pictures)


def test_a_draft_comes_back(resolver: RequestResolver, settings: Settings, photo: Path) -> None:
    adapters.write(settings.loras / "glow.safetensors")
    draft = Draft(prompt="a boat", image=photo, preset="noir", seed=7, loras=(LoraChoice("glow", 0.5),))
    request = resolver.resolve(draft)
    recovered = recover(request, resolver)
    assert recovered.request == request and recovered.missing == ()
    assert resolver.resolve(recovered.draft) == request
    assert (recovered.draft.preset, recovered.draft.prompt) == ("noir", "a boat")


def test_checking_saves_no_file(resolver: RequestResolver, settings: Settings, photo: Path) -> None:
    request = resolver.check(Draft(prompt="a boat", image=photo))
    assert request.image == "pending" and list(settings.inputs.iterdir()) == []


def test_a_preset_that_changed_gives_the_styled_words(resolver: RequestResolver) -> None:
    request = make_request(preset="noir", styled_prompt="a red ball bounces, in grey")
    draft = recover(request, resolver).draft
    assert (draft.preset, draft.prompt) == (None, "a red ball bounces, in grey")


def test_what_is_missing_is_left_out_and_named(resolver: RequestResolver, photo: Path) -> None:
    saved = resolver.pictures.save_picture(photo)
    request = make_request(
        model="wan2.1-vace-1.3b",
        loras=(LoraChoice("glow"),),
        control_video="ab" * 32,
        control_mask=saved,
        reference_images=(saved, "cd" * 32),
    )
    recovered = recover(request, resolver)
    draft = recovered.draft
    assert (draft.model, draft.loras, draft.control_video, draft.reference_images) == (None, (), None, ())
    assert draft.control_mask == resolver.pictures.find(saved)
    for words, sentence in zip(
        ("is not installed", "no LoRA 'glow'", "control video is not in", "reference image is not in"),
        recovered.missing,
        strict=True,
    ):
        assert words in sentence


def test_what_the_model_cannot_make_is_named(resolver: RequestResolver) -> None:
    (sentence,) = missing(make_request(num_frames=99_997), resolver)
    assert "99997 frames is out of range" in sentence
    assert missing(make_request(), resolver) == ()


@pytest.mark.parametrize("receipt", EXTREME_RECEIPTS.values(), ids=EXTREME_RECEIPTS)
def test_extreme_requests_become_drafts(resolver: RequestResolver, receipt: dict[str, Any]) -> None:
    recovered = recover(GenerationRequest.from_dict(receipt["request"]), resolver)
    assert recovered.draft.seed == receipt["request"]["seed"]
    assert recovered.draft.files == ()
    for sentence in recovered.missing:
        assert len(sentence) < 400 and "\n" not in sentence and sentence.encode()


@pytest.mark.parametrize(
    "name", ["../../photo", "/etc/passwd", "", ".", "ab" * 31, "AB" * 32, "ab" * 32 + "\n", "a\0b"]
)
def test_a_name_that_is_no_hash_is_never_a_path(resolver: RequestResolver, photo: Path, name: str) -> None:
    request = make_request(mode=Mode.IMAGE_TO_VIDEO, image=name)
    assert resolver.pictures.find(name) is None
    assert recover(request, resolver).draft.image is None
    assert recover(replace(request, reference_images=(name,)), resolver).draft.reference_images == ()
    assert "input image is not in this workspace" in " ".join(missing(request, resolver))
