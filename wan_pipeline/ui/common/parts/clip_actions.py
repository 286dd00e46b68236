"""What can be done with a finished clip wherever it is shown: on Create's stage, and in the gallery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates
from wan_pipeline.ui.common.files import served_copy
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.parts.undo import undo
from wan_pipeline.ui.common.room import Filler
from wan_pipeline.ui.common.templates import Templates

SHARED = "A copy without prompt and settings is being downloaded"


@dataclass(frozen=True)
class Done:
    """What was done to a clip, as a message; without a text the room shows it by itself."""

    text: str = ""
    undo: tuple[str, ...] = ()
    """Words for an Undo button: see `undo`."""
    download: Path | None = None
    """A file that the browser saves."""

    def toast(self, templates: Templates) -> str:
        return toast(templates, self.text, self.undo, self.download)


class ClipActions:
    """The buttons of `common/parts/clip_actions.html`. Each raises UserError."""

    def __init__(self, studio: Studio, filler: Filler) -> None:
        self._studio, self._gallery, self._filler = studio, studio.gallery, filler
        self.changes: Mapping[str, Callable[[Click], Done]] = {
            "star": self._star,
            "bin": self._bin,
            "unbin": self._unbin,
            "undo": lambda click: Done(undo(studio, click.text)),
            "share": self._share,
            "verify": self._verify,
        }
        """Actions by `data-act`."""

    def fill_form(self, click: Click) -> Updates:
        """The clip's settings in the form; with "vary", another seed."""
        clip = self._gallery.clip(click.subject)
        if clip.request_error:
            raise UserError(clip.request_error)
        draft = self._studio.requests.draft_of(clip.request)
        self._studio.models.find(draft.model or "")
        return self._filler.fill(replace(draft, seed=None) if click.act == "vary" else draft)

    def go_on(self, click: Click) -> Updates:
        """The form for a clip that starts where this one ends."""
        clip = self._gallery.clip(click.subject)
        if clip.request_error:
            raise UserError(clip.request_error)
        frame, draft = self._studio.derived.last_frame(clip.path), self._studio.requests.draft_of(clip.request)
        return self._filler.go_on_from(frame, draft)

    def _star(self, click: Click) -> Done:
        clip = self._gallery.clip(click.subject)
        self._gallery.star(clip.id, not clip.starred)
        return Done()

    def _bin(self, click: Click) -> Done:
        self._gallery.bin([click.subject])
        return Done("Moved to the bin", undo=(click.subject,))

    def _unbin(self, click: Click) -> Done:
        self._gallery.unbin([click.subject])
        return Done("Back in the gallery")

    def _share(self, click: Click) -> Done:
        copy = self._studio.derived.share_copy(self._gallery.clip(click.subject).path)
        return Done(SHARED, download=served_copy(copy))

    def _verify(self, click: Click) -> Done:
        self._studio.verifications.start(self._gallery.clip(click.subject).path)
        return Done()
