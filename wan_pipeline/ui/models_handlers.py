"""What happens in the Models room: parse, ask the models or their downloads, map the answer.

Everybody who can open the page may look; only who sits at the studio's own computer may change what is on its disk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from huggingface_hub import constants

from wan_pipeline.errors import ModelError, UserError
from wan_pipeline.jobs.background.transfers import TransferState, TransferTask
from wan_pipeline.models.entries import Status
from wan_pipeline.storage.files import RESERVE_BYTES
from wan_pipeline.studio import Studio
from wan_pipeline.ui import models_cards
from wan_pipeline.ui.cards import Names
from wan_pipeline.ui.filling import Filler
from wan_pipeline.ui.folder import is_at_this_computer
from wan_pipeline.ui.gallery_cards import toast
from wan_pipeline.ui.models_cards import Card
from wan_pipeline.ui.models_tab import ModelsTab

Updates = dict[Any, Any]
ONLY_HERE = "Models are added, downloaded and removed at the computer that Wan Studio runs on."


class ModelHandlers:
    """Events of the Models room."""

    def __init__(self, studio: Studio, names: Names, view: ModelsTab, filler: Filler) -> None:
        self._studio, self._names, self._view, self._filler = studio, names, view, filler
        self._models, self._fetches = studio.model_manager, studio.transfers
        self._acts: dict[str, Callable[[str], Updates]] = {
            "ask": self._ask,
            "fetch": lambda model_id: self._start(TransferTask.DOWNLOAD, model_id),
            "verify": lambda model_id: self._start(TransferTask.VERIFY, model_id),
            "stop": self._stop,
            "ask-remove": self._ask_remove,
            "remove": self._remove,
        }

    def enter(self, request: gr.Request) -> Updates:
        """The room is opened: what is on the disk now."""
        return self._show(is_at_this_computer(request))

    def leave(self) -> Updates:
        return {self._view.timer: gr.Timer(active=False)}

    def follow(self, shown: dict[str, Any], request: gr.Request) -> Updates:
        """How the transfers go. The disk is only looked at when one of them has begun or ended, here or elsewhere."""
        states = self._states(shown.get("ids", []))
        if states == shown.get("states"):
            return {self._view.pulse: self._pulse(states)}
        updates = self._show(is_at_this_computer(request))
        ended = [model_id for model_id in states if self._has_come(model_id, shown["states"].get(model_id, ""))]
        text = " and ".join(self._studio.models.spec(model_id).title for model_id in ended)
        return {**updates, **({self._view.toast: toast(f"{text} is ready to use")} if ended else {})}

    def act(self, event: gr.EventData, request: gr.Request) -> Updates:
        """A click on anything. What goes wrong is said at the foot of the page, and the cards are made true."""
        if event.act == "close":
            return self._close()
        try:
            if event.act == "use":
                return self._filler.choose(self._studio.models.spec(event.clip))
            _check_place(request)
            return self._acts[event.act](event.clip)
        except UserError as error:
            return {**self._show(is_at_this_computer(request)), **self._close(), self._view.toast: toast(str(error))}

    def add(self, text: str, request: gr.Request) -> Updates:
        """A repository that was named: first the question is shown, then `look_up` asks the Hub."""
        name = repository_of(text or "")
        try:
            _check_place(request)
            if not name:
                raise ModelError("There is no repository yet; write it as owner/name.")
        except UserError as error:
            return {self._view.toast: toast(str(error))}
        over = models_cards.asking(f"Add {name}", name)
        return {self._view.over: over, self._view.look: {"ask": name, "is_new": True}}

    def look_up(self, look: dict[str, Any], request: gr.Request) -> Updates:
        """What was asked about: how much there is to fetch, by the Hub."""
        if not look["ask"]:
            return {self._view.answer: ""}
        try:
            _check_place(request)
            answer = self._found(look["ask"], look["is_new"])
        except UserError as error:
            answer = models_cards.ask_refused(look["ask"], str(error))
        return {self._view.answer: answer, self._view.look: {"ask": "", "is_new": False}}

    def refresh_after_adding(self, text: str, request: gr.Request) -> Updates:
        """The new card, and an empty box once the repository is among the models."""
        repos = {spec.repo for spec in self._studio.models.specs().values()}
        is_added = repository_of(text or "") in repos
        return {**self._show(is_at_this_computer(request)), self._view.repository: "" if is_added else gr.skip()}

    # What is shown

    def _show(self, is_local: bool) -> Updates:
        cards = [
            Card(entry, self._fetches.of(entry.spec.id), self._forecast(entry.spec.id))
            for entry in self._models.entries()
        ]
        self._names.models.update({card.entry.spec.id: card.entry.spec.title for card in cards})
        states = self._states([card.entry.spec.id for card in cards])
        return {
            self._view.head: models_cards.head(cards, free_bytes()),
            self._view.adding: gr.Row(visible=is_local),
            self._view.grid: models_cards.grid(cards, is_local),
            self._view.timer: gr.Timer(active=any(card.is_running for card in cards)),
            self._view.shown: {"ids": list(states), "states": states},
        }

    def _forecast(self, model_id: str) -> str:
        """Whether the model fits this machine; empty while that is not known."""
        estimate = self._studio.estimates.of_model(model_id)
        return estimate.text if estimate else ""

    def _states(self, ids: list[str]) -> dict[str, str]:
        """In a word each; while the words stay the same the cards do."""
        found = {model_id: self._fetches.of(model_id) for model_id in ids}
        return {
            model_id: f"{fetch.task} {fetch.state} {fetch.is_stopping}" if fetch else ""
            for model_id, fetch in found.items()
        }

    def _pulse(self, states: dict[str, str]) -> str:
        running = {model_id: fetch for model_id in states if (fetch := self._fetches.of(model_id)) and fetch.is_running}
        return json.dumps({model_id: models_cards.words(fetch) for model_id, fetch in running.items()})

    def _has_come(self, model_id: str, before: str) -> bool:
        """Whether a download that was under way has ended well."""
        fetch = self._fetches.of(model_id)
        was_running = before.startswith(f"{TransferTask.DOWNLOAD} {TransferState.RUNNING}")
        return was_running and fetch is not None and fetch.state is TransferState.DONE

    # What is done

    def _ask(self, model_id: str) -> Updates:
        title = f"Download {self._studio.models.spec(model_id).title}"
        return {
            self._view.over: models_cards.asking(title, model_id),
            self._view.look: {"ask": model_id, "is_new": False},
        }

    def _found(self, what: str, is_new: bool) -> str:
        entry = self._models.import_repository(what) if is_new else self._models.entry(what)
        if entry.status is Status.INSTALLED:
            return models_cards.ask_refused(what, f"{entry.spec.title} is here already, and ready to use.")
        order = self._models.download_plan(entry.spec.id)
        return models_cards.ask_download(what, entry, order, free_bytes() - RESERVE_BYTES)

    def _start(self, task: TransferTask, model_id: str) -> Updates:
        self._studio.models.spec(model_id)  # known, so that its id is a file's name
        self._fetches.start(task, model_id)
        return {**self._show(is_local=True), **self._close()}

    def _stop(self, model_id: str) -> Updates:
        self._studio.models.spec(model_id)
        self._fetches.stop(model_id)
        return self._show(is_local=True)

    def _ask_remove(self, model_id: str) -> Updates:
        needed_by = sum(job.request.model == model_id for job in self._studio.jobs.active())
        card = Card(self._models.entry(model_id))
        return {self._view.over: models_cards.ask_remove(card, needed_by)}

    def _remove(self, model_id: str) -> Updates:
        title = self._studio.models.spec(model_id).title
        self._fetches.forget(model_id)
        freed = self._models.remove(model_id)
        text = f"{title} removed, {models_cards.amount(freed)} freed" if freed else f"{title} is forgotten"
        return {**self._show(is_local=True), **self._close(), self._view.toast: toast(text)}

    def _close(self) -> Updates:
        return {self._view.over: "", self._view.look: {"ask": "", "is_new": False}}


def repository_of(text: str) -> str:
    """owner/name, also out of a page's address."""
    path = urlsplit(text.strip()).path if "://" in text else text
    return "/".join(path.strip().strip("/").split("/")[:2]) if "://" in text else path.strip()


def free_bytes() -> int:
    """Of the disk of the Hugging Face cache, whose folder need not be there yet."""
    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _check_place(request: gr.Request) -> None:
    """Raises ModelError for somebody who has come over the network."""
    if not is_at_this_computer(request):
        raise ModelError(ONLY_HERE)
