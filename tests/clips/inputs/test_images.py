"""Image intake: right colours from every kind of file, one sentence for every bad one."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from wan_pipeline.clips.inputs.images import MAX_PIXELS, MIN_SIDE, check_still, ingest, measure
from wan_pipeline.errors import ImageError, StorageError

SIZE = (64, 48)
RED, GREEN, BLUE = (200, 30, 40), (20, 160, 60), (30, 60, 200)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return tmp_path / "inputs"


def stripes(colours: tuple = (RED, GREEN, BLUE)) -> Image.Image:
    """Vertical stripes of SIZE, wide enough that chroma subsampling leaves their middles alone."""
    image = Image.new("RGB", SIZE)
    width = SIZE[0] // len(colours)
    for number, colour in enumerate(colours):
        image.paste(colour, (number * width, 0, SIZE[0], SIZE[1]))
    return image


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


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


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
