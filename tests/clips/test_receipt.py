"""Receipts: what goes in comes out, of any version, and no file that claims to hold one can do harm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from tests.support.files.receipts import FOLDER, HOSTILE_RECEIPTS, stored_receipt
from tests.support.requests import make_request
from wan_pipeline.clips.copies.share import make_share_copy
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.clips.read import read_receipt
from wan_pipeline.clips.receipt import Receipt, load_receipt, write_receipt
from wan_pipeline.errors import ReceiptError, StorageError
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.storage.outside import MAX_BYTES

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), dtype=np.uint8)
RECEIPT = Receipt(
    request=make_request(
        prompt="红 <b>ball</b>; =\\ 'x'\nnext", loras=(LoraChoice("glow", 0.5), LoraChoice("ink", 1.0))
    ),
    frames_sha256="ab" * 32,
    provenance=Provenance(
        "demo", "rev1", {"vae/a.safetensors": "cd" * 32}, {"glow": "ef" * 32}, "12" * 32, "tiled", {"torch": "2.13.0"}
    ),
    encoder={"crf": "16"},
    seconds={"denoising": 1.25},
    peak_memory_mb=512,
    warnings=("one", "two"),
    job="j" * 32,
    project="night",
    attempt=2,
    resumed_from=3,
)


def make(folder: Path, comment: Any = RECEIPT.to_dict()) -> Path:  # noqa: B008 - never changed
    clip = folder / "clip.mp4"
    encode(FRAMES, 16, clip, comment)
    return clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a receipt. Read only."""
    return make(tmp_path_factory.mktemp("clips"), None)


def run_ffmpeg(*arguments: object) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


def test_a_receipt_survives_as_json() -> None:
    assert Receipt.from_dict(json.loads(json.dumps(RECEIPT.to_dict()))) == RECEIPT


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_it_is_read_from_inside_the_clip_also_after_a_remux(tmp_path: Path, ending: str) -> None:
    clip, remuxed = make(tmp_path), tmp_path / f"elsewhere.{ending}"
    run_ffmpeg("-i", clip, "-c", "copy", remuxed)
    assert load_receipt(clip) == load_receipt(remuxed) == RECEIPT


def test_without_one_inside_that_beside_counts(tmp_path: Path) -> None:
    clip = make(tmp_path, None)
    write_receipt(RECEIPT, clip)
    assert read_receipt(clip) is None
    assert load_receipt(clip) == load_receipt(receipt_path(clip)) == RECEIPT


def test_receipts_of_both_versions_are_read() -> None:
    first, second = (load_receipt(FOLDER / f"version{version}.json") for version in (1, 2))
    assert first.request == make_request(
        prompt="a red ball bounces 红",
        styled_prompt="a red ball bounces 红, film noir",
        preset="noir",
        seed=2**32 - 1,
        num_inference_steps=16,
        loras=(LoraChoice("glow", 1.0),),
    )
    libraries = {"torch": "2.12.0", "diffusers": "0.42.1", "transformers": "5.23.0"}
    assert first.provenance == Provenance("demo", environment={**libraries, "device": "cpu", "dtype": "float32"})
    assert (first.job, first.project, first.attempt, first.encoder) == ("", "", 1, {})
    assert first.seconds == {"loading": 2.0, "encoding text": 0.0, "denoising": 9.5, "decoding": 1.25}
    assert first.warnings == ("LoRA 'glow' was left out.",)
    assert first.made_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert json.loads(json.dumps(second.to_dict())) == stored_receipt(2)
    assert Receipt.from_dict(first.to_dict()) == first  # written again, it is one of version 2


@pytest.mark.parametrize(("content", "says"), HOSTILE_RECEIPTS.values(), ids=HOSTILE_RECEIPTS)
def test_a_hostile_receipt_is_refused_in_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "clip.json").write_bytes(content)
    with pytest.raises(ReceiptError, match=r"^clip\.json: The receipt ") as caught:
        load_receipt(tmp_path / "clip.json")
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("list", False),
        ("nested object", False),
        ("half a surrogate pair", False),
        ("seconds NaN", False),
        ("frames 10**30", True),
        ("fps 0", True),
        ("made in year 1", True),
        ("empty object", False),
    ],
)
def test_a_hostile_receipt_inside_a_clip_is_refused_too(clip: Path, tmp_path: Path, name: str, is_ours: bool) -> None:
    """A JSON object with a key of a receipt is taken for one of ours; any other comment for another program's."""
    content, says = HOSTILE_RECEIPTS[name]
    tags, copy = tmp_path / "tags.txt", tmp_path / "copy.mp4"
    tags.write_bytes(b";FFMETADATA1\ncomment=" + re.sub(rb"([=;#\\\n])", rb"\\\1", content) + b"\n")
    run_ffmpeg("-i", clip, "-i", tags, "-map_metadata", 1, "-c", "copy", copy)
    with pytest.raises(ReceiptError, match=r"^copy\.mp4: The") as caught:
        load_receipt(copy)
    assert (says if is_ours else "no receipt of this studio inside it or beside it") in str(caught.value)


@pytest.mark.parametrize("name", ["pipe", "folder"])
def test_only_a_file_is_a_receipt(tmp_path: Path, name: str) -> None:
    if name == "folder":
        (tmp_path / "clip.json").mkdir()
    elif sys.platform == "win32":
        pytest.skip("has no named pipes in folders")
    else:
        os.mkfifo(tmp_path / "clip.json")
    with pytest.raises(ReceiptError, match="it is not a regular file"):
        load_receipt(tmp_path / "clip.json")


def test_a_clip_without_any_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReceiptError, match=r"clip\.mp4: There is no receipt of this studio inside it or beside it"):
        load_receipt(make(tmp_path, None))


def test_too_large_ones_are_not_read(tmp_path: Path) -> None:
    beside = tmp_path / "clip.json"
    beside.write_text(json.dumps(RECEIPT.to_dict() | {"warnings": ["x" * MAX_BYTES]}), encoding="utf-8")
    with pytest.raises(ReceiptError, match="larger than 1 MB"):
        load_receipt(beside)
    tags = tmp_path / "tags.txt"
    tags.write_text(";FFMETADATA1\ncomment=" + "x" * MAX_BYTES + "\n", encoding="utf-8")
    clip = make(tmp_path, None)
    run_ffmpeg("-i", clip, "-i", tags, "-map_metadata", 1, "-c", "copy", tmp_path / "large.mp4")
    with pytest.raises(StorageError, match="more than 1 MB of notes"):
        load_receipt(tmp_path / "large.mp4")


def test_a_playlist_that_calls_itself_a_video_opens_nothing(tmp_path: Path) -> None:
    clip = make(tmp_path)
    for name, text in (
        ("list.mp4", f"ffconcat version 1.0\nfile '{clip}'\n"),
        ("hls.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{clip}\n#EXT-X-ENDLIST\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(StorageError, match="cannot be read"):
            load_receipt(tmp_path / name)


@pytest.mark.parametrize("name", ["-i.mp4", "a:b.mp4", "100%d.mp4", "it's.mp4", "红.mp4"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    clip = make(tmp_path).rename(tmp_path / name)
    assert load_receipt(clip) == RECEIPT


def test_a_copy_to_share_shows_the_same_and_tells_nothing(tmp_path: Path) -> None:
    clip = make(tmp_path)
    copy = make_share_copy(clip, tmp_path / "share" / "copy.mp4")
    pictures = []
    for path in (clip, copy):
        run_ffmpeg("-i", path, "-f", "rawvideo", tmp_path / "raw")
        pictures.append((tmp_path / "raw").read_bytes())
    assert pictures[0] == pictures[1]
    assert read_receipt(copy) is None
    for secret in (b"ball", b"frames_sha256", b"Wan Studio", b"night"):
        assert secret in clip.read_bytes() and secret not in copy.read_bytes()
    assert [path.name for path in copy.parent.iterdir()] == ["copy.mp4"]


def test_a_copy_of_no_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(StorageError, match=r"a\.mp4 cannot be copied; ffmpeg says"):
        make_share_copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()
