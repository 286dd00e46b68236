"""The HTML of the Models room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wan_pipeline.models.entries import Entry, Status
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.models.card import Button, Card, Shelf
from wan_pipeline.ui.models.recommendation import recommend
from wan_pipeline.wording import data_size

if TYPE_CHECKING:
    from wan_pipeline.models.hub.download import DownloadPlan

RECOMMENDED = "Recommended for this machine"
SHELVES = (RECOMMENDED, *Shelf)


def head(templates: Templates, cards: Sequence[Card], free_bytes: int) -> str:
    """How many models are ready, what they take on the disk, and what is free."""
    ready = [card.entry for card in cards if card.entry.status is Status.INSTALLED]
    used = sum(entry.gigabytes for entry in ready) * 1e9
    return templates.render("models/head.html", count=len(ready), used_bytes=used, free_bytes=free_bytes)


def grid(templates: Templates, cards: Sequence[Card]) -> str:
    """All cards: the recommended one first, then a shelf for each task, with what fits the machine first."""
    recommended = recommend(cards)
    shelves: dict[str, list[Card]] = {shelf: [] for shelf in SHELVES}
    for card in sorted(cards, key=lambda card: card.rank):
        is_best = recommended is not None and card.spec.id == recommended.model_id
        shelves[RECOMMENDED if is_best else card.shelf].append(card)
    filled = [(title, found) for title, found in shelves.items() if found]
    return templates.render("models/grid.html", shelves=filled, why=recommended.reason if recommended else "")


def asking(templates: Templates, title: str, subject: str) -> str:
    """A dialog that waits for the answer about `subject`, a model's id or a repository."""
    return templates.render("models/asking.html", title=title, subject=subject)


def download_answer(templates: Templates, subject: str, entry: Entry, plan: DownloadPlan, free_bytes: int) -> str:
    """The exact size, the free space and the origin; the button only if the disk has enough space."""
    label = f"Download {data_size(plan.needed_bytes)}" if plan.needed_bytes else "Finish the download"
    button = Button("fetch", label, "download", "main") if plan.needed_bytes <= free_bytes else None
    return templates.render(
        "models/answer_download.html",
        subject=subject,
        spec=entry.spec,
        plan=plan,
        free_bytes=free_bytes,
        confirm=button,
    )


def refusal(templates: Templates, subject: str, message: str) -> str:
    """The answer where there is nothing to download, and why."""
    return templates.render("models/answer_refused.html", subject=subject, message=message)


def ask_remove(templates: Templates, card: Card, needed_by: int) -> str:
    """`needed_by` is the number of clips in the queue that use the model."""
    return templates.render(
        "models/ask_remove.html",
        model_id=card.spec.id,
        title=card.spec.title,
        removal=card.removal,
        needed_by=needed_by,
        confirm=Button("remove", card.removal.verb, "bin", "bad"),
    )
