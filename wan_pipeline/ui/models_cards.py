"""What the Models room shows, as HTML: its head, a card a model, and the questions before something is done.

A button's `data-act` says what a click on it asks for, and the nearest `data-clip` for which model. Names that came
from outside are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.models import registry
from wan_pipeline.models.entries import Entry, Status
from wan_pipeline.models.spec import Availability
from wan_pipeline.ui.cards import notice
from wan_pipeline.ui.icons import action, sign
from wan_pipeline.wording import duration

if TYPE_CHECKING:
    from wan_pipeline.models.download import DownloadPlan

ABILITIES = {
    "text-to-video": "Text to video",
    "image-to-video": "Image to video",
    "first-last-frame": "First and last frame",
    "control": "Control video",
}
STATUS_WORDS = {
    Status.INSTALLED: "Ready",
    Status.DAMAGED: "Damaged",
    Status.PARTIAL: "Not all here",
    Status.AVAILABLE: "",
    Status.ANNOUNCED: "Announced",
    Status.UNSUPPORTED: "Not yet",
    Status.MISSING: "Folder gone",
}
SHELVES = (
    ("On this computer", (Status.INSTALLED, Status.DAMAGED, Status.PARTIAL, Status.MISSING)),
    ("To download", (Status.AVAILABLE,)),
    ("Not yet", (Status.UNSUPPORTED, Status.ANNOUNCED)),
)
FETCH_WORDS = {Status.AVAILABLE: "Download", Status.PARTIAL: "Resume", Status.DAMAGED: "Repair"}
REMARKS = {
    Status.PARTIAL: "A download was begun; what has come is kept.",
    Status.ANNOUNCED: "Its weights are not public. Once they are, add its repository above.",
}
"""Said in place of what the list of models says, which speaks of the command line."""


@dataclass(frozen=True)
class Card:
    """A model, what is being done to it or was last, and how it would do on this machine."""

    entry: Entry
    fetch: ModelTransfer | None = None
    forecast: str = ""

    @property
    def is_running(self) -> bool:
        return self.fetch is not None and self.fetch.is_running

    @property
    def is_imported(self) -> bool:
        """Whether it was added here: the registry's own models are always listed."""
        return self.entry.spec.id not in registry.MODELS


def head(cards: Sequence[Card], free_bytes: int) -> str:
    """How many are here, and the room there is."""
    here = [card.entry for card in cards if card.entry.status is Status.INSTALLED]
    count = f"{len(here)} ready to use, {amount(sum(entry.gigabytes for entry in here) * 1e9)}"
    return f"<h2>Models</h2><p>{count}. {free_bytes / 1e9:,.0f} GB free for more.</p>"


def grid(cards: Sequence[Card], is_local: bool) -> str:
    """All cards, on shelves. `is_local`: the person sits at the studio's own computer, and may change what is on it."""
    parts = []
    for title, states in SHELVES:
        shelf = "".join(_card(card, is_local) for card in cards if _shelf(card) in states)
        if shelf:
            parts.append(f'<h3 class="shelf">{title}</h3><div class="models" role="list">{shelf}</div>')
    return "".join(parts)


def words(fetch: ModelTransfer) -> dict[str, str]:
    """How a running transfer stands, piece by piece; `models.js` writes these into the card."""
    transfer = fetch.progress
    verb = "Downloading" if fetch.task is TransferTask.DOWNLOAD else "Verifying"
    left = transfer.eta_seconds
    share = transfer.done_bytes / transfer.total_bytes if transfer.total_bytes else 0.0
    return {
        "verb": "Stopping" if fetch.is_stopping else verb,
        "amount": f"{amount(transfer.done_bytes)} of {amount(transfer.total_bytes)}" if transfer.total_bytes else "",
        "rate": f"{amount(transfer.bytes_per_second)}/s" if transfer.bytes_per_second else "",
        "left": f"{duration(left)} left" if left else "",
        "file": transfer.file,
        "share": f"{share:.2%}",
    }


# One card ----------------------------------------------------------------------------------------------------------


def _shelf(card: Card) -> Status:
    """What is being fetched is on its way to this computer already."""
    return Status.PARTIAL if card.is_running and card.entry.status is Status.AVAILABLE else card.entry.status


def _card(card: Card, is_local: bool) -> str:
    entry, spec = card.entry, card.entry.spec
    known = () if entry.status is Status.ANNOUNCED else spec.abilities  # of these nothing is known
    abilities = "".join(f"<li>{text}</li>" for name, text in ABILITIES.items() if name in known)
    abilities = f'<ul class="abilities">{abilities}</ul>' if abilities else ""
    pill = STATUS_WORDS[entry.status]
    pill = f'<span class="pill {entry.status}">{pill}</span>' if pill and not card.is_running else ""
    text = card.forecast[:1].upper() + card.forecast[1:]
    kind = "forecast bad" if card.forecast.startswith("does not fit") else "forecast"
    forecast = f'<p class="{kind}">{escape(text)}</p>' if text else ""
    buttons = _buttons(card, is_local)
    return (
        f'<article role="listitem" class="model {entry.status}" data-clip="{escape(spec.id, quote=True)}">'
        f"<header><h4>{escape(spec.title)}</h4>{pill}</header>{abilities}"
        f"{_facts(card)}{forecast}{_remark(card)}"
        f"{_progress(card.fetch) if card.fetch and card.is_running else ''}"
        f'<div class="model-acts">{buttons}</div></article>'
    )


def _facts(card: Card) -> str:
    """Two lines: how much and under which licence; where it comes from."""
    entry, spec = card.entry, card.entry.spec
    is_here = entry.folder is not None
    size = amount(entry.gigabytes * 1e9)
    size = f"{size} on the disk" if is_here else f"about {size} to download"
    can_run = is_here or not spec.missing
    facts = [size if entry.gigabytes and can_run else "", "" if spec.licence == "unknown" else spec.licence]
    lines = [" · ".join(fact for fact in facts if fact), spec.repo or ""]
    return "".join(f'<p class="meta">{escape(line)}</p>' for line in lines if line)


def _remark(card: Card) -> str:
    """What the person should know before anything else: the last failure, what lacks, what was found."""
    fetch, entry = card.fetch, card.entry
    if card.is_running:
        return ""
    if fetch and (fetch.task is TransferTask.VERIFY or entry.status is not Status.INSTALLED):
        wrong = [text for text in (fetch.error, *fetch.problems) if text]
        if wrong:
            return "".join(_line(text, "bad") for text in wrong)
        if fetch.task is TransferTask.VERIFY and fetch.state is TransferState.DONE and entry.status is Status.INSTALLED:
            return _line("Verified: all its files are whole.", "good")
    text = REMARKS.get(entry.status, entry.problem)
    return _line(text, "bad" if entry.status is Status.DAMAGED else "") if text else ""


def _line(text: str, kind: str = "") -> str:
    return f'<p class="remark {kind}">{escape(text)}</p>'


def _progress(fetch: ModelTransfer) -> str:
    said = {name: escape(text) for name, text in words(fetch).items()}
    return (
        f'<div class="fetching" role="status"><p><strong data-verb>{said["verb"]}</strong>'
        f"<span data-amount>{said['amount']}</span><span data-rate>{said['rate']}</span>"
        f'<span class="eta" data-left>{said["left"]}</span></p>'
        f'<div class="bar"><i data-share style="width: {said["share"]}"></i></div>'
        f'<p class="meta" data-file>{said["file"]}</p></div>'
    )


def _buttons(card: Card, is_local: bool) -> str:
    """What this person can do with the model now; nothing else is shown."""
    is_ready = card.entry.status is Status.INSTALLED and not card.is_running
    use = action("use", "Use", "play", kind="main") if is_ready else ""
    return use + (_changes(card) if is_local else "")


def _changes(card: Card) -> str:
    entry, spec = card.entry, card.entry.spec
    if card.is_running:
        return "" if card.fetch and card.fetch.is_stopping else action("stop", "Stop", "close")
    buttons = []
    if entry.status is Status.INSTALLED:
        buttons.append(action("verify", "Verify", "verify"))
    elif entry.status in FETCH_WORDS and spec.repo:
        kind = "" if entry.status is Status.AVAILABLE else "main"
        buttons.append(action("ask", FETCH_WORDS[entry.status], "download", kind=kind))
    is_here = entry.folder is not None or entry.status is Status.PARTIAL
    if spec.availability is not Availability.BUNDLED and (is_here or card.is_imported):
        buttons.append(action("ask-remove", _removal(card)[0], "bin", kind="bad"))
    return "".join(buttons)


# Questions ---------------------------------------------------------------------------------------------------------


def asking(title: str, what: str) -> str:
    """Shown at once; `models.js` puts the answer into the slot if it is still open when it comes."""
    waiting = '<span class="spinner" aria-hidden="true"></span><p>Asking the Hugging Face Hub…</p>'
    return _dialog(title, f'<div class="ask-slot" data-for="{escape(what, quote=True)}">{waiting}</div>')


def ask_download(what: str, entry: Entry, order: DownloadPlan, free_bytes: int) -> str:
    """The size as it is, the room there is, and the button."""
    needed, total = order.needed_bytes, order.total_bytes
    kept = f" of {amount(total)}; the rest is here" if needed < total else ""
    facts = {
        "To fetch": f"{amount(needed)}{kept}",
        "Free on the disk": amount(free_bytes),
        "Licence": entry.spec.licence,
        "From": f"{order.repository.name} at {order.repository.commit[:12]}",
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    lacks = needed > free_bytes
    text = f"The disk lacks {amount(needed - free_bytes)}; free some space, or set HF_HOME to a folder on another one."
    label = f"Download {amount(needed)}" if needed else "Put it together"
    go = "" if lacks else action("fetch", label, "download", kind="main")
    return _answer(what, f'<dl class="ask">{rows}</dl>{notice(text) if lacks else ""}', entry.spec.id, go)


def ask_refused(what: str, message: str) -> str:
    return _answer(what, notice(message), "", "")


def ask_remove(card: Card, needed_by: int) -> str:
    """What goes, what stays, and who will miss it."""
    clips = "1 clip in the queue needs" if needed_by == 1 else f"{needed_by} clips in the queue need"
    warning = notice(f"{clips} it and will fail.") if needed_by else ""
    verb, text = _removal(card)
    go = action("remove", verb, "bin", kind="bad")
    return _dialog(f"{verb} {card.entry.spec.title}?", f"<p>{text}</p>{warning}{_choice(card.entry.spec.id, go)}")


def _removal(card: Card) -> tuple[str, str]:
    """(verb, what it means)."""
    entry = card.entry
    if card.is_imported and entry.spec.repo is None:
        return "Forget", "Its folder stays where it is; Wan Studio only forgets it."
    if entry.folder is None:
        kept = "What has come of it will be deleted." if entry.status is Status.PARTIAL else "It only leaves this list."
        return "Remove" if entry.status is Status.PARTIAL else "Forget", kept
    others = " Other programs that share the Hugging Face cache lose it too." if entry.revision else ""
    return "Remove", f"{amount(entry.gigabytes * 1e9)} will be deleted from the disk.{others}"


def _answer(what: str, body: str, model_id: str, go: str) -> str:
    return f'<div data-for="{escape(what, quote=True)}">{body}{_choice(model_id, go)}</div>'


def _choice(model_id: str, go: str) -> str:
    leave = action("close", "Not now" if go else "Close", "close")
    return f'<div class="choice" data-clip="{escape(model_id, quote=True)}">{go}{leave}</div>'


def _dialog(title: str, body: str) -> str:
    shut = sign("close", "Close", "close", kind="close")
    return (
        f'<div class="veil"><div class="dialog ask-dialog" role="dialog" aria-modal="true" '
        f'aria-label="{escape(title, quote=True)}">{shut}<h2>{escape(title)}</h2>{body}</div></div>'
    )


def amount(count: float) -> str:
    """Of bytes."""
    if count < 1e6:
        return f"{count / 1e3:,.0f} kB"
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
