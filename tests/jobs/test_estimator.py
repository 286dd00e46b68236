"""What is told before the click, for cards that are not here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import ModelError
from wan_pipeline.jobs.estimator import Estimator
from wan_pipeline.planning.costs import GIB
from wan_pipeline.planning.hardware import Hardware, Speeds, keep, kept

CARD = Hardware("cuda", "a card", 8 * GIB, int(7.5 * GIB), 64 * GIB, 48 * GIB, Speeds(60e12, 50e12, 20e9))
LARGE = make_request(
    model="wan2.1-t2v-14b", width=1280, height=720, num_frames=81, num_inference_steps=50, guidance_scale=5.0
)


def estimator(settings, studio):
    return Estimator(settings, studio.models, studio.requests, studio.jobs)


@pytest.fixture
def estimates(settings, studio):
    settings.make_folders()
    return estimator(settings, studio)


def with_free_memory(monkeypatch, gib):
    class Memory:
        total = available = gib * GIB

    monkeypatch.setattr("wan_pipeline.planning.hardware.psutil.virtual_memory", Memory)


def test_nothing_is_said_of_memory_until_somebody_has_looked(estimates):
    assert estimates.of_clip(make_request()).text.startswith("about ")
    assert estimates.of_model("wan2.1-t2v-14b") is None


def test_a_card_is_told_what_a_clip_takes_and_how_long(estimates, settings, monkeypatch):
    with_free_memory(monkeypatch, 48)
    keep(CARD, settings.cache)
    told = estimates.of_clip(LARGE)
    assert told.fits and told.text.startswith("fits: ") and " of 8.0 GB, about " in told.text
    assert estimates.of_model("wan2.2-t2v-a14b").endswith(" at 832 x 480")
    assert estimates.of_clip(replace(LARGE, width=832, height=480)).seconds < told.seconds / 3  # attention is quadratic


def test_what_does_not_fit_says_what_to_change(estimates, settings, monkeypatch):
    with_free_memory(monkeypatch, 48)
    keep(replace(CARD, vram_free=2 * GIB), settings.cache)
    told = estimates.of_clip(LARGE)
    assert not told.fits and "choose a smaller size" in told.text and "about" not in told.text
    with_free_memory(monkeypatch, 3)
    keep(CARD, settings.cache)
    assert "machine's memory" in estimates.of_clip(LARGE).text


def test_the_limit_of_the_settings_counts(settings, studio, monkeypatch):
    with_free_memory(monkeypatch, 48)
    settings.make_folders()
    keep(CARD, settings.cache)
    limited = replace(settings, memory_limit=5.0)
    assert " of 5.0 GB" in estimator(limited, studio).of_clip(LARGE).text
    wrong = replace(settings, plan="roomy")
    told = estimator(wrong, studio).of_clip(LARGE)
    assert not told.fits and "'roomy' is not a memory plan" in told.text


def test_an_unknown_model_is_an_error(estimates):
    with pytest.raises(ModelError):
        estimates.of_model("none")


def test_what_was_found_is_kept_and_a_damaged_file_is_none(settings):
    settings.make_folders()
    keep(CARD, settings.cache)
    found = kept(settings.cache)
    assert (found.name, found.speeds, found.vram_free) == (CARD.name, CARD.speeds, CARD.vram_free)
    assert found.ram_total != CARD.ram_total  # the machine's own is asked anew
    (settings.cache / "hardware.json").write_text("{", encoding="utf-8")
    assert kept(settings.cache) is None
