"""Pictures that are damaged, too large, too small or none: one sentence for each."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.files.pictures import SIZE, chunk, stripes
from wan_pipeline.clips.inputs.images import MAX_PIXELS, MIN_SIDE, check_still, ingest, measure
from wan_pipeline.errors import ImageError, StorageError


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, part: float, tmp_path: Path, inputs: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    whole = io.BytesIO()
    noise.save(whole, format=kind)
    path = tmp_path / f"half.{kind.lower()}"
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * part)])
    with pytest.raises(ImageError, match=r"half\.\w+"):
        ingest(path, inputs)
    assert not inputs.exists()


def test_a_flipped_byte_in_a_png_is_noticed(tmp_path: Path, inputs: Path) -> None:
    """Uncompressed, so that only the checksum tells."""
    stripes().save(tmp_path / "a.png", compress_level=0)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 0x40
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match="damaged or incomplete"):
        ingest(tmp_path / "a.png", inputs)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.png", b"", "is empty"),
        ("notes.png", b"these are words\n" * 100, "not a picture"),
        ("page.jpg", b"<html><script>alert(1)</script></html>", "not a picture"),
        ("clip.png", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(500), "not a picture"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'/>", "not a picture"),
    ],
)
def test_what_is_no_picture_is_refused(name: str, content: bytes, says: str, tmp_path: Path, inputs: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for look in (measure, lambda path: ingest(path, inputs)):
        with pytest.raises(ImageError, match=says):
            look(tmp_path / name)


def test_absent_files_and_folders_are_refused(tmp_path: Path, inputs: Path) -> None:
    for path in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(ImageError, match="is not there"):
            ingest(path, inputs)


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")  # one sentence is enough
@pytest.mark.parametrize("side", [8_001, 13_000, 60_000])
def test_bombs_are_refused_by_their_header(side: int, tmp_path: Path, inputs: Path) -> None:
    assert side * side > MAX_PIXELS
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match=f"{MAX_PIXELS:,} (pixels )?are allowed"):
        ingest(tmp_path / "bomb.png", inputs)


@pytest.mark.parametrize("size", [(1, 1), (MIN_SIDE - 1, 400), (400, MIN_SIDE - 1)])
def test_specks_are_refused(size: tuple[int, int], tmp_path: Path, inputs: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "speck.png")
    with pytest.raises(ImageError, match=f"each side must have {MIN_SIDE}"):
        ingest(tmp_path / "speck.png", inputs)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_is_an_image_error_or_a_picture(seed: int, tmp_path: Path, inputs: Path) -> None:
    """Flipped bytes must never give another kind of error."""
    random = np.random.default_rng(seed)
    kind = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")[seed % 7]
    whole = io.BytesIO()
    stripes().save(whole, format=kind)
    data = bytearray(whole.getvalue())
    for place in random.integers(0, min(len(data), 600), 12):
        data[place] = random.integers(0, 256)
    (tmp_path / "hurt").write_bytes(data)
    try:
        ingest(tmp_path / "hurt", inputs)
    except ImageError as error:
        assert "hurt" in str(error)
        assert "\n" not in str(error)


def test_no_room_for_inputs_is_a_storage_error(tmp_path: Path) -> None:
    stripes().save(tmp_path / "a.png")
    (tmp_path / "inputs").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot be written to"):
        ingest(tmp_path / "a.png", tmp_path / "inputs")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_7_an_animation_is_refused_when_it_is_chosen(kind: str, tmp_path: Path) -> None:
    moving, still = tmp_path / "moving", tmp_path / "still"
    stripes().save(still, format=kind)
    stripes().save(moving, format=kind, save_all=True, append_images=[Image.new("RGB", SIZE, "black")])
    check_still(still)
    with pytest.raises(ImageError, match="an animation of 2 frames; save one of them as PNG"):
        check_still(moving)


def test_7_a_picture_that_is_cut_short_is_refused_when_it_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ImageError, match="damaged or incomplete"):
        check_still(path)
