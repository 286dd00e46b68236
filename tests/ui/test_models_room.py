"""The Models room: cards that are right for every state, who may change what, and boxes that open no file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import huggingface_hub.constants
import pytest
from PIL import Image

from tests.ui.test_cards import NASTY, Reader
from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.models.cache import RemoteFile, Repository
from wan_pipeline.models.download import DownloadPlan
from wan_pipeline.models.entries import Entry, Status
from wan_pipeline.models.registry import DEMO, WAN21_T2V_1_3B, WAN30
from wan_pipeline.models.transfer import TransferProgress
from wan_pipeline.studio import Studio
from wan_pipeline.ui import models_cards, upload
from wan_pipeline.ui.cards import Names
from wan_pipeline.ui.models_cards import Card
from wan_pipeline.ui.models_handlers import ONLY_HERE, ModelHandlers, repository_of
from wan_pipeline.ui.models_tab import build_models

HERE = Path("hub") / "snapshots" / "abc"
OWN = replace(WAN21_T2V_1_3B, id="own", title="Own", repo="me/own")
FOLDER = replace(OWN, repo=None)
RUNNING = ModelTransfer(
    TransferTask.DOWNLOAD, TransferState.RUNNING, TransferProgress("vae/model.safetensors", 3 * 10**9, 29 * 10**9, 50e6)
)
DAMAGED = ModelTransfer(
    TransferTask.VERIFY, TransferState.DONE, problems=("a is not as published.", "b is not as published.")
)


def card(status: Status, spec: Any = WAN21_T2V_1_3B, fetch: ModelTransfer | None = None) -> Card:
    is_here = status in (Status.INSTALLED, Status.DAMAGED)
    return Card(Entry(spec, status, HERE if is_here else None, "abc" if is_here else None, 29.0), fetch)


def acts(html: str) -> list[str]:
    return [str(value) for name, value in Reader(html).attributes if name == "data-act"]


@pytest.mark.parametrize(
    ("card", "buttons"),
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
        (card(Status.AVAILABLE, fetch=RUNNING), ["stop"]),
        (card(Status.AVAILABLE, fetch=replace(RUNNING, is_stopping=True)), []),
    ],
)
def test_a_card_has_the_buttons_that_do_something(card: Card, buttons: list[str]) -> None:
    assert acts(models_cards.grid([card], is_local=True)) == buttons
    assert acts(models_cards.grid([card], is_local=False)) == [act for act in buttons if act == "use"]


def test_what_is_being_fetched_is_said_in_numbers() -> None:
    words = models_cards.words(RUNNING)
    assert (
        words["amount"] == "3.0 GB of 29.0 GB" and words["rate"] == "50.0 MB/s" and words["left"] == "8 min 40 s left"
    )
    assert words["share"] == "10.34%"
    text = Reader(models_cards.grid([card(Status.AVAILABLE, fetch=RUNNING)], is_local=True)).text
    assert all(word in text for name, word in words.items() if name != "share") and "On this computer" in text
    assert models_cards.words(ModelTransfer(TransferTask.VERIFY, TransferState.RUNNING))["verb"] == "Verifying"


def test_the_last_failure_is_on_the_card_until_it_is_mended() -> None:
    failed = ModelTransfer(TransferTask.DOWNLOAD, TransferState.FAILED, error="The Hub is gated.")
    assert "is gated" in models_cards.grid([card(Status.AVAILABLE, fetch=failed)], is_local=True)
    assert "is gated" not in models_cards.grid([card(Status.INSTALLED, fetch=failed)], is_local=True)
    assert "b is not as published" in models_cards.grid([card(Status.PARTIAL, fetch=DAMAGED)], is_local=True)


def test_names_from_outside_are_shown_as_text() -> None:
    spec = replace(OWN, title=NASTY, repo=NASTY, licence=NASTY)
    repository = Repository(NASTY, NASTY, None, (RemoteFile("a", 10**9, None, ""),))
    order = DownloadPlan(repository, None, repository.files, repository.files, 0)
    entry = Entry(spec, Status.DAMAGED, None, None, 1.0, NASTY)
    for html in (
        models_cards.grid(
            [Card(entry, ModelTransfer(TransferTask.DOWNLOAD, TransferState.FAILED, error=NASTY), NASTY)], is_local=True
        ),
        models_cards.ask_download(NASTY, entry, order, 10**12),
        models_cards.ask_refused(NASTY, NASTY),
        models_cards.ask_remove(Card(entry), 2),
        models_cards.asking(NASTY, NASTY),
    ):
        assert "script" not in Reader(html).tags
        assert not [name for name, _ in Reader(html).attributes if name.startswith("on")]


def test_a_disk_that_is_too_small_is_said_before_the_download() -> None:
    repository = Repository("me/own", "c" * 40, None, (RemoteFile("a", 5 * 10**9, None, ""),))
    order = DownloadPlan(repository, None, repository.files, repository.files, 0)
    entry = card(Status.AVAILABLE, OWN).entry
    small, large = (models_cards.ask_download("own", entry, order, free) for free in (3 * 10**9, 9 * 10**9))
    assert "The disk lacks 2.0 GB" in small and acts(small) == ["close"]
    assert acts(large) == ["fetch", "close"]


@pytest.mark.parametrize(
    ("typed", "name"),
    [(" me/own ", "me/own"), ("https://hub.example/me/own/tree/main", "me/own"), ("", ""), ("own", "own")],
)
def test_a_repository_may_be_given_by_its_page(typed: str, name: str) -> None:
    assert repository_of(typed) == name


# Who may change what


@pytest.fixture
def room(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelHandlers:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with gr.Blocks():
        view = build_models()
    return ModelHandlers(studio, Names({}, {}), view, SimpleNamespace(choose=lambda spec: {"chosen": spec.id}))


def visitor(address: str) -> gr.Request:
    return gr.Request(SimpleNamespace(client=SimpleNamespace(host=address), headers={"host": "127.0.0.1:7860"}))


def clicked(act: str, model_id: str) -> Any:
    return SimpleNamespace(act=act, clip=model_id, text="")


@pytest.mark.parametrize("act", ["ask", "fetch", "verify", "stop", "ask-remove", "remove"])
def test_who_comes_over_the_network_changes_nothing(room: ModelHandlers, settings: Any, act: str) -> None:
    answer = room.act(clicked(act, "demo"), visitor("203.0.113.9"))
    assert any(ONLY_HERE in str(value) for value in answer.values())
    assert not (settings.cache / "fetches").exists()
    room.act(clicked("use", "demo"), visitor("203.0.113.9"))
    assert ONLY_HERE in str(room.add("me/own", visitor("203.0.113.9")))
    assert ONLY_HERE in str(room.look_up({"ask": "me/own", "is_new": True}, visitor("203.0.113.9")))


@pytest.mark.parametrize("model_id", ["nothing", "../../etc/passwd", ""])
def test_only_models_that_are_known_are_fetched(room: ModelHandlers, settings: Any, model_id: str) -> None:
    for act in ("fetch", "verify", "stop", "remove", "ask-remove", "ask", "use"):
        assert "There is no model" in str(room.act(clicked(act, model_id), visitor("127.0.0.1")))
    assert not (settings.cache / "fetches").exists()


def test_the_bundled_model_stays(room: ModelHandlers) -> None:
    assert "cannot be removed" in str(room.act(clicked("remove", "demo"), visitor("127.0.0.1")))


def test_a_room_where_nothing_has_happened_is_left_as_it_is(room: ModelHandlers) -> None:
    shown = next(value for value in room.enter(visitor("127.0.0.1")).values() if isinstance(value, dict))
    assert list(room.follow(shown, visitor("127.0.0.1")).values()) == [json.dumps({})]


# Boxes


@pytest.mark.parametrize("name", ["UnopenedImage", "UnopenedVideo", "UnopenedFile", "UnopenedGallery"])
def test_a_box_opens_no_file_also_when_gradio_makes_it_anew(name: str, tmp_path: Path) -> None:
    """As it does whenever an event that may change the box has run."""
    broken, picture = tmp_path / "broken.png", tmp_path / "picture.png"
    broken.write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(picture)
    makers = {"Image": lambda: upload.image_upload(None), "Video": upload.video_upload, "File": upload.file_upload}
    box = {**makers, "Gallery": upload.gallery_upload}[name.removeprefix("Unopened")]()
    again = box.__class__(**{**box.constructor_args, "render": False})
    assert again.get_block_name() == name.removeprefix("Unopened").lower()
    if name == "UnopenedGallery":
        kept = again.postprocess([str(broken), str(picture)])
        assert [Path(path).name for path in again.preprocess(kept)] == ["broken.png", "picture.png"]
        assert again.preprocess(None) == [] and again.postprocess(None).root == []
    else:
        assert Path(again.preprocess(again.postprocess(broken))).read_bytes() == b"no picture"
        assert again.preprocess(None) is None and again.postprocess(None) is None
