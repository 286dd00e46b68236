"""What the card of a model says and offers in every state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.ui.models.cards import FOLDER, OWN, RUNNING, card, entry
from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.jobs.estimates.estimator import Estimate
from wan_pipeline.models.entries import Status
from wan_pipeline.models.registry import DEMO, WAN30
from wan_pipeline.ui.models.card import Card, Remark, progress_texts

DAMAGED = ModelTransfer(
    TransferTask.VERIFY, TransferState.DONE, problems=("a is not as published.", "b is not as published.")
)


@pytest.mark.parametrize(
    ("card", "acts"),
    [
        (card(Status.INSTALLED), ["use", "verify", "ask-remove"]),
        (card(Status.INSTALLED, DEMO), ["use", "verify"]),
        (card(Status.AVAILABLE), ["ask"]),
        (card(Status.AVAILABLE, OWN), ["ask", "ask-remove"]),
        (card(Status.PARTIAL), ["ask", "ask-remove"]),
        (card(Status.DAMAGED), ["ask", "ask-remove"]),
        (card(Status.DAMAGED, FOLDER), ["ask-remove"]),
        (card(Status.MISSING, FOLDER), ["ask-remove"]),
        (card(Status.ANNOUNCED, WAN30), []),
        (card(Status.AVAILABLE, transfer=RUNNING), ["stop"]),
        (card(Status.AVAILABLE, transfer=replace(RUNNING, is_stopping=True)), []),
    ],
)
def test_a_card_has_the_buttons_that_do_something(card: Card, acts: list[str]) -> None:
    assert [button.act for button in card.buttons] == acts


def test_progress_is_told_in_numbers() -> None:
    assert progress_texts(RUNNING) == {
        "verb": "Downloading",
        "amount": "3.0 GB of 29.0 GB",
        "rate": "50.0 MB/s",
        "left": "8 min 40 s left",
        "file": "vae/model.safetensors",
        "share": "10.34%",
    }
    assert progress_texts(replace(RUNNING, is_stopping=True))["verb"] == "Stopping"
    first = progress_texts(ModelTransfer(TransferTask.VERIFY, TransferState.RUNNING))
    assert first == {"verb": "Verifying", "amount": "", "rate": "", "left": "", "file": "", "share": "0.00%"}


def test_the_last_failure_is_shown_until_it_is_mended() -> None:
    failed = ModelTransfer(TransferTask.DOWNLOAD, TransferState.FAILED, error="The Hub is gated.")
    assert card(Status.AVAILABLE, transfer=failed).remarks == [Remark("The Hub is gated.", "bad")]
    assert card(Status.INSTALLED, transfer=failed).remarks == []
    assert card(Status.AVAILABLE, transfer=RUNNING).remarks == []


def test_a_verification_tells_what_it_found() -> None:
    found = [Remark("a is not as published.", "bad"), Remark("b is not as published.", "bad")]
    assert card(Status.PARTIAL, transfer=DAMAGED).remarks == found
    passed = replace(DAMAGED, problems=())
    assert card(Status.INSTALLED, transfer=passed).remarks == [Remark("Verified: all files are intact.", "good")]
    assert Card(entry(Status.DAMAGED, problem="a is gone."), passed).remarks == [Remark("a is gone.", "bad")]


def test_a_forecast_that_does_not_fit_stands_out() -> None:
    fits = Estimate(text="fits: 4.8 of 8.0 GB", seconds=240.0)
    assert Card(entry(Status.INSTALLED), estimate=fits).forecast == Remark("Fits: 4.8 of 8.0 GB")
    too_large = replace(fits, text="does not fit: it needs 12 GB", fits=False)
    assert Card(entry(Status.INSTALLED), estimate=too_large).forecast == Remark("Does not fit: it needs 12 GB", "bad")
    assert card(Status.INSTALLED).forecast is None


@pytest.mark.parametrize(
    ("card", "verb", "words"),
    [
        (card(Status.INSTALLED), "Remove", "29.0 GB will be deleted from the disk. Other programs"),
        (card(Status.PARTIAL), "Remove", "What was downloaded"),
        (card(Status.AVAILABLE, OWN), "Forget", "removed from this list"),
        (card(Status.INSTALLED, FOLDER), "Forget", "Its folder stays"),
    ],
)
def test_a_removal_says_what_becomes_of_the_files(card: Card, verb: str, words: str) -> None:
    assert card.removal.verb == verb and words in card.removal.consequence
