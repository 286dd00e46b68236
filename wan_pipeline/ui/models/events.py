"""What happens in the Models room. Everybody may look; only at the studio's own computer may models be changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import gradio as gr

from wan_pipeline.errors import ModelError, UserError
from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.jobs.estimates.estimator import Estimate
from wan_pipeline.models.entries import Entry, Status
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.room import Filler
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.models import html
from wan_pipeline.ui.models.card import Card, progress_texts
from wan_pipeline.ui.models.layout import ModelsLayout
from wan_pipeline.wording import data_size


@dataclass(frozen=True)
class Question:
    """What a dialog asks the Hub about."""

    subject: str
    """A model's id, or a repository owner/name."""
    is_new: bool = False
    """It is a repository that is to be added."""


class ModelsEvents:
    """The handlers of the Models room."""

    def __init__(
        self, studio: Studio, templates: Templates, names: Names, layout: ModelsLayout, filler: Filler
    ) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        self._layout, self._filler = layout, filler
        self._changes: dict[str, Callable[[str], Updates]] = {
            "ask": self._ask_download,
            "fetch": lambda model_id: self._start(TransferTask.DOWNLOAD, model_id),
            "verify": lambda model_id: self._start(TransferTask.VERIFY, model_id),
            "stop": self._stop,
            "ask-remove": self._ask_remove,
            "remove": self._remove,
        }

    def enter(self) -> Updates:
        """The room is opened."""
        return self._show()

    def follow(self, shown: object) -> Updates:
        """Poll the transfers. The cards are drawn again only when one has started or ended, here or elsewhere.

        `shown` comes from the browser: the states of the transfers that its cards show, by model.
        """
        shown = shown if isinstance(shown, dict) else {}
        transfers = {model_id: self._studio.transfers.of(model_id) for model_id in self._studio.models.all_specs()}
        if shown and all(_state(transfer) == shown.get(model_id) for model_id, transfer in transfers.items()):
            return self._layout.updates(progress=_progress(transfers))
        updates = self._show()
        ended = [
            self._names.model(model_id)
            for model_id, transfer in transfers.items()
            if _has_arrived(transfer, str(shown.get(model_id, "")))
        ]
        if ended:
            updates |= self._toast(f"{' and '.join(ended)} {'is' if len(ended) == 1 else 'are'} ready to use")
        return updates

    def act(self, event: gr.EventData) -> Updates:
        """A click on a card or in a dialog. An error closes the dialog, becomes a toast, and refreshes the cards."""
        click = Click.of(event)
        try:
            match click.act:
                case "close":
                    return self._close()
                case "use":
                    return self._filler.choose(self._studio.models.any_spec(click.subject))
                case change:
                    return self._changes[change](click.subject)
        except UserError as error:
            return {**self._show(), **self._close(), **self._toast(str(error))}

    def add(self, text: str) -> Updates:
        """Open the dialog for a repository that is to be added. `look_up` answers it."""
        repository = repository_of(text or "")
        try:
            if not repository:
                raise ModelError("No repository was entered; write it as owner/name.")
        except UserError as error:
            return self._toast(str(error))
        return self._ask(f"Add {repository}", Question(repository, is_new=True))

    def look_up(self, question: Question | None) -> Updates:
        """Ask the Hub, and answer the open dialog."""
        if question is None:
            return self._layout.updates(answer="")
        try:
            answer = self._answer(question)
        except UserError as error:
            answer = html.refusal(self._templates, question.subject, str(error))
        return self._layout.updates(answer=answer, question=None)

    def refresh_after_adding(self, text: str) -> Updates:
        """Show the new card. The box is emptied if its repository is among the models now."""
        repositories = {spec.repo for spec in self._studio.models.specs().values()}
        is_added = repository_of(text or "") in repositories
        updates = self._show()
        return updates | (self._layout.updates(repository="") if is_added else {})

    # What is shown

    def _show(self) -> Updates:
        """The whole room, as the disk and the transfers are now."""
        studio = self._studio
        cards = [
            Card(entry, studio.transfers.of(entry.spec.id), self._estimate(entry))
            for entry in studio.model_manager.all_entries()
        ]
        self._names.models.update({card.spec.id: card.spec.title for card in cards})
        return self._layout.updates(
            head=html.head(self._templates, cards, studio.model_manager.free_bytes()),
            grid=html.grid(self._templates, cards),
            shown={card.spec.id: _state(card.transfer) for card in cards},
        )

    def _estimate(self, entry: Entry) -> Estimate | None:
        """None for a model that makes no clips."""
        return None if entry.spec.sound else self._studio.estimates.of_model(entry.spec.id)

    def _toast(self, text: str) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text))

    def _ask(self, title: str, question: Question) -> Updates:
        dialog = html.asking(self._templates, title, question.subject)
        return self._layout.updates(dialog=dialog, question=question)

    def _close(self) -> Updates:
        return self._layout.updates(dialog="", question=None)

    # What is done

    def _ask_download(self, model_id: str) -> Updates:
        return self._ask(f"Download {self._studio.models.any_spec(model_id).title}", Question(model_id))

    def _answer(self, question: Question) -> str:
        manager, subject = self._studio.model_manager, question.subject
        entry = manager.import_repository(subject) if question.is_new else manager.entry(subject)
        if entry.status is Status.INSTALLED:
            return html.refusal(self._templates, subject, f"{entry.spec.title} is already installed and ready to use.")
        plan = manager.download_plan(entry.spec.id)
        return html.download_answer(self._templates, subject, entry, plan, manager.free_bytes())

    def _start(self, task: TransferTask, model_id: str) -> Updates:
        self._studio.models.any_spec(model_id)  # raises for an unknown model
        self._studio.transfers.start(task, model_id)
        return {**self._show(), **self._close()}

    def _stop(self, model_id: str) -> Updates:
        self._studio.models.any_spec(model_id)
        self._studio.transfers.stop(model_id)
        return self._show()

    def _ask_remove(self, model_id: str) -> Updates:
        card = Card(self._studio.model_manager.entry(model_id))
        needed_by = sum(job.request.model == model_id for job in self._studio.jobs.active())
        return self._layout.updates(dialog=html.ask_remove(self._templates, card, needed_by))

    def _remove(self, model_id: str) -> Updates:
        title = self._studio.models.any_spec(model_id).title
        self._studio.transfers.forget(model_id)
        freed = self._studio.model_manager.remove(model_id)
        text = f"{title} removed, {data_size(freed)} freed" if freed else f"{title} removed from the list"
        return {**self._show(), **self._close(), **self._toast(text)}


def repository_of(text: str) -> str:
    """owner/name from what was typed: that itself, or the address of any of the repository's pages."""
    text = text.strip()
    if "://" not in text:
        return text
    return "/".join(urlsplit(text).path.strip("/").split("/")[:2])


def _state(transfer: ModelTransfer | None) -> str:
    """While this stays the same, so does the card, apart from its progress."""
    return f"{transfer.task} {transfer.state} {transfer.is_stopping}" if transfer else ""


def _progress(transfers: dict[str, ModelTransfer | None]) -> str:
    """How far the running transfers are, as JSON for models.js."""
    return json.dumps(
        {model_id: progress_texts(each) for model_id, each in transfers.items() if each and each.is_running}
    )


def _has_arrived(transfer: ModelTransfer | None, before: str) -> bool:
    """Whether a download that was running has succeeded. `before` is its state then."""
    was_downloading = before.startswith(f"{TransferTask.DOWNLOAD} {TransferState.RUNNING}")
    return was_downloading and transfer is not None and transfer.state is TransferState.DONE
