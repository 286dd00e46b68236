"""Receipts: what goes in comes out, of any version, and no file that claims to hold one can do harm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from tests.support.requests import make_request
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.clips.read import MAX_RECEIPT_BYTES, read_receipt
from wan_pipeline.clips.receipt import Receipt, load_receipt, write_receipt
from wan_pipeline.clips.share import make_share_copy
from wan_pipeline.errors import ReceiptError, StorageError
from wan_pipeline.requests.request import LoraChoice

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


def changed(**changes: Any) -> dict[str, Any]:
    return {**RECEIPT.to_dict(), **changes}


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


def test_the_first_version_can_be_read() -> None:
    old = {
        "receipt": 1,
        "made_with": "Wan Studio 0.1.0",
        "made_at": "2026-11-20T10:00:00+00:00",
        "request": RECEIPT.request.to_dict(),
        "frames_sha256": "ab" * 32,
        "seconds": {"denoising": 1.0},
        "peak_memory_mb": 500,
        "environment": {"torch": "2.12.0", "device": "cpu", "model_fingerprint": "ff"},
        "warnings": [],
    }
    receipt = Receipt.from_dict(old)
    assert receipt.request == RECEIPT.request
    assert receipt.provenance == Provenance("demo", environment={"torch": "2.12.0", "device": "cpu"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "no hash of the clip's frames"),
        (changed(receipt=3), "has version 3, and this studio knows 2; update"),
        (changed(receipt="x"), "'receipt' = 'x', which cannot be"),
        (changed(frames_sha256="../../etc/passwd"), "no hash of the clip's frames"),
        (changed(request={}), "cannot be read"),
        (changed(request={**RECEIPT.request.to_dict(), "seed": "1"}), "'seed' = '1'"),
        (changed(request={**RECEIPT.request.to_dict(), "colour": "red"}), "unknown setting 'colour'"),
        (changed(request=["prompt"]), "'request' = "),
        (changed(provenance={"model_files": {"a": 1}}), "'a' = 1, which cannot be"),
        (changed(seconds={"denoising": "long"}), "'denoising' = 'long'"),
        (changed(attempt=True), "'attempt' = True"),
    ],
)
def test_one_that_cannot_be_says_why(tmp_path: Path, data: dict[str, Any], words: str) -> None:
    path = tmp_path / "clip.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReceiptError, match=r"clip\.json") as caught:
        load_receipt(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '"x"', "\udcff"])
def test_a_file_that_is_no_receipt_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clip.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ReceiptError, match=r"clip\.json: The receipt beside it"):
        load_receipt(path)


def test_a_clip_without_any_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReceiptError, match=r"clip\.mp4: There is no receipt inside it or beside it"):
        load_receipt(make(tmp_path, None))


def test_too_large_ones_are_not_read(tmp_path: Path) -> None:
    beside = tmp_path / "clip.json"
    beside.write_text(json.dumps(changed(warnings=["x" * MAX_RECEIPT_BYTES])), encoding="utf-8")
    with pytest.raises(ReceiptError, match="larger than 1 MB"):
        load_receipt(beside)
    tags = tmp_path / "tags.txt"
    tags.write_text(";FFMETADATA1\ncomment=" + "x" * MAX_RECEIPT_BYTES + "\n", encoding="utf-8")
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
