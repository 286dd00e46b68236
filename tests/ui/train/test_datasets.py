"""Datasets in the Train room: checked, captioned, tagged, and their forecast."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files.pictures import write_pictures
from tests.support.pages import NASTY, assert_harmless
from tests.ui.train.tab import Tab
from wan_pipeline.jobs.background.captions import CaptionsState, WrittenCaptions
from wan_pipeline.planning.hardware import Hardware, save_hardware
from wan_pipeline.studio import Studio
from wan_pipeline.trainer import trainable

GIB = 2**30


def test_a_dataset_is_checked_and_forecast_before_train(tab: Tab, studio: Studio) -> None:
    assert "Checking the dataset" in tab.text("report") and tab.text("estimate") == ""
    tab.checked()
    assert "5 images, 0 clips" in tab.text("report") and "only stills" in tab.text("report")
    assert "Contact sheet" in tab.text("report") and "duplicate" not in tab.text("grid")
    assert tab.text("estimate").startswith("80 steps")  # as long as the hardware is not known
    save_hardware(Hardware("cpu", "", 0, 0, 16 * GIB, 12 * GIB), studio.settings.cache)
    tab.fill(prompts="a red ball", steps="20")
    tab.keep(tab.events.refresh(tab.values))
    assert "Fits: " in tab.text("estimate") and "20 steps" in tab.text("estimate")
    assert "of samples" in tab.text("estimate")
    of_stills = tab.text("estimate")
    tab.fill(clips="8")  # of the base model
    tab.keep(tab.events.refresh(tab.values))
    assert "Fits: " in tab.text("estimate") and tab.text("estimate") != of_stills
    tab.fill(steps="-3", clips="")
    tab.keep(tab.events.refresh(tab.values))
    assert "'-3' is not a whole number" in tab.text("estimate")
    for dropout, says in (("0.3", "30 % of examples"), ("", "20 % of examples")):
        tab.fill(steps="", dropout=dropout)
        tab.keep(tab.events.refresh(tab.values))
        assert says in tab.text("recipe_words")
    tab.fill(dropout="often")
    tab.keep(tab.events.refresh(tab.values))
    assert "'often' is not a number" in tab.text("estimate")


def test_an_optimizer_without_its_library_is_refused_before_it_is_queued(
    tab: Tab, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainable, "find_spec", lambda _: None)
    tab.fill(name="eight", optimizer="adamw8bit")
    tab.checked()
    assert "needs bitsandbytes, which is not installed here" in tab.text("estimate")
    tab.keep(tab.events.train(tab.values))
    assert "pip install -r requirements-8bit.txt" in tab.text("notice") and not studio.trainings.all()


def test_captions_are_edited_replaced_and_their_pictures_removed(tab: Tab, studio: Studio) -> None:
    tab.click("caption", "0.png", NASTY, on=tab.data)
    assert_harmless(tab.values[tab.layout.grid])
    tab.fill(find="red ball", put="blue fish")
    tab.keep(tab.data.replace(tab.values))
    assert "4 captions changed" in tab.text("toast") and "a blue fish at night 3" in tab.text("grid")
    tab.click("remove-item", "1.png", on=tab.data)
    assert "1.png" not in tab.text("grid") and len(studio.datasets.items("look")) == 4
    tab.click("remove-item", "../x.png", on=tab.data)
    assert "any more" in tab.text("toast")


def test_what_is_wrong_with_a_picture_stands_beside_it(tab: Tab, studio: Studio, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "files" / "1.png").read_bytes())
    studio.datasets.add("look", [copy])
    tab.checked()
    assert tab.text("grid").count("duplicate") == 1 and "copy.png · blurred, duplicate" in " ".join(
        tab.text("grid").split()
    )


def test_files_and_starred_clips_go_into_the_dataset(tab: Tab, studio: Studio, tmp_path: Path) -> None:
    more = write_pictures(tmp_path / "more", 6) / "5.png"
    tab.fill(upload=[str(more)])
    tab.keep(tab.data.add_files(tab.values))
    assert "1 file added" in tab.text("toast") and "5.png" in tab.text("grid")
    tab.keep(tab.data.add_clips(tab.values))
    assert "no starred clip" in tab.text("toast")


def test_tags_are_counted_filtered_added_and_removed(tab: Tab, studio: Studio) -> None:
    studio.datasets.write_caption("look", "0.png", f"Fog, {NASTY}")
    tab.keep(tab.events.refresh(tab.values))
    assert "<script" not in tab.values[tab.layout.tags]
    assert "ball 4" in tab.text("tags") and "fog 1" in tab.text("tags")
    tab.click("tag", text="fog", on=tab.data)
    assert "1 caption with fog" in tab.text("tags") and tab.values[tab.layout.grid].count("caption-card") == 1
    tab.fill(add="moon")
    tab.keep(tab.data.add_tag(tab.values))
    assert studio.datasets.items("look")[0].caption.endswith(", moon")
    assert "1 caption changed" in tab.text("toast")
    tab.click("remove-tag", text="fog", on=tab.data)
    assert "Fog" not in studio.datasets.items("look")[0].caption
    assert tab.values[tab.layout.grid].count("caption-card") == 5


def test_only_models_in_the_cache_write_captions(tab: Tab, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tab.events.enter(tab.values)[tab.layout.captioning].visible is False
    monkeypatch.setattr("wan_pipeline.ui.train.events.captioners", lambda: ["a/one", "b/two"])
    assert tab.events.enter(tab.values)[tab.layout.captioner].value == "a/one"
    tab.fill(captioner="b/two")
    assert tab.events.enter(tab.values)[tab.layout.captioner].value == "b/two"
    tab.fill(captioner="../elsewhere")
    tab.keep(tab.data.write_captions(tab.values))
    assert "no model in the Hugging Face cache" in tab.text("toast")
    tab.checked()
    writing = WrittenCaptions(CaptionsState.WRITING, 2, 5)
    monkeypatch.setattr(studio.captions, "of", lambda _: writing)
    tab.keep(tab.events.refresh(tab.values))
    assert "Writing captions: 2 of 5" in tab.text("report")


def test_a_long_dataset_is_shown_a_page_at_a_time(tab: Tab, studio: Studio, tmp_path: Path) -> None:
    studio.datasets.add("look", sorted(write_pictures(tmp_path / "many", 26).iterdir()))
    tab.keep(tab.data.choose(tab.values))
    assert tab.values[tab.layout.grid].count("caption-card") == 24
    tab.click("next", on=tab.data)
    assert tab.values[tab.layout.grid].count("caption-card") == 7
    tab.fill(dataset="../elsewhere")
    tab.keep(tab.data.choose(tab.values))
    assert "cannot be the name of a dataset" in tab.text("report")
