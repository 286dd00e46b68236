"""Training of models whose clips start from an image: Wan 2.1 I2V, with an image encoder, and A14B I2V."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline
from PIL import Image
from safetensors import safe_open
from transformers import CLIPImageProcessorPil, CLIPVisionModel

from tests.support import tiny
from tests.support.soak import soaked
from tests.support.trainings import Watcher
from wan_pipeline.clips.encode import encode
from wan_pipeline.errors import Cancelled, UserError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.buckets import Buckets
from wan_pipeline.trainer.dataset.check import Problem, check_dataset
from wan_pipeline.trainer.dataset.folder import DatasetError
from wan_pipeline.trainer.dataset.pixels import read_pixels
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.run import _Training, train

WITH_ENCODER, EXPERTS = "wan2.1-i2v-14b-480p", "wan2.2-i2v-a14b"


@pytest.fixture(scope="module")
def models(settings: Settings) -> None:
    tiny.write_wan21_image(settings.models / WITH_ENCODER)
    tiny.write_experts_image(settings.models / EXPERTS)
    tiny.write_first_last(settings.models / "wan2.1-flf2v-14b")
    tiny.write_vace(settings.models / "wan2.1-vace-1.3b")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of five frames. Read only."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (5, 6, 10, 3), dtype=np.uint8)
        encode(noise.repeat(16, axis=1).repeat(16, axis=2), 16, folder / f"{number}.mp4", None)
        (folder / f"{number}.txt").write_text(f"the red ball moves {number}")
    return folder


@pytest.fixture(scope="module")
def request_of(clips: Path, models: None) -> TrainingRequest:
    return TrainingRequest(clips, "moved", WITH_ENCODER, steps=3, rank=2)


def run(request: TrainingRequest, settings: Settings, stop_after: int = 1000) -> list[Path]:
    return list(train(request, settings, Watcher(stop_after)).lora.paths)


@pytest.mark.soak
def test_the_first_frame_is_given_as_the_pipeline_gives_it(request_of: TrainingRequest, settings: Settings) -> None:
    training = _Training(replace(request_of, output="given"), settings, Watcher())
    training.start()
    example, prepared = training._dataset.examples[1], training._prepared
    first = Image.fromarray(read_pixels(example.item, example.bucket, 16)[0])
    folder = settings.models / WITH_ENCODER
    pipeline = WanImageToVideoPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=AutoencoderKLWan.from_pretrained(folder, subfolder="vae", dtype=torch.float32),
        scheduler=None,
        image_encoder=CLIPVisionModel.from_pretrained(folder, subfolder="image_encoder", dtype=torch.float32),
        image_processor=CLIPImageProcessorPil.from_pretrained(folder, subfolder="image_processor"),
        transformer=None,
    )
    bucket = example.bucket
    pixels = pipeline.video_processor.preprocess(first, height=bucket.height, width=bucket.width)
    with torch.no_grad():
        _, condition = pipeline.prepare_latents(
            pixels, 1, 16, bucket.height, bucket.width, bucket.frames, torch.float32, torch.device("cpu")
        )
        embedding = pipeline.encode_image(first, torch.device("cpu"))
    given = prepared.given_batch([1])
    torch.testing.assert_close(given.beside, condition, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(given.image, embedding, rtol=1e-4, atol=1e-4)
    assert given.beside.shape[2] == 2  # latent frames, of which the first is given
    assert given.beside[0, :4].amax(dim=(0, 2, 3)).tolist() == [1, 0]


@pytest.mark.parametrize(("model", "files"), [soaked(WITH_ENCODER, 1), soaked(EXPERTS, 2)])
def test_it_is_trained_and_goes_on_to_the_same_bits(
    model: str, files: int, request_of: TrainingRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.trainer.loop.SWAP_STEPS", 1)
    asked = replace(request_of, model=model, output=f"whole{files}")
    whole = train(asked, settings, Watcher()).lora
    assert len(whole.paths) == files
    with pytest.raises(Cancelled):
        run(replace(asked, output=f"parts{files}"), settings, stop_after=2)
    resumed = train(replace(asked, output=f"parts{files}", resume=True), settings, Watcher()).lora
    assert resumed.sha256 == whole.sha256
    for path in whole.paths:
        with safe_open(path, "pt") as file:
            ups = {name: file.get_tensor(name) for name in file.keys() if "lora_B" in name}  # noqa: SIM118
        assert all(up.abs().max() > 0 for up in ups.values())  # those of the image's keys and values too
        assert any("k_img" in name for name in ups) == (model == WITH_ENCODER)
    library = LoraLibrary(settings.loras)
    adapters = match_adapters(library.find(f"whole{files}"), ModelLibrary(settings).find(model), 1.0, library.values)
    assert len(adapters) == files


def test_stills_are_left_out(clips: Path, models: None, settings: Settings, tmp_path: Path) -> None:
    spec = ModelLibrary(settings).find(EXPERTS).spec
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a ball")
    with pytest.raises(DatasetError, match=r"a.png is a still.*add clips, or train on its text-to-video relative"):
        check_dataset(tmp_path, spec, Buckets(spec))
    (tmp_path / "b.mp4").write_bytes((clips / "0.mp4").read_bytes())
    (tmp_path / "b.txt").write_text("the ball")
    dataset = check_dataset(tmp_path, spec, Buckets(spec))
    assert [example.item.name for example in dataset.examples] == ["b.mp4"]
    assert (Problem.STILL, "a.png") in {(finding.problem, finding.name) for finding in dataset.findings}
    assert dataset.to_dict()["left_out"] == 1


@pytest.mark.parametrize(
    ("model", "says"), [("wan2.1-vace-1.3b", "control videos"), ("wan2.1-flf2v-14b", "a first and a last image")]
)
def test_other_inputs_are_refused(model: str, says: str, request_of: TrainingRequest, settings: Settings) -> None:
    with pytest.raises(UserError, match=f"works from {says} and cannot be trained"):
        run(replace(request_of, model=model, output="never"), settings)
