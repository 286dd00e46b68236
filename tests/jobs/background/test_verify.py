"""Verifying: identical where it is, and where it is not, why; settings that come back from any clip."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support import adapters, tiny
from tests.support.observers import Recorder
from tests.support.soak import soaked
from wan_pipeline.clips.compare import likeness_db
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.clips.read import read_frames, read_receipt
from wan_pipeline.errors import Cancelled, ReceiptError, StorageError, UserError
from wan_pipeline.jobs import device
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio

DRAFT = Draft(prompt="the red ball", width=160, height=160, num_frames=5, num_inference_steps=2, seed=1)


@pytest.fixture
def studio(settings: Settings):
    """With a model of its own, so that tests may change it."""
    shutil.copytree(settings.demo_checkpoint, settings.models / "demo")
    with Studio(replace(settings, demo_checkpoint=settings.models / "demo")) as studio:
        yield studio


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.effect_noise((160, 160), 80).convert("RGB").save(path)
    return path


def make(studio: Studio, draft: Draft = DRAFT, **options) -> Path:
    return studio.in_process.render(draft, None, Recorder(), **options).clip


def rewrite(clip: Path, **changes) -> None:
    """Give the clip's frames, encoded anew, a receipt that says something else."""
    receipt = {**read_receipt(clip), **changes}
    encode(np.stack(list(read_frames(clip))), 16, clip, receipt)


# Verifying


@pytest.mark.parametrize(
    ("options", "deterministic"),
    [
        ({"strip_metadata": True}, False),
        ({"deterministic": True}, True),
        soaked({}, False),
        soaked({}, True),
        soaked({"deterministic": True}, False),
        soaked({"strip_metadata": True}, True),
    ],
)
def test_a_clip_made_again_is_identical(studio, options, deterministic):
    clip, observer = make(studio, **options), Recorder()
    verdict = studio.in_process.verify(clip, observer, deterministic)
    assert verdict.identical and verdict.psnr_db is None and verdict.differences == ()
    assert verdict.sentence.startswith("Identical")
    assert observer.of(Stage.DENOISING)[-1].step == 2


@pytest.mark.soak
def test_with_image_and_lora_and_after_a_move(studio, settings, photo, tmp_path):
    adapters.write(settings.loras / "glow.safetensors")
    draft = replace(DRAFT, image=photo, loras=(LoraChoice("glow", 0.7),))
    clip = make(studio, draft).rename(tmp_path / "moved.mp4")
    assert studio.in_process.verify(clip, Recorder()).identical


def test_a_changed_lora_is_named(studio, settings):
    adapters.write(settings.loras / "glow.safetensors")
    clip = make(studio, replace(DRAFT, loras=(LoraChoice("glow", 4.0),)))
    weights = load_file(settings.loras / "glow.safetensors")
    halved = {name: value / 2 for name, value in weights.items()}
    save_file(halved, settings.loras / "glow.safetensors")
    verdict = studio.in_process.verify(clip, Recorder())
    assert not verdict.identical and verdict.psnr_db is not None and verdict.psnr_db < 60
    assert verdict.differences == ("LoRA 'glow' is another file now.",)
    assert verdict.sentence == f"Not identical: {verdict.psnr_db:.1f} dB. LoRA 'glow' is another file now."


def test_a_changed_model_is_named_and_refused_in_deterministic_mode(studio):
    clip = make(studio)
    tiny.write_demo(studio.settings.demo_checkpoint, seed=1)
    verdict = studio.in_process.verify(clip, Recorder())
    assert not verdict.identical
    assert any(
        "Model file 'transformer/diffusion_pytorch_model.safetensors' is another" in d for d in verdict.differences
    )
    observer = Recorder()
    with pytest.raises(
        UserError, match=r"in deterministic mode, because .* is another file now.*without --deterministic"
    ):
        studio.in_process.verify(clip, observer, deterministic=True)
    assert observer.reports == []


@pytest.mark.soak
def test_other_versions_are_refused_in_deterministic_mode_and_told_of_when_frames_differ(studio):
    clip = make(studio)
    provenance = read_receipt(clip)["provenance"]
    provenance["environment"] |= {"torch": "1.0.0", "driver": "1"}
    rewrite(clip, provenance=provenance)
    with pytest.raises(UserError, match=r"Torch: 1\.0\.0 then, .* now\. Verify"):
        studio.in_process.verify(clip, Recorder(), deterministic=True)
    rewrite(clip, provenance=provenance, frames_sha256="00" * 32)
    verdict = studio.in_process.verify(clip, Recorder())
    assert not verdict.identical and verdict.expected_sha256 == "00" * 32
    assert verdict.differences[0].startswith("Torch: 1.0.0 then, ")
    assert verdict.differences[1] == "Driver: 1 then, unknown now."


def test_a_receipt_with_another_hash_is_suspected(studio):
    clip = make(studio)
    rewrite(clip, frames_sha256="00" * 32)
    verdict = studio.in_process.verify(clip, Recorder())
    assert not verdict.identical and verdict.differences[0].endswith("the receipt may have been changed.")


@pytest.mark.soak
def test_a_file_that_shows_other_pictures_is_not_identical(studio):
    clip = make(studio)
    frames = np.stack(list(read_frames(clip)))
    for edited in (frames[::-1], frames[:-1], frames[:, :80]):
        encode(np.ascontiguousarray(edited), 16, clip, read_receipt(clip))
        verdict = studio.in_process.verify(clip, Recorder())
        assert not verdict.identical and verdict.frames_sha256 == verdict.expected_sha256
        assert verdict.differences == (
            "The frames are those of the receipt, but the file shows others; it may have been edited.",
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "nothing"}, "nothing"),
        ({"model": "wan2.1-t2v-1.3b"}, "is not installed"),
        ({"width": 16000}, "out of range"),
        ({"loras": [{"name": "gone", "weight": 1.0}]}, "There is no LoRA 'gone'"),
        ({"loras": [{"name": "../../gone", "weight": 1.0}]}, "There is no LoRA"),
        ({"image": "0" * 64, "mode": "image-to-video"}, "input image is not in"),
        ({"image": "../../photo", "mode": "image-to-video"}, "input image is not in"),
    ],
)
def test_what_cannot_be_made_here_is_a_sentence_before_anything_is_rendered(studio, photo, change, words):
    clip, observer = make(studio), Recorder()
    rewrite(clip, request={**read_receipt(clip)["request"], **change})
    with pytest.raises(UserError, match=r"cannot be made again here: ") as caught:
        studio.in_process.verify(clip, observer)
    assert words in str(caught.value) and observer.reports == []


def test_a_size_that_no_clip_has_is_told_before_anything_is_rendered(studio):
    clip, observer = make(studio), Recorder()
    rewrite(clip, request={**read_receipt(clip)["request"], "width": 10**6})
    with pytest.raises(ReceiptError, match=r"'request\.width' = 1000000"):
        studio.in_process.verify(clip, observer)
    assert observer.reports == []


def test_a_file_that_cannot_be_decoded_is_told_before_anything_is_rendered(studio):
    clip, observer = make(studio), Recorder()
    clip.write_bytes(b"nothing")
    for path in (clip, receipt_path(clip)):
        with pytest.raises(StorageError, match="cannot be read"):
            studio.in_process.verify(path, observer)
    assert observer.reports == []


def test_it_waits_for_the_device(studio, monkeypatch):
    monkeypatch.setattr(device, "POLL_SECONDS", 0.01)
    clip = make(studio)
    with WorkspaceLocks(studio.settings.workspace).device(), pytest.raises(Cancelled):
        studio.in_process.verify(clip, Recorder(stop_at=(Stage.QUEUED, 0)))


@pytest.mark.soak
def test_a_plan_is_followed(studio):
    """Tiles give other bits: a clip made in tiles is identical only in tiles."""
    request = studio.requests.resolve(replace(DRAFT, width=384))
    from wan_pipeline.engine.engine import Engine
    from wan_pipeline.jobs.worker.render import save_clip

    with Engine(studio.settings) as engine:
        rendered = engine.render(request, Recorder(), plan="resident,fp32,tile=128")
        assert rendered.sha256 != engine.render(request, Recorder()).sha256
    clip = save_clip(request, rendered, Recorder(), studio.settings.clips / "tiled.mp4").clip
    assert studio.in_process.verify(clip, Recorder()).identical


def test_likeness(tmp_path):
    frames = np.full((3, 64, 64, 3), 100, np.uint8)
    for name, brighter in (("a", 0), ("b", 0), ("c", 10)):
        encode(frames + brighter, 16, tmp_path / f"{name}.mp4", None)
    assert likeness_db(tmp_path / "a.mp4", tmp_path / "b.mp4") == float("inf")
    assert 27 < likeness_db(tmp_path / "a.mp4", tmp_path / "c.mp4") < 30  # 20 log10(255 / 10) = 28.1
    encode(frames[:2], 16, tmp_path / "short.mp4", None)
    assert likeness_db(tmp_path / "a.mp4", tmp_path / "short.mp4") is None


# Settings that come back


def test_the_draft_of_a_clip_resolves_to_its_own_request(studio, settings, photo, tmp_path):
    adapters.write(settings.loras / "glow.safetensors")
    draft = replace(DRAFT, image=photo, preset="noir", loras=(LoraChoice("glow", 0.7),), negative_prompt="blue")
    clip = make(studio, draft).rename(tmp_path / "moved.mp4")
    recovered = studio.drafts.of_clip(clip)
    assert recovered.missing == ()
    assert studio.requests.resolve(recovered.draft) == recovered.request
    assert recovered.draft.preset == "noir"


def test_what_is_missing_is_left_out_and_told(studio, settings, photo):
    adapters.write(settings.loras / "glow.safetensors")
    clip = make(studio, replace(DRAFT, image=photo, loras=(LoraChoice("glow", 0.7),)))
    (settings.loras / "glow.safetensors").unlink()
    shutil.rmtree(settings.inputs)
    shutil.rmtree(studio.settings.demo_checkpoint)
    recovered = studio.drafts.of_clip(clip)
    assert (recovered.draft.image, recovered.draft.loras, recovered.draft.model) == (None, (), None)
    assert [
        words in sentence for words, sentence in zip(("is not at", "glow", "image"), recovered.missing, strict=True)
    ]
    assert recovered.draft.seed == 1


def test_a_style_worded_otherwise_gives_the_words_themselves(settings, tmp_path):
    shutil.copytree(settings.presets, tmp_path / "presets")
    studio = Studio(replace(settings, presets=tmp_path / "presets"))
    clip = make(studio, replace(DRAFT, preset="noir"))
    noir = tmp_path / "presets" / "noir.toml"
    noir.write_text(noir.read_text().replace(studio.presets["noir"].prompt, "{prompt}, in grey"))
    draft = studio.drafts.of_clip(clip).draft
    assert (
        draft.preset is None
        and studio.requests.resolve(draft).styled_prompt == read_receipt(clip)["request"]["styled_prompt"]
    )


def test_a_path_in_a_receipt_is_never_followed(studio, settings, tmp_path, photo):
    clip = make(studio)
    name = Path("..") / ".." / "photo"
    assert (settings.inputs / f"{name}.png").resolve() == photo
    rewrite(clip, request={**read_receipt(clip)["request"], "image": str(name)})
    recovered = studio.drafts.of_clip(clip)
    assert recovered.draft.image is None and "input image is not in" in recovered.missing[0]


def test_a_clip_of_somebody_else_is_a_sentence(studio, tmp_path):
    encode(np.zeros((3, 64, 64, 3), np.uint8), 16, tmp_path / "holiday.mp4", None)
    with pytest.raises(ReceiptError, match="no receipt of this studio inside it or beside it"):
        studio.drafts.of_clip(tmp_path / "holiday.mp4")


def test_stripped_of_its_receipt_only_the_file_beside_tells(studio):
    clip = make(studio, strip_metadata=True)
    assert read_receipt(clip) is None
    assert json.loads(receipt_path(clip).read_text(encoding="utf-8"))["request"]["prompt"] == "the red ball"


def test_a_copy_to_share_has_a_name_that_tells_nothing(studio):
    clip = make(studio)
    copy = studio.derived.share_copy(clip)
    assert read_receipt(copy) is None and copy.name.startswith("clip_") and "ball" not in copy.name
