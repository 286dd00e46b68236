"""The HTML of the Models room: complete, and safe whatever a repository is called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.pages import NASTY, TEMPLATES, Reader, assert_harmless
from tests.ui.models.cards import OWN, RUNNING, card, entry
from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.jobs.estimates.estimator import Estimate
from wan_pipeline.models.entries import Status
from wan_pipeline.models.hub.cache import RemoteFile, Repository
from wan_pipeline.models.hub.download import DownloadPlan
from wan_pipeline.models.registry import MODELS, WAN21_T2V_1_3B
from wan_pipeline.ui.models import html
from wan_pipeline.ui.models.card import Card, progress_texts
from wan_pipeline.ui.models.recommendation import recommend


def download_plan(repository: str, size: int, present_bytes: int = 0) -> DownloadPlan:
    files = (RemoteFile("a", size, None, ""),)
    return DownloadPlan(Repository(repository, "c" * 40, None, files), None, files, files, present_bytes)


def acts(page: str) -> list[str]:
    return [str(value) for name, value in Reader(page).attributes if name == "data-act"]


def test_a_card_has_its_buttons() -> None:
    cards = [card(Status.INSTALLED)]
    assert acts(html.grid(TEMPLATES, cards)) == ["use", "verify", "ask-remove"]


def test_a_running_download_comes_first_with_its_progress() -> None:
    text = Reader(html.grid(TEMPLATES, [card(Status.AVAILABLE, OWN), card(Status.AVAILABLE, transfer=RUNNING)])).text
    assert all(part in text for name, part in progress_texts(RUNNING).items() if name != "share")
    assert text.index(WAN21_T2V_1_3B.title) < text.index(OWN.title)


def cards_of(**seconds: float) -> list[Card]:
    """Cards of registered models, by the last part of their ids; 0 for one that does not fit."""
    return [
        Card(
            entry(Status.INSTALLED if spec.id == "demo" else Status.AVAILABLE, spec),
            estimate=Estimate("", seconds[name], fits=seconds[name] > 0),
        )
        for spec in MODELS.values()
        if (name := spec.id.replace(".", "_").replace("-", "_")) in seconds
    ]


@pytest.mark.parametrize(
    ("seconds", "best", "reason"),
    [
        (
            {"demo": 4, "wan2_1_t2v_1_3b": 60, "wan2_1_t2v_14b": 500, "wan2_2_t2v_a14b": 900},
            "wan2.1-t2v-14b",
            "the largest model that makes a clip within 10 min here: about 8 min 20 s for 832 x 480 pixels",
        ),
        (
            {"demo": 4, "wan2_1_t2v_1_3b": 40000, "wan2_1_t2v_14b": 0},
            "demo",
            "the only one that makes a clip within 10 min here; Wan 2.1 Text to video 1.3B would take about 11 h",
        ),
        ({"demo": 4, "wan2_1_t2v_1_3b": 0}, "demo", "the only one that fits into this machine's memory"),
        ({"demo": 4, "wan2_1_t2v_1_3b": 60, "wan2_1_vace_1_3b": 70}, "wan2.1-t2v-1.3b", "the largest"),
    ],
    ids=["gpu", "cpu", "tiny", "control"],
)
def test_10_one_model_is_recommended_with_the_reason(seconds: dict[str, float], best: str, reason: str) -> None:
    cards = cards_of(**seconds)
    found = recommend(cards)
    assert found is not None and found.model_id == best and reason in found.reason
    page = html.grid(TEMPLATES, cards)
    first = next(value for name, value in Reader(page).attributes if name == "data-clip")
    assert first == best and "Recommended for this machine" in page


def test_10_nothing_is_recommended_for_a_machine_that_is_not_known() -> None:
    assert recommend([card(Status.AVAILABLE)]) is None
    assert "Recommended" not in html.grid(TEMPLATES, [card(Status.AVAILABLE)])


def test_10_models_stand_by_task_and_what_fits_comes_first() -> None:
    seconds = {"wan2_1_t2v_1_3b": 700, "wan2_1_t2v_14b": 0, "wan2_2_t2v_a14b": 900, "wan2_1_i2v_14b_480p": 800}
    page = html.grid(TEMPLATES, cards_of(demo=4, wan2_1_flf2v_14b=900, wan2_1_vace_14b=900, **seconds))
    shelves = [
        "Recommended for this machine",
        "Text to video",
        "Image to video",
        "First and last frame",
        "Control video",
    ]
    places = [page.index(f">{shelf}</h3>") for shelf in shelves]
    assert places == sorted(places)
    ids = [value for name, value in Reader(page).attributes if name == "data-clip"]
    assert ids[:4] == ["demo", "wan2.1-t2v-1.3b", "wan2.2-t2v-a14b", "wan2.1-t2v-14b"]


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
