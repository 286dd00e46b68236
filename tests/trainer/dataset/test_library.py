"""The datasets of a workspace: what is put in, captioned and taken out, and nothing outside them."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.files.pictures import write_pictures
from wan_pipeline.errors import LookingOnError, UserError
from wan_pipeline.trainer.dataset.folder import MAX_CAPTION_BYTES
from wan_pipeline.trainer.dataset.library import Datasets
from wan_pipeline.trainer.dataset.tags import counted, tags_of, with_tag, without_tag


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(tmp_path / "datasets")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return sorted(write_pictures(tmp_path / "files", 3).iterdir())


def captions(datasets: Datasets, name: str = "look") -> dict[str, str]:
    return {item.name: item.caption for item in datasets.items(name)}


def test_files_come_with_their_captions_and_none_is_overwritten(datasets: Datasets, files: list[Path]) -> None:
    assert datasets.names() == [] and datasets.items("look") == []
    assert datasets.add("look", files) == 6
    assert datasets.names() == ["look"]
    assert captions(datasets) == {f"{number}.png": f"a red ball at night {number}" for number in range(3)}
    datasets.add("look", files[:2])
    assert captions(datasets)["0 (2).png"] == "a red ball at night 0"


def test_a_caption_alone_goes_to_its_picture(datasets: Datasets, files: list[Path], tmp_path: Path) -> None:
    datasets.add("look", [file for file in files if file.suffix == ".png"])
    assert set(captions(datasets).values()) == {""}
    (tmp_path / "1.txt").write_text("a moon")
    datasets.add("look", [tmp_path / "1.txt"])
    assert captions(datasets)["1.png"] == "a moon"


def test_a_zip_is_unpacked_beside_the_others(datasets: Datasets, files: list[Path], tmp_path: Path) -> None:
    with ZipFile(tmp_path / "more.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    datasets.add("look", [tmp_path / "more.zip"])
    datasets.add("look", [tmp_path / "more.zip"])
    assert set(captions(datasets)) == {f"{folder}/{n}.png" for folder in ("more", "more (2)") for n in range(3)}


def test_captions_are_edited_found_and_replaced(datasets: Datasets, files: list[Path]) -> None:
    datasets.add("look", files)
    datasets.write_caption("look", "0.png", "  a blue\nfish ")
    assert captions(datasets)["0.png"] == "a blue fish"
    assert datasets.replace("look", "red ball", "green cube") == 2
    assert captions(datasets)["2.png"] == "a green cube at night 2"
    datasets.remove_item("look", "1.png")
    assert "1.png" not in captions(datasets)


def test_clips_of_the_studio_bring_their_captions(datasets: Datasets, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"of no matter here")
    assert datasets.add_captioned("look", [(clip, "a red ball")]) == 1
    assert datasets.add_captioned("look", [(clip, "a red ball")]) == 0
    assert captions(datasets) == {"clip.mp4": "a red ball"}


@pytest.mark.parametrize("name", ["../out", "", "a/b", "con", "x" * 81, ". "])
def test_a_dataset_is_a_folder_of_the_workspace(datasets: Datasets, files: list[Path], name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a dataset"):
        datasets.add(name, files)


def test_only_what_is_listed_is_changed(datasets: Datasets, files: list[Path], tmp_path: Path) -> None:
    datasets.add("look", files)
    (tmp_path / "datasets" / "secret.png").touch()
    for item in ("../secret.png", "gone.png", "/etc/passwd", "0.txt"):
        for change in (datasets.remove_item, lambda name, item: datasets.write_caption(name, item, "x")):
            with pytest.raises(UserError, match="any more"):
                change("look", item)
    assert (tmp_path / "datasets" / "secret.png").exists()


def test_what_cannot_be_taken_is_said(datasets: Datasets, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a.pdf").touch()
    with pytest.raises(UserError, match=r"a\.pdf is no image, clip, caption or ZIP"):
        datasets.add("look", [*files, tmp_path / "a.pdf"])
    assert datasets.items("look") == []
    datasets.add("look", files)
    with pytest.raises(UserError, match="shorten it"):
        datasets.write_caption("look", "0.png", "x" * (MAX_CAPTION_BYTES + 1))
    with pytest.raises(UserError, match="nothing to find"):
        datasets.replace("look", "", "x")


def test_an_app_that_looks_on_changes_nothing(tmp_path: Path, files: list[Path]) -> None:
    def refuse() -> None:
        raise LookingOnError("Another app has it.")

    with pytest.raises(LookingOnError):
        Datasets(tmp_path / "datasets", refuse).add("look", files)


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("a red ball, Night,  fog ", ["a red ball", "night", "fog"]),
        ("A red ball bounces; a RED ball.", ["a", "red", "ball", "bounces"]),
        (" , ,", []),
        ("", []),
    ],
)
def test_tags_are_parts_between_commas_or_words(caption: str, tags: list[str]) -> None:
    assert tags_of(caption) == tags


def test_a_tag_is_added_once_and_removed_however_it_is_written() -> None:
    assert with_tag("a red ball", "fog") == "a red ball, fog"
    assert with_tag("a red ball, Fog", "fog") == "a red ball, Fog"
    assert with_tag(" ", "fog") == "fog"
    assert without_tag("a red ball, Fog , night", "fog") == "a red ball, night"
    assert without_tag("a Red ball, red", "red") == "a Red ball"
    assert without_tag("a red, ball", "blue") == "a red, ball"
    assert counted(["a b", "b, c", "b"]) == [("b", 3), ("a", 1), ("c", 1)]


def test_tags_change_all_captions_or_those_with_another(datasets: Datasets, files: list[Path]) -> None:
    datasets.add("look", files)
    datasets.write_caption("look", "0.png", "a moon, night")
    datasets.write_caption("look", "2.png", "")
    assert datasets.add_tag("look", " fog ", among="night") == 2
    assert captions(datasets)["0.png"] == "a moon, night, fog" and captions(datasets)["2.png"] == ""
    assert datasets.remove_tag("look", "fog") == 2
    assert datasets.add_tag("look", "dusk") == 3 and captions(datasets)["2.png"] == "dusk"
    with pytest.raises(UserError, match="without a comma"):
        datasets.add_tag("look", "a, b")
