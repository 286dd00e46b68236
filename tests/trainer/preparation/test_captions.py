"""Captions by a local vision-language model: tiny ones of real classes, with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from tests.support import tiny
from wan_pipeline.cli import main
from wan_pipeline.clips.encode import encode
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background.captions import CaptionsState, write_captions
from wan_pipeline.models.hub.captioners import captioners
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.folder import read_items
from wan_pipeline.trainer.dataset.library import Datasets
from wan_pipeline.trainer.preparation.captions import QUESTION, Captioner

PLACE = Placement(torch.device("cpu"), torch.float32)
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with one layer of everything."""
    folder = tmp_path_factory.mktemp("llava")
    tokenizer: PreTrainedTokenizerFast = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=image_token, image_token_id=image_token
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (40, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    (tmp_path / "1.txt").write_text("a caption of mine")
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    encode(np.full((5, 32, 32, 3), 90, np.uint8), 16, tmp_path / "clip.mp4", None)
    return tmp_path


def test_missing_captions_are_written_and_others_kept(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "caption", str(folder), "--model", str(model), f"--workspace={folder / '.studio'}"]) == 0
    told = capsys.readouterr()
    assert "3 captions written" in told.out
    assert "broken.png" in told.err
    captions = {item.name: item.caption for item in read_items(folder)}
    assert captions["1.png"] == "a caption of mine"
    assert captions["broken.png"] == ""
    captioner = Captioner(str(model), PLACE)
    with Image.open(folder / "0.png") as image:
        assert captioner.describe(image) == captions["0.png"]
    for name in ("0.png", "2.png", "clip.mp4"):
        words = captions[name].split()
        assert words
        assert set(words) <= {*tiny.WORDS, "<unk>"}  # and nothing of the question
        assert QUESTION.split()[0] not in words


@pytest.mark.soak
def test_a_model_that_says_nothing_leaves_no_caption(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Captioner, "describe", lambda *_: "")
    main(["dataset", "caption", str(folder), "--model", str(model), f"--workspace={folder / '.studio'}"])
    assert "The model said nothing of 0.png" in capsys.readouterr().err
    assert not (folder / "0.txt").exists()


@pytest.mark.soak
def test_a_model_in_the_cache_writes_those_of_the_page(
    settings: Settings,
    folder: Path,
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path_factory.mktemp("hub")
    repository = cache / "models--some--describer"
    shutil.copytree(model, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (cache / "models--some--other" / "snapshots").mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    assert captioners() == ["some/describer"]
    Datasets(settings.datasets).add("look", [path for path in folder.iterdir() if path.stem in ("0", "1", "clip")])
    done = write_captions(settings, "look", "some/describer")
    assert (done.state, done.done, done.total, done.problems) == (CaptionsState.DONE, 2, 2, ()), done.error
    assert {item.name for item in Datasets(settings.datasets).items("look") if item.caption} == {
        "0.png",
        "1.png",
        "clip.mp4",
    }
    assert write_captions(settings, "look", "nobody/nothing").error.startswith("'nobody/nothing' is no model")


def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"'nobody/nothing' is no model on this machine.*hf download"):
        Captioner("nobody/nothing", PLACE)
    with pytest.raises(UserError, match="is no model on this machine"):
        Captioner(str(tiny.write_demo(tmp_path / "demo")), PLACE)
