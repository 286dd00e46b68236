"""The HTML of the Models room: complete, and safe whatever a repository is called."""

from __future__ import annotations

from dataclasses import replace

from tests.support.pages import NASTY, TEMPLATES, Reader, assert_harmless
from tests.ui.models.cards import OWN, RUNNING, card, entry
from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.jobs.estimator import Estimate
from wan_pipeline.models.entries import Status
from wan_pipeline.models.hub.cache import RemoteFile, Repository
from wan_pipeline.models.hub.download import DownloadPlan
from wan_pipeline.ui.models import html
from wan_pipeline.ui.models.card import Card, progress_texts


def download_plan(repository: str, size: int, present_bytes: int = 0) -> DownloadPlan:
    files = (RemoteFile("a", size, None, ""),)
    return DownloadPlan(Repository(repository, "c" * 40, None, files), None, files, files, present_bytes)


def acts(page: str) -> list[str]:
    return [str(value) for name, value in Reader(page).attributes if name == "data-act"]


def test_a_card_has_its_buttons() -> None:
    cards = [card(Status.INSTALLED)]
    assert acts(html.grid(TEMPLATES, cards)) == ["use", "verify", "ask-remove"]


def test_a_running_download_is_on_the_first_shelf_with_its_progress() -> None:
    text = Reader(html.grid(TEMPLATES, [card(Status.AVAILABLE, transfer=RUNNING)])).text
    assert all(part in text for name, part in progress_texts(RUNNING).items() if name != "share")
    assert "On this computer" in text and "Available to download" not in text


def test_a_card_without_buttons_has_no_room_for_them() -> None:
    """`.model-acts:empty` in models.css, which a space would defeat."""
    assert '<div class="model-acts"></div>' in html.grid(TEMPLATES, [card(Status.ANNOUNCED)])


def test_names_from_outside_are_shown_as_text() -> None:
    nasty = entry(Status.DAMAGED, replace(OWN, title=NASTY, repo=NASTY, licence=NASTY), problem=NASTY)
    failed = ModelTransfer(TransferTask.DOWNLOAD, TransferState.FAILED, error=NASTY)
    estimate = Estimate(text=NASTY, seconds=1.0)
    for page in (
        html.grid(TEMPLATES, [Card(nasty, failed, estimate)]),
        html.download_answer(TEMPLATES, NASTY, nasty, download_plan(NASTY, 10**9), 10**12),
        html.refusal(TEMPLATES, NASTY, NASTY),
        html.ask_remove(TEMPLATES, Card(nasty), 2),
        html.asking(TEMPLATES, NASTY, NASTY),
    ):
        assert_harmless(page)


def test_a_disk_that_is_too_small_is_told_before_the_download() -> None:
    plan = download_plan("me/own", 5 * 10**9)
    small, large = (
        html.download_answer(TEMPLATES, "own", entry(Status.AVAILABLE, OWN), plan, free)
        for free in (3 * 10**9, 9 * 10**9)
    )
    assert "The disk is 2.0 GB short" in small and acts(small) == ["close"]
    assert acts(large) == ["fetch", "close"]


def test_a_download_that_was_started_says_what_is_left() -> None:
    plan = download_plan("me/own", 5 * 10**9, present_bytes=10**9)
    page = Reader(html.download_answer(TEMPLATES, "own", entry(Status.PARTIAL, OWN), plan, 9 * 10**9)).text
    assert "4.0 GB of 5.0 GB; the rest is here" in page and "Download 4.0 GB" in page
    assert f"me/own at {'c' * 12}" in page


def test_a_removal_warns_of_clips_that_need_the_model() -> None:
    one, two, none = (html.ask_remove(TEMPLATES, card(Status.INSTALLED), count) for count in (1, 2, 0))
    assert "1 clip in the queue needs it" in one and "2 clips in the queue need it" in two
    assert "queue" not in none and acts(none) == ["close", "remove", "close"]
