"""Image intake: right colours from every kind of file."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.support.files.pictures import BLUE, GREEN, RED, SIZE, chunk, stripes
from wan_pipeline.clips.inputs.images import ingest, measure
from wan_pipeline.errors import ImageError


def pixels(path: Path, inputs: Path) -> np.ndarray:
    found = ingest(path, inputs)
    with Image.open(found.path) as image:
        assert image.mode == "RGB"
        assert image.size == (found.width, found.height)
        return np.asarray(image).astype(int)


def assert_stripes(array: np.ndarray, tolerance: int) -> None:
    for x, colour in ((10, RED), (31, GREEN), (54, BLUE)):
        assert np.abs(array[24, x] - colour).max() <= tolerance, (x, array[24, x], colour)


def save_png16(path: Path, values: np.ndarray) -> None:
    """16-bit PNG of (H, W, C) values with C of 1, 2, 3, 4: grey, grey + alpha, RGB, RGBA. Pillow cannot write these."""
    height, width, channels = values.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_usual_formats_keep_their_colours(kind: str, tmp_path: Path, inputs: Path) -> None:
    path = tmp_path / f"picture.{kind.lower()}"
    stripes().save(path, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert_stripes(pixels(path, inputs), 6 if kind == "AVIF" else 0)


def test_content_decides_not_the_extension(tmp_path: Path, inputs: Path) -> None:
    stripes().save(tmp_path / "really-a-png.jpg", format="PNG")
    assert_stripes(pixels(tmp_path / "really-a-png.jpg", inputs), 0)


def test_same_pixels_give_the_same_file(tmp_path: Path, inputs: Path) -> None:
    stripes().save(tmp_path / "a.png")
    stripes().save(tmp_path / "b.bmp")
    assert ingest(tmp_path / "a.png", inputs) == ingest(tmp_path / "b.bmp", inputs)
    assert len(list(inputs.iterdir())) == 1


@pytest.mark.parametrize("quality", [95])
def test_cmyk_jpeg_has_right_colours(quality: int, tmp_path: Path, inputs: Path) -> None:
    stripes().convert("CMYK").save(tmp_path / "print.jpg", quality=quality)
    assert_stripes(pixels(tmp_path / "print.jpg", inputs), 12)


def test_cmyk_tiff_has_right_colours(tmp_path: Path, inputs: Path) -> None:
    stripes().convert("CMYK").save(tmp_path / "print.tif")
    assert_stripes(pixels(tmp_path / "print.tif", inputs), 2)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, inputs: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    Image.fromarray(np.tile(ramp, (64, 1))).save(tmp_path / "deep.png")
    array = pixels(tmp_path / "deep.png", inputs)
    assert np.abs(array[5, :, 0] - np.arange(256)).max() <= 1
    assert (array[..., 0] == array[..., 2]).all()


def test_sixteen_bit_grey_stays_dark_when_it_is_dark(tmp_path: Path, inputs: Path) -> None:
    Image.fromarray(np.full((64, 64), 200, np.uint16)).save(tmp_path / "night.png")
    assert pixels(tmp_path / "night.png", inputs).max() <= 1


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour(channels: int, tmp_path: Path, inputs: Path) -> None:
    values = np.asarray(stripes()).astype(np.uint16) * 257
    if channels == 4:
        values = np.dstack([values, np.full(values.shape[:2], 65535, np.uint16)])
    save_png16(tmp_path / "deep.png", values)
    assert_stripes(pixels(tmp_path / "deep.png", inputs), 1)


def test_sixteen_bit_grey_with_alpha(tmp_path: Path, inputs: Path) -> None:
    values = np.zeros((64, 64, 2), np.uint16)
    values[:, :32] = (30000, 65535)
    save_png16(tmp_path / "deep.png", values)
    array = pixels(tmp_path / "deep.png", inputs)
    assert abs(array[5, 5, 0] - round(30000 / 257)) <= 1
    assert (array[5, 40] == 255).all()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_tiff(top: float, tmp_path: Path, inputs: Path) -> None:
    ramp = np.tile(np.linspace(0, top, 64, dtype=np.float32), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "float.tif")
    array = pixels(tmp_path / "float.tif", inputs)
    assert (array[0, 0], array[0, -1]) == (pytest.approx(0), pytest.approx(255))


def test_floating_point_tiff_out_of_range_is_refused(tmp_path: Path, inputs: Path) -> None:
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(ImageError, match="grey values must lie"):
        ingest(tmp_path / "nan.tif", inputs)


def test_alpha_lies_over_white(tmp_path: Path, inputs: Path) -> None:
    image = stripes().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(SIZE))
    image.save(tmp_path / "glass.png")
    array = pixels(tmp_path / "glass.png", inputs)
    assert array[0, 10] == pytest.approx(255, abs=4)
    assert array[-1, 10] == pytest.approx(RED, abs=4)


def test_palette_and_key_transparency_lie_over_white(tmp_path: Path, inputs: Path) -> None:
    palette = stripes().quantize(8)
    palette.save(tmp_path / "palette.gif", transparency=palette.getpixel((10, 10)))
    assert (pixels(tmp_path / "palette.gif", inputs)[10, 10] == 255).all()
    stripes().save(tmp_path / "key.png", transparency=RED)
    array = pixels(tmp_path / "key.png", inputs)
    assert (array[10, 10] == 255).all()
    assert tuple(array[24, 31]) == GREEN


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind: str, tmp_path: Path, inputs: Path) -> None:
    frames = [stripes(), Image.new("RGB", SIZE, "black"), Image.new("RGB", SIZE, "white")]
    extra = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(tmp_path / "moving", format=kind, save_all=True, append_images=frames[1:], **extra)
    assert_stripes(pixels(tmp_path / "moving", inputs), 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int, tmp_path: Path, inputs: Path) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = stripes().transpose(undo[orientation]) if orientation > 1 else stripes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "phone.jpg"
    stored.save(path, exif=exif, quality=95, subsampling=0)
    assert measure(path) == SIZE
    assert_stripes(pixels(path, inputs), 12)


def test_a_colour_profile_is_applied(tmp_path: Path, inputs: Path) -> None:
    """A profile with red and green swapped stands for any that differs from sRGB: ignoring it would show."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    swap_tags(profile, b"rXYZ", b"gXYZ")
    stripes().save(tmp_path / "wide.png", icc_profile=bytes(profile))
    array = pixels(tmp_path / "wide.png", inputs)
    assert array[24, 10] == pytest.approx((RED[1], RED[0], RED[2]), abs=3)
    assert array[24, 31] == pytest.approx((GREEN[1], GREEN[0], GREEN[2]), abs=3)


def swap_tags(profile: bytearray, first: bytes, second: bytes) -> None:
    a, b = profile.index(first), profile.index(second)
    profile[a : a + 4], profile[b : b + 4] = second, first


@pytest.mark.parametrize("profile", [b"no profile at all", b""])
def test_a_broken_colour_profile_leaves_the_colours(profile: bytes, tmp_path: Path, inputs: Path) -> None:
    stripes().save(tmp_path / "odd.png", icc_profile=profile)
    assert_stripes(pixels(tmp_path / "odd.png", inputs), 0)


def test_a_profile_of_another_kind_leaves_the_colours(tmp_path: Path, inputs: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("L", SIZE, 90).save(tmp_path / "grey.png", icc_profile=profile)
    assert (pixels(tmp_path / "grey.png", inputs) == 90).all()


def test_threads_may_ingest_the_same_image(tmp_path: Path, inputs: Path) -> None:
    stripes().resize((640, 480)).save(tmp_path / "a.png")
    faults: list[BaseException] = []

    def work() -> None:
        try:
            ingest(tmp_path / "a.png", inputs)
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert [path.suffix for path in inputs.iterdir()] == [".png"]
