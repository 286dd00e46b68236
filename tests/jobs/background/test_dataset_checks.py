"""Checking datasets for the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.support.files.pictures import write_pictures
from tests.support.hostile import BAD_JSON
from tests.support.studios import wait_for
from wan_pipeline.clips.sheets.page import WIDTH
from wan_pipeline.jobs.background.dataset_checks import (
    CheckState,
    DatasetCheck,
    DatasetChecks,
    check,
    key_of,
    sheet_of,
)
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.trainer.dataset.check import Problem
from wan_pipeline.trainer.dataset.thumbnails import thumbnail_of


@pytest.fixture
def studio_with_pictures(studio: Studio, tmp_path: Path) -> Studio:
    files = sorted(write_pictures(tmp_path / "files", 5).iterdir())
    studio.datasets.add("look", files)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    studio.datasets.add("look", [broken])
    return studio


def test_it_counts_buckets_and_problems_and_makes_thumbnails(studio_with_pictures: Studio) -> None:
    studio = studio_with_pictures
    items = studio.datasets.items("look")
    end = check(studio.settings, "look", "demo", "style", "key")
    assert studio.dataset_checks.of("look") == end
    assert (end.state, end.images, end.clips) == (CheckState.DONE, 5, 0)
    assert {str(each.bucket): each.count for each in end.buckets} == {"192x320": 2, "320x192": 3}
    problems = {(finding.name, finding.problem) for finding in end.findings}
    assert ("broken.png", Problem.BROKEN) in problems
    assert Problem.NO_CAPTION not in {problem for _, problem in problems}  # the page counts them as they are now
    assert any("only stills" in sentence for sentence in end.advice)
    made = [thumbnail_of(studio.settings, item).is_file() for item in items]
    assert made == [True] * 5 + [False]
    with Image.open(sheet_of(studio.settings, "look")) as sheet:
        assert sheet.width == WIDTH


@pytest.mark.soak
def test_in_a_process_of_its_own(studio_with_pictures: Studio) -> None:
    checks = studio_with_pictures.dataset_checks
    assert checks.of("look") is None
    assert checks.start("look", "demo", "style", "key")
    assert not checks.start("look", "demo", "style", "key")
    wait_for(lambda: (found := checks.of("look")) and found.is_over, "the check")
    found = checks.of("look")
    assert found is not None and (found.state, found.key) == (CheckState.DONE, "key")


def test_nothing_to_train_on_is_a_sentence(studio: Studio, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    studio.datasets.add("look", [broken])
    end = check(studio.settings, "look", "demo", "style", "key")
    assert end.state is CheckState.FAILED and "can be used" in end.error


def test_the_key_follows_files_and_not_captions(studio_with_pictures: Studio) -> None:
    datasets = studio_with_pictures.datasets
    key = key_of(datasets.items("look"), "demo", "style")
    datasets.write_caption("look", "0.png", "another")
    assert key_of(datasets.items("look"), "demo", "style") == key
    assert key_of(datasets.items("look"), "demo", "character") != key
    datasets.remove_item("look", "0.png")
    assert key_of(datasets.items("look"), "demo", "style") != key


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_hostile_state_counts_as_none(settings: Settings, text: bytes) -> None:
    path = settings.cache / "datasets" / "look.json"
    path.parent.mkdir()
    path.write_bytes(text)
    assert DatasetChecks(settings).of("look") is None
    assert DatasetCheck(CheckState.CHECKING, "key").died(Path("log")).state is CheckState.FAILED
