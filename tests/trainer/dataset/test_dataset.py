"""Datasets: what is read, what is pointed out, and the sizes that examples are trained at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageFilter

from tests.support.commands import wan
from wan_pipeline.cli import main
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.sheets import sheet as sheet_module
from wan_pipeline.clips.sheets.page import WRONG, Tile
from wan_pipeline.models.registry import DEMO, find
from wan_pipeline.trainer.dataset import folder as folder_module
from wan_pipeline.trainer.dataset import sheet as dataset_sheet
from wan_pipeline.trainer.dataset.buckets import Bucket, Buckets
from wan_pipeline.trainer.dataset.check import Problem, check_dataset
from wan_pipeline.trainer.dataset.folder import MAX_CAPTION_BYTES, MAX_ITEMS, DatasetError, read_items
from wan_pipeline.trainer.dataset.importing import import_dataset
from wan_pipeline.trainer.dataset.pixels import read_pixels


def picture(seed: int, size: tuple[int, int] = (320, 192)) -> Image.Image:
    """Sharp random squares."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)


def problems(folder: Path) -> dict[str, list[Problem]]:
    found: dict[str, list[Problem]] = {}
    for finding in check_dataset(folder, DEMO, Buckets(DEMO)).findings:
        found.setdefault(finding.name, []).append(finding.problem)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good images."""
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"picture {number}\n", encoding="utf-8")
    return tmp_path


def test_captions_are_text_beside_the_image(folder: Path) -> None:
    (folder / "1.txt").write_bytes("\ufeff  ein\r\n roter  Ball ".encode())
    (folder / "notes.md").write_text("no item")
    assert [(item.name, item.caption) for item in read_items(folder)] == [
        ("0.png", "picture 0"),
        ("1.png", "ein roter Ball"),
        ("2.png", "picture 2"),
    ]
    assert problems(folder) == {}


@pytest.mark.parametrize(
    ("content", "says"), [(b" \n", "is empty"), (b"\xff\xfe", "UTF-8"), (b"x" * (MAX_CAPTION_BYTES + 1), "longer")]
)
def test_bad_captions_are_pointed_out(folder: Path, content: bytes, says: str) -> None:
    (folder / "1.txt").write_bytes(content)
    item = read_items(folder)[1]
    assert item.caption == ""
    assert says in item.caption_problem
    assert problems(folder) == {"1.png": [Problem.NO_CAPTION]}


def test_broken_tiny_blurred_and_double_images_are_pointed_out(folder: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:500])
    picture(7, (160, 96)).save(folder / "tiny.png")
    picture(8).filter(ImageFilter.GaussianBlur(12)).save(folder / "blurred.png")
    picture(0).save(folder / "copy.webp", lossless=True)
    picture(1).resize((640, 384)).save(folder / "larger.jpg", quality=80)
    for name in ("broken", "tiny", "blurred", "copy", "larger"):
        (folder / f"{name}.txt").write_text("a caption")
    assert problems(folder) == {
        "broken.png": [Problem.BROKEN],
        "tiny.png": [Problem.TINY],
        "blurred.png": [Problem.BLURRED],
        "copy.webp": [Problem.DUPLICATE],
        "larger.jpg": [Problem.DUPLICATE],
    }
    dataset = check_dataset(folder, DEMO, Buckets(DEMO))
    assert len(dataset.examples) == 7
    assert any("only stills" in sentence for sentence in dataset.advice)


def test_without_a_usable_image_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        read_items(tmp_path / "gone")
    with pytest.raises(DatasetError, match="no images and no clips"):
        read_items(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "MAX_ITEMS", 2)
        for number in range(3):
            (tmp_path / f"{number}.png").touch()
        with pytest.raises(DatasetError, match="holds 3 files; at most 2 are taken"):
            read_items(tmp_path)
        for number in range(3):
            (tmp_path / f"{number}.png").unlink()
    (tmp_path / "a.png").write_bytes(b"nonsense")
    with pytest.raises(DatasetError, match=r"None of the 1 files.*not a picture"):
        check_dataset(tmp_path, DEMO, Buckets(DEMO))


def test_sideways_deep_and_transparent_images_are_read_right(tmp_path: Path) -> None:
    turned = Image.new("RGB", (192, 320), "red")
    turned.paste("blue", (0, 0, 192, 160))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is at the right
    turned.rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(np.full((192, 320), 32768, np.uint16)).save(tmp_path / "b.png")
    Image.new("RGBA", (320, 192), (0, 0, 0, 0)).save(tmp_path / "c.png")
    upright, deep, clear = (
        read_pixels(item, Bucket(*size), 16)[0]
        for item, size in zip(read_items(tmp_path), [(192, 320), (320, 192), (320, 192)], strict=True)
    )
    assert tuple(upright[10, 96]) == (0, 0, 255)
    assert tuple(upright[310, 96]) == (255, 0, 0)
    assert abs(int(deep[0, 0, 0]) - 128) <= 1
    assert tuple(clear[0, 0]) == (255, 255, 255)


def test_a_clip_brings_its_frames_and_its_prompt(tmp_path: Path) -> None:
    frames = np.stack([np.full((96, 160, 3), shade, np.uint8) for shade in range(0, 220, 20)])
    encode(frames, 16, tmp_path / "clip.mp4", {"request": {"prompt": "a  grey wall"}})
    dataset = check_dataset(tmp_path, DEMO, Buckets(DEMO, max_frames=9))
    example = dataset.examples[0]
    assert (example.bucket, example.item.caption) == (Bucket(320, 192, 9), "a grey wall")
    pixels = read_pixels(example.item, example.bucket, 16)
    assert pixels.shape == (9, 192, 320, 3)
    assert np.abs(pixels[:, 90, 160, 0].astype(int) - np.arange(0, 180, 20)).max() < 6


def test_buckets_follow_the_shape_of_the_image() -> None:
    free = Buckets(find("wan2.1-t2v-14b"), pixels=512 * 512)
    assert free.of(1000, 1000) == Bucket(512, 512)
    wide, tall = free.of(1920, 1080), free.of(1080, 1920)
    assert (tall.width, tall.height) == (wide.height, wide.width)
    assert 1.6 < wide.width / wide.height < 1.95
    assert 0.85 * 512 * 512 < wide.width * wide.height <= 512 * 512
    assert all(side % 16 == 0 for side in (wide.width, wide.height))
    assert free.of(9000, 100).width / free.of(9000, 100).height <= 2
    assert Buckets(DEMO).of(1000, 900) == Bucket(256, 256)
    assert Buckets(DEMO, max_frames=33).of(320, 192, 40).frames == 33
    assert Buckets(DEMO, max_frames=33).of(320, 192, 20).frames == 17
    assert Buckets(replace(DEMO, any_shape=True), pixels=64).of(1, 1) in (Bucket(320, 192), Bucket(160, 160))


def test_the_command_reports_it_as_json(folder: Path, tmp_path: Path) -> None:
    done = wan("dataset", "check", folder, "--json", f"--workspace={tmp_path / 'workspace'}")
    report = json.loads(done.stdout)
    assert (done.returncode, report["images"], report["clips"], report["left_out"]) == (0, 3, 0, 0)
    assert report["buckets"] == [{"width": 320, "height": 192, "frames": 1, "count": 3}]
    assert report["problems"] == []
    assert wan("dataset", "check", tmp_path / "gone").returncode == 2


def test_a_contact_sheet_marks_what_is_wrong(
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path_factory.mktemp("out")
    (folder / "broken.png").write_bytes(b"nonsense")
    picture(0, (100, 900)).save(folder / "tall.png")
    (folder / "tall.txt").write_text("a tower")
    drawn: list[Tile] = []
    draw = sheet_module.draw_tile
    monkeypatch.setattr(sheet_module, "draw_tile", lambda page, tile, *at: (drawn.append(tile), draw(page, tile, *at)))
    sheet = out / "sheets" / "look.png"
    asked = ["dataset", "check", str(folder), "--workspace", str(out / "workspace"), "--sheet"]
    assert main([*asked, str(sheet)]) == 0
    assert [(tile.heading, tile.lines, tile.problem) for tile in drawn] == [
        *((f"{number}.png", ("320 x 192, trained at 320x192",), "") for number in range(3)),
        ("broken.png", ("left out",), "broken"),
        ("tall.png", ("100 x 900, trained at 192x320",), "tiny"),
    ]
    with Image.open(sheet) as image:
        colours = {colour for _, colour in image.getcolors(1 << 24) or ()}
    assert ImageColor.getrgb(WRONG) in colours
    monkeypatch.setattr(dataset_sheet, "MAX_TILES", 3)
    drawn.clear()
    assert main([*asked, str(sheet)]) == 0
    assert [tile.heading for tile in drawn] == ["broken.png", "tall.png", "0.png"]
    capsys.readouterr()
    for name, says in (("look.gif", "ends in .png or .pdf"), ("look.png", "one of the dataset's images")):
        assert main([*asked, str(folder / name)]) == 2
        assert says in capsys.readouterr().err


def test_datasets_of_other_trainers_are_copied(folder: Path, tmp_path: Path) -> None:
    lines = [{"image_path": f"{number}.png", "caption": f"picture {number}"} for number in range(3)]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "musubi.toml").write_text('[[datasets]]\nimage_jsonl_file = "list.jsonl"\n')
    (folder / "metadata.csv").write_text("video,prompt\n" + "".join(f"{n}.png,picture {n}\n" for n in range(3)))
    with ZipFile(folder / "all.zip", "w") as archive:
        for path in [*folder.glob("*.png"), *folder.glob("*.txt")]:
            archive.write(path, f"inner/{path.name}")
        archive.writestr("../../outside.txt", "x")
        archive.writestr("script.py", "x")
    for name in ("list.jsonl", "musubi.toml", "metadata.csv", "all.zip"):
        target = tmp_path / "made" / name
        assert import_dataset(folder / name, target) == 3
        assert [item.caption for item in read_items(target)] == ["picture 0", "picture 1", "picture 2"]
    assert not (tmp_path / "outside.txt").exists()
    assert not list((tmp_path / "made").rglob("script.py"))


def test_musubis_paths_and_captions_are_read_as_it_reads_them(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path_factory.mktemp("config")
    for number in range(3):
        (folder / f"{number}.caption").write_text(f"another {number}")
    (folder / "list.jsonl").write_text(json.dumps({"image_path": f"{folder.name}/0.png", "caption": "of the list"}))
    toml = '[general]\ncaption_extension = "{}"\n[[datasets]]\nimage_directory = "{}"\n'.format
    lists = f'[[datasets]]\nimage_jsonl_file = "{folder.name}/list.jsonl"\n'
    (config / "musubi.toml").write_text(toml(".caption", folder.name) + lists)
    monkeypatch.chdir(folder.parent)
    assert import_dataset(config / "musubi.toml", config / "made") == 4
    captions = [item.caption for item in read_items(config / "made")]
    assert captions == ["another 0", "another 1", "another 2", "of the list"]
    (config / "musubi.toml").write_text(toml("../x", folder.name))
    with pytest.raises(DatasetError, match=r"caption_extension '\.\./x'; use one such as \.txt"):
        import_dataset(config / "musubi.toml", config / "other")


def test_an_import_that_fails_leaves_nothing(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = tmp_path_factory.mktemp("made")
    with ZipFile(folder / "all.zip", "w", ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.write(folder / f"{number}.png", f"{number}.png")
        start = archive.getinfo("2.png").header_offset
    packed = bytearray((folder / "all.zip").read_bytes())
    packed[start + 40 : start + 60] = b"\xff" * 20
    (folder / "all.zip").write_bytes(packed)
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        import_dataset(folder / "all.zip", made / "target")
    with pytest.raises(DatasetError, match="is not there; name a folder"):
        import_dataset(folder / "gone.zip", made / "target")
    (folder / "long.jsonl").write_text('{"image_path": "0.png"}\n' * (MAX_ITEMS + 1))
    with pytest.raises(DatasetError, match="more than 20,000"):
        import_dataset(folder / "long.jsonl", made / "target")
    assert not list(made.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"image_path": "gone.png"}', "gone.png, which is not there"),
        ("a.jsonl", '{"caption": "x"}', "names no file"),
        ("a.jsonl", "nonsense", "cannot be read"),
        ("a.csv", "video,prompt\n", "names no images"),
        ("a.zip", "nonsense", "cannot be unpacked"),
        ("a.doc", "", "is no dataset"),
    ],
)
def test_bad_sources_are_one_sentence(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=says):
        import_dataset(tmp_path / name, tmp_path / "made")
