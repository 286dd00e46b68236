"""Clips of other programs on the page, the containers it opens, and sentences without paths."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import imageio_ffmpeg
import numpy as np
import pytest

from tests.support.files.receipts import stored_receipt
from tests.support.pages import TEMPLATES, page_links
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.foreign import read_foreign
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.head import CLIPS, PageHead
from wan_pipeline.wording import without_folders

TABLE = {"prompt": "a cat; in = rain", "negative_prompt": "blurry", "seed": 1234, "resolution": "832x480", "steps": 30}
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 77, "steps": 20, "positive": ["50", 0], "negative": ["50", 1]}},
    "50": {"class_type": "WanImageToVideo", "inputs": {"positive": ["6", 0], "negative": ["7", 0], "width": 832}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox runs", "clip": ["38", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["9", 0], "clip": ["38", 0]}},
    "9": {"class_type": "PrimitiveString", "inputs": {"value": "bad hands"}},
}
FRAMES = np.zeros((3, 64, 96, 3), np.uint8)


@pytest.fixture
def opened(studio: Studio) -> Iterator[tuple[PageHead, PageLinks]]:
    with gr.Blocks() as page:
        head = PageHead(studio, TEMPLATES)
        yield head, page_links(page, studio)


def make(path: Path, comment: Any) -> Path:
    encode(FRAMES, 16, path, comment)
    return path


def shown(opened: tuple[PageHead, PageLinks], path: Path) -> tuple[str, dict[str, Any]]:
    """The sentence on the page, and the values of the text form."""
    head, links = opened
    updates = head.open_clip(links, str(path))
    layout = next(iter(links.filler.forms.values()))
    notice = re.sub("<[^>]+>", "", updates[layout.notice])
    return notice, {name: updates.get(box) for name, box in layout.form.components.items()}


def value(update: Any) -> Any:
    return update.get("value") if isinstance(update, dict) else getattr(update, "value", update)


@pytest.mark.parametrize(
    ("comment", "prompt", "seed"),
    [
        (TABLE, "a cat; in = rain", 1234),
        ({"prompt": json.dumps(GRAPH), "workflow": {"nodes": []}}, "a fox runs", 77),
        (GRAPH, "a fox runs", 77),
    ],
    ids=["table", "graph in a comment", "graph"],
)
def test_21_a_clip_of_another_program_offers_its_prompt_and_seed(opened, tmp_path, comment, prompt, seed):
    notice, form = shown(opened, make(tmp_path / "other.mp4", comment))
    assert "There is no receipt of this studio" in notice and "is in the form" in notice
    assert (value(form["prompt"]), str(value(form["seed"]))) == (prompt, str(seed))


def test_21_a_graph_in_a_tag_of_its_own_is_read():
    found = read_foreign({"prompt": json.dumps(GRAPH), "workflow": "{}"})
    assert found == Draft(prompt="a fox runs", negative_prompt="bad hands", seed=77)


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "made by me",
        "[1]",
        "{}",
        '{"prompt": 5, "seed": true}',
        json.dumps({"prompt": "x" * 10**5, "seed": 2**70}),
        json.dumps({"1": {"inputs": {"positive": ["1", 0], "seed": -1}}}),
        json.dumps({"1": {"inputs": {"positive": [["1"], 0]}}, "2": None}),
        "[" * 10**5,
    ],
    ids=range(9),
)
def test_21_notes_that_say_nothing_are_no_settings(comment):
    assert read_foreign({"comment": comment}) is None


def test_21_without_notes_the_sentence_says_that_there_is_no_receipt(opened, tmp_path):
    notice, _ = shown(opened, make(tmp_path / "plain.mp4", None))
    assert "plain.mp4: There is no receipt of this studio" in notice and "form" not in notice


@pytest.mark.parametrize("ending", CLIPS)
def test_21_the_page_opens_what_show_opens(opened, tmp_path, ending):
    clip = make(tmp_path / "own.mp4", stored_receipt(2))
    path = clip
    if ending != ".mp4":
        path = tmp_path / f"own{ending}"
        codec = ["-c:v", "libvpx", "-crf", "40", "-b:v", "1M"] if ending == ".webm" else ["-c", "copy"]
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        subprocess.run([ffmpeg, "-v", "error", "-i", str(clip), *codec, str(path)], check=True)
    notice, form = shown(opened, path)
    assert "no receipt" not in notice
    assert value(form["prompt"]) == stored_receipt(2)["request"]["prompt"]
    script = (REPOSITORY / "wan_pipeline/ui/common/assets/files.js").read_text(encoding="utf-8")
    assert ending[1:] in script.split("clip-upload")[0]


def test_21_a_bad_clip_is_told_without_its_folder(opened, tmp_path):
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"not a video")
    notice, _ = shown(opened, path)
    assert "bad.mp4 cannot be read" in notice and str(tmp_path) not in notice


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The disk of /home/me/work is full.", "The disk of work is full."),
        (r"C:\Users\me\a.mp4 is gone", "a.mp4 is gone"),
        ("see '/tmp/gradio/ab12/a.mp4': why", "see 'a.mp4': why"),
        ("'/home/ann/My Films (old)/a.mp4' is gone", "'a.mp4' is gone"),
        (r"\\server\share\a.mp4 is gone", "a.mp4 is gone"),
        ("https://huggingface.co/Wan-AI/x, step 3/16, and/or owner/name", None),
    ],
)
def test_21_paths_on_the_page_are_names(text, wanted):
    assert without_folders(text) == (text if wanted is None else wanted)


def test_folders_that_are_known_are_names_whatever_they_are_called() -> None:
    studio = Path("/home/ann/My Films, 2026/studio")
    assert without_folders(f"The disk of {studio}/clips is full.", [studio]) == "The disk of studio/clips is full."
