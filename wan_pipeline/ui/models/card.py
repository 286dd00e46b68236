"""What the card of one model says, and the buttons it has. No HTML."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.jobs.estimates.estimator import Estimate
from wan_pipeline.models import registry
from wan_pipeline.models.entries import Entry, Status
from wan_pipeline.models.spec import Availability, LastImage, Mode, ModelSpec
from wan_pipeline.wording import data_size, duration, upper_first

ABILITIES = {
    "text-to-video": "Text to video",
    "image-to-video": "Image to video",
    "first-last-frame": "First and last frame",
    "control": "Control video",
}
PILLS = {
    Status.INSTALLED: "Ready",
    Status.DAMAGED: "Damaged",
    Status.PARTIAL: "Incomplete",
    Status.AVAILABLE: "",
    Status.ANNOUNCED: "Announced",
    Status.UNSUPPORTED: "Not supported yet",
    Status.MISSING: "Folder missing",
}
DOWNLOADS = {Status.AVAILABLE: "Download", Status.PARTIAL: "Resume", Status.DAMAGED: "Repair"}
REMARKS = {
    Status.PARTIAL: "A download was started; what it brought is kept.",
    Status.ANNOUNCED: "Its weights are not public yet. Once they are, add its repository above.",
}
"""Shown instead of `Entry.problem`, which says what to do on the command line."""


class Shelf(StrEnum):
    """What a model is for: the cards stand in groups."""

    TEXT = "Text to video"
    TEXT_AND_IMAGE = "Text and image to video"
    IMAGE = "Image to video"
    FIRST_AND_LAST = "First and last frame"
    CONTROL = "Control video"
    SOUND = "Sound for clips"
    NOT_YET = "Not available yet"


class Button(NamedTuple):
    """Arguments of the template `action`."""

    act: str
    label: str
    icon: str
    kind: str = ""


class Remark(NamedTuple):
    text: str
    kind: str = ""
    """CSS class: good, bad or none."""


class Removal(NamedTuple):
    verb: str
    consequence: str


@dataclass(frozen=True)
class Card:
    """One model, as the page shows it."""

    entry: Entry
    transfer: ModelTransfer | None = None
    """The download or verification that is running, or else the last one."""
    estimate: Estimate | None = None
    """Estimate for a clip at the model's own settings."""

    @property
    def spec(self) -> ModelSpec:
        return self.entry.spec

    @property
    def running(self) -> ModelTransfer | None:
        return self.transfer if self.transfer and self.transfer.is_running else None

    @property
    def progress(self) -> dict[str, str]:
        """See `progress_texts`; empty unless something is running."""
        return progress_texts(self.running) if self.running else {}

    @property
    def shelf(self) -> Shelf:
        spec = self.spec
        if self.entry.status in (Status.UNSUPPORTED, Status.ANNOUNCED):
            return Shelf.NOT_YET
        if spec.sound:
            return Shelf.SOUND
        if spec.takes_control:
            return Shelf.CONTROL
        if spec.last_image is LastImage.REQUIRED:
            return Shelf.FIRST_AND_LAST
        if len(spec.modes) > 1:
            return Shelf.TEXT_AND_IMAGE
        return Shelf.TEXT if Mode.TEXT_TO_VIDEO in spec.modes else Shelf.IMAGE

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Sorts a shelf: what fits the machine, of that what is on it, of that what is quicker."""
        estimate = self.estimate or Estimate("", 0.0)
        is_here = self.running is not None or self.entry.status is not Status.AVAILABLE
        return not estimate.fits, not is_here, estimate.seconds

    @property
    def pill(self) -> str:
        if self.entry.status is Status.MISSING and self.spec.sound:
            return "To convert"
        return "" if self.running else PILLS[self.entry.status]

    @property
    def abilities(self) -> list[str]:
        if self.entry.status is Status.ANNOUNCED:  # nothing is known yet
            return []
        if self.spec.sound:
            return [upper_first(self.spec.sound.makes)]
        return [title for ability, title in ABILITIES.items() if ability in self.spec.abilities]

    @property
    def facts(self) -> list[str]:
        """Two lines: size and licence, then the repository. A line without content is left out."""
        licence = "" if self.spec.licence == "unknown" else self.spec.licence
        lines = [" · ".join(fact for fact in (self._size, licence) if fact), self.spec.repo or ""]
        return [line for line in lines if line]

    @property
    def forecast(self) -> Remark | None:
        """Whether the model fits into memory, and how long a clip takes."""
        if self.estimate is None:
            return None
        text = self.estimate.text
        return Remark(upper_first(text), "" if self.estimate.fits else "bad")

    @property
    def remarks(self) -> list[Remark]:
        """What went wrong last, else the result of a verification, else what is missing of the model."""
        status, transfer = self.entry.status, self.transfer
        if self.running:
            return []
        if transfer and (transfer.task is TransferTask.VERIFY or status is not Status.INSTALLED):
            failures = [text for text in (transfer.error, *transfer.problems) if text]
            if failures:
                return [Remark(text, "bad") for text in failures]
            if status is Status.INSTALLED and transfer.state is TransferState.DONE:
                return [Remark("Verified: all files are intact.", "good")]
        text = REMARKS.get(status, self.entry.problem)
        return [Remark(text, "bad" if status is Status.DAMAGED else "")] if text else []

    @property
    def buttons(self) -> list[Button]:
        is_ready = self.entry.status is Status.INSTALLED and not self.running and not self.spec.sound
        use = [Button("use", "Use", "play", "main")] if is_ready else []
        return use + self._changes()

    @property
    def removal(self) -> Removal:
        """What a removal is called, and what it does to the disk."""
        entry = self.entry
        if self.is_imported and entry.spec.repo is None:
            return Removal("Forget", "Its folder stays where it is; Wan Studio only removes it from this list.")
        if entry.status is Status.PARTIAL and entry.folder is None:
            return Removal("Remove", "What was downloaded of it will be deleted.")
        if entry.folder is None:
            return Removal("Forget", "It is only removed from this list.")
        others = " Other programs that share the Hugging Face cache lose it too." if entry.revision else ""
        return Removal("Remove", f"{data_size(entry.gigabytes * 1e9)} will be deleted from the disk.{others}")

    @property
    def is_imported(self) -> bool:
        """Whether the user added it. The registry's own models are always listed."""
        return self.spec.id not in registry.MODELS and not self.spec.sound

    @property
    def _size(self) -> str:
        is_here = self.entry.folder is not None
        if not self.entry.gigabytes or (self.spec.missing and not is_here):
            return ""
        size = data_size(self.entry.gigabytes * 1e9)
        return f"{size} on disk" if is_here else f"about {size} to download"

    def _changes(self) -> list[Button]:
        if self.running:
            return [] if self.running.is_stopping else [Button("stop", "Stop", "close")]
        status, buttons = self.entry.status, []
        if status is Status.INSTALLED:
            buttons.append(Button("verify", "Verify", "verify"))
        elif status in DOWNLOADS and self.spec.repo:
            kind = "" if status is Status.AVAILABLE else "main"
            buttons.append(Button("ask", DOWNLOADS[status], "download", kind))
        is_here = self.entry.folder is not None or status is Status.PARTIAL
        if self.spec.availability is not Availability.BUNDLED and (is_here or self.is_imported):
            buttons.append(Button("ask-remove", self.removal.verb, "bin", "bad"))
        return buttons


def progress_texts(transfer: ModelTransfer) -> dict[str, str]:
    """How far a transfer is, by the names that `card.html` and `models.js` have for its parts."""
    progress = transfer.progress
    done, total = progress.done_bytes, progress.total_bytes
    verb = "Downloading" if transfer.task is TransferTask.DOWNLOAD else "Verifying"
    return {
        "verb": "Stopping" if transfer.is_stopping else verb,
        "amount": f"{data_size(done)} of {data_size(total)}" if total else "",
        "rate": f"{data_size(progress.bytes_per_second)}/s" if progress.bytes_per_second else "",
        "left": f"{duration(progress.eta_seconds)} left" if progress.eta_seconds else "",
        "file": progress.file,
        "share": f"{done / total if total else 0:.2%}",
    }
