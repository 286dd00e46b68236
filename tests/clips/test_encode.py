"""Clips on disk: what players need of an MP4, the receipt inside it, and nothing half-written when the disk refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from moviepy.video.io.ffmpeg_reader import ffmpeg_parse_infos
from PIL import Image

from tests.support.faults.disks import read_only_disk, small_disk
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.poster import write_poster, write_preview
from wan_pipeline.clips.read import last_frame, read_receipt
from wan_pipeline.errors import StorageError

COLOURS = [(220, 40, 40), (240, 150, 30), (40, 160, 60), (40, 70, 220), (245, 245, 245), (10, 10, 10)]


def flat_frames(count: int = 33, width: int = 320, height: int = 192) -> np.ndarray:
    """One colour after the other."""
    return np.stack([np.full((height, width, 3), COLOURS[n % len(COLOURS)], np.uint8) for n in range(count)])


def noise(count: int, width: int = 320, height: int = 192) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def decoded(clip: Path, width: int, height: int) -> np.ndarray:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(clip), "-f", "rawvideo", "-pix_fmt", "rgb24"]
    raw = subprocess.run([*command, "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def boxes(clip: Path) -> list[bytes]:
    """The kinds of the top-level boxes of an MP4, in order."""
    data, place, found = clip.read_bytes(), 0, []
    while place < len(data):
        found.append(data[place + 4 : place + 8])
        place += int.from_bytes(data[place : place + 4], "big")
    return found


def test_a_clip_has_what_players_need(tmp_path: Path) -> None:
    clip = tmp_path / "clips" / "a.mp4"
    encode(flat_frames(), 16, clip, {})
    video = ffmpeg_parse_infos(str(clip))
    assert video["video_codec_name"] == "h264"
    assert (video["video_size"], video["video_fps"]) == ([320, 192], 16)
    assert imageio_ffmpeg.count_frames_and_secs(clip)[0] == 33
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", clip]
    probe = subprocess.run(command, check=False, capture_output=True)  # it wants an output, and so exits 1
    assert b"yuv420p(tv, bt709," in probe.stderr
    assert boxes(clip).index(b"moov") < boxes(clip).index(b"mdat")
    assert [path.name for path in clip.parent.iterdir()] == ["a.mp4"]


def test_colours_and_order_survive(tmp_path: Path) -> None:
    frames = flat_frames(count=17)
    encode(frames, 16, tmp_path / "a.mp4", {})
    seen = decoded(tmp_path / "a.mp4", 320, 192)
    assert seen.shape == frames.shape
    assert np.abs(seen.astype(int) - frames).max() <= 4


def test_one_frame_is_a_clip(tmp_path: Path) -> None:
    encode(flat_frames(count=1), 16, tmp_path / "a.mp4", {})
    assert decoded(tmp_path / "a.mp4", 320, 192).shape[0] == 1


@pytest.mark.parametrize(
    "text",
    [
        "a red ball",
        "tab\tline\nbreak; a=b # no comment \\ \"quoted\" 'single' \\\\n %s {x} $HOME `ls`",
        "红色的球在海上弹跳 🎈 żółć",
        "<script>alert(1)</script>",
        "红" * 4000,
        "",
    ],
)
def test_the_receipt_inside_can_be_read(text: str, tmp_path: Path) -> None:
    receipt = {"request": {"prompt": text, "styled_prompt": text, "negative_prompt": text}, "frames_sha256": "00"}
    encode(flat_frames(count=5), 16, tmp_path / "a.mp4", receipt)
    assert read_receipt(tmp_path / "a.mp4") == receipt


def test_the_receipt_survives_a_remux(tmp_path: Path) -> None:
    encode(flat_frames(count=5), 16, tmp_path / "a.mp4", {"seed": 42})
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "a.mp4", "-c", "copy"]
    subprocess.run([*command, tmp_path / "b.mp4"], check=True)
    assert read_receipt(tmp_path / "b.mp4") == {"seed": 42}


def test_another_programs_comment_is_no_receipt(tmp_path: Path) -> None:
    encode(flat_frames(count=5), 16, tmp_path / "a.mp4", {})
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "a.mp4", "-c", "copy"]
    subprocess.run([*command, "-metadata", "comment=holiday", tmp_path / "b.mp4"], check=True)
    subprocess.run([*command, "-metadata", "comment=", tmp_path / "c.mp4"], check=True)
    assert read_receipt(tmp_path / "b.mp4") is None
    assert read_receipt(tmp_path / "c.mp4") is None


def test_last_frame(tmp_path: Path) -> None:
    encode(flat_frames(count=4), 16, tmp_path / "a.mp4", {})
    assert np.abs(last_frame(tmp_path / "a.mp4").astype(int) - COLOURS[3]).max() <= 4


@pytest.mark.parametrize("content", [None, b"", b"not a video" * 100])
def test_a_clip_that_cannot_be_read_says_so(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    for look in (last_frame, read_receipt):
        with pytest.raises(StorageError, match=r"a\.mp4 cannot be read"):
            look(tmp_path / "a.mp4")


@pytest.mark.parametrize("size", ["4k", "300k", "1m"])
def test_a_full_disk_leaves_nothing_behind(size: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size) as disk:
        with pytest.raises(StorageError, match=f"The disk of the folder {disk} is full; free some space"):
            encode(noise(33), 16, disk / "a.mp4", {"seed": 1})
        assert list(disk.iterdir()) == []


def test_a_disk_that_fills_at_the_very_end_leaves_nothing_behind(tmp_path: Path) -> None:
    """Enough for the frames, but not for the second copy that moving the index to the front needs."""
    encode(noise(9), 16, tmp_path / "measure.mp4", {})
    kib = (tmp_path / "measure.mp4").stat().st_size // 1024
    for room in (kib - 4, kib - 1):
        with small_disk(tmp_path / "disk", f"{room}k") as disk:
            with pytest.raises(StorageError, match="is full"):
                encode(noise(9), 16, disk / "a.mp4", {})
            assert list(disk.iterdir()) == []


def test_a_full_disk_stops_pictures_too(tmp_path: Path) -> None:
    for write in (write_poster, write_preview):
        with small_disk(tmp_path / "disk", "4k") as disk:
            with pytest.raises(StorageError, match="is full"):
                write(noise(9), disk / "a.webp")
            assert list(disk.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with read_only_disk(tmp_path / "disk") as disk, pytest.raises(StorageError, match=f"{disk} cannot be written to"):
        encode(flat_frames(count=5), 16, disk / "a.mp4", {})


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "clips").write_text("")
    with pytest.raises(StorageError, match="clips cannot be written to"):
        encode(flat_frames(count=5), 16, tmp_path / "clips" / "a.mp4", {})


def test_an_old_clip_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "300k") as disk:
        encode(flat_frames(count=5), 16, disk / "a.mp4", {"take": 1})
        with pytest.raises(StorageError):
            encode(noise(33), 16, disk / "a.mp4", {"take": 2})
        assert read_receipt(disk / "a.mp4") == {"take": 1}


def test_odd_sides_are_an_error_of_ours_not_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be encoded"):
        encode(flat_frames(count=3, width=321, height=191), 16, tmp_path / "a.mp4", {})
    assert list(tmp_path.iterdir()) == []


def test_poster_is_the_middle_frame(tmp_path: Path) -> None:
    write_poster(flat_frames(count=5), tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as poster:
        assert (poster.format, poster.size) == ("WEBP", (320, 192))
        assert np.abs(np.asarray(poster.convert("RGB")).astype(int) - COLOURS[2]).max() <= 12


@pytest.mark.parametrize("count", [1, 5])
def test_preview_moves_and_is_replaced_whole(count: int, tmp_path: Path) -> None:
    for _ in range(2):
        write_preview(flat_frames(count=count, width=96, height=64), tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as preview:
        assert getattr(preview, "n_frames", 1) == count
    assert len(list(tmp_path.iterdir())) == 1


def test_metadata_is_valid_json_with_its_own_characters(tmp_path: Path) -> None:
    """Not escaped to \\uXXXX: a long Chinese prompt must fit into one argument on Windows."""
    encode(flat_frames(count=3), 16, tmp_path / "a.mp4", {"prompt": "球"})
    assert json.dumps({"prompt": "球"}, ensure_ascii=False).encode() in (tmp_path / "a.mp4").read_bytes()
