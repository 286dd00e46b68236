"""Sentences for the person: typed text stays text, and how bad it is can be seen and heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import NASTY, TEMPLATES, Reader, assert_harmless
from wan_pipeline.ui.common.messages import estimate, hint, notice, toast


@pytest.mark.parametrize("message", [notice, estimate, hint, toast])
def test_what_was_typed_is_shown_as_text(message: object) -> None:
    assert_harmless(message(TEMPLATES, NASTY))


def test_an_alert_interrupts_the_screen_reader_and_a_status_does_not() -> None:
    assert notice(TEMPLATES, "No.") == '<p class="notice" role="alert">No.</p>'
    assert notice(TEMPLATES, "Yes.", "good") == '<p class="notice good" role="status">Yes.</p>'
    assert notice(TEMPLATES, "") == ""


def test_a_clip_that_does_not_fit_is_a_warning_and_no_error() -> None:
    text = "does not fit: 9.1 of 8.0 GB; choose 480p & fewer frames"
    assert estimate(TEMPLATES, text, fits=False) == (
        '<p class="estimate warning" role="status">Does not fit: 9.1 of 8.0 GB; choose 480p &amp; fewer frames</p>'
    )
    assert "warning" not in estimate(TEMPLATES, "fits: 6.8 of 8.0 GB, about 4 min")


def test_a_toast_offers_the_way_back_and_a_file() -> None:
    page = Reader(toast(TEMPLATES, "Moved to the bin", ["one", "two"]))
    assert ("data-ids", "one two") in page.attributes and "Undo" in page.text
    saving = Reader(toast(TEMPLATES, "Exported", download=Path("my queue.zip")))
    assert ("download", "my queue.zip") in saving.attributes and ("data-auto", None) in saving.attributes
    assert "Undo" not in saving.text


def test_equal_toasts_are_both_shown() -> None:
    assert toast(TEMPLATES, "Moved to the bin") != toast(TEMPLATES, "Moved to the bin")
