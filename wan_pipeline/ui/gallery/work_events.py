"""Handlers of the sheet's forms for sound and other frames, and how their work is followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.clip_works.work import ClipWork, WorkKind, WorkOrder
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click
from wan_pipeline.ui.common.names import STAGES
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.gallery.forms import AddForm, FramesForm, MakeForm, read_form


class WorkEvents:
    """Each raises UserError."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates
        self.starts: Mapping[str, Callable[[str], WorkOrder]] = {
            "make-sound": lambda text: read_form(MakeForm, text).order,
            "frames": lambda text: read_form(FramesForm, text).order,
        }
        """By `data-act`, what a form asks for."""

    def start(self, click: Click) -> None:
        clip = self._studio.gallery.clip(click.subject)
        self._studio.clip_works.start(clip.id, self.starts[click.act](click.text))

    def stop(self, click: Click) -> None:
        self._studio.clip_works.stop(click.subject)

    def add_sound(self, click: Click, file: str | None, voice: str | None) -> str:
        """The id of a new clip with the uploaded file under it."""
        if not file:
            raise UserError("No sound file was chosen, or it has not arrived yet; choose a WAV, FLAC, MP3 or M4A file.")
        order = read_form(AddForm, click.text).order(Path(file), Path(voice) if voice else None)
        return self._studio.clip_works.add_sound(self._studio.gallery.clip(click.subject).path, order)

    def of(self, clip: Clip) -> ClipWork | None:
        return self._studio.clip_works.of(clip.id)

    def report(self, clip: Clip, work: ClipWork | None, *, saves: bool) -> str:
        """How the work stands; empty if there was none, or its file is gone. `saves`: the browser saves it at once."""
        if work is None or (work.file and not Path(work.file).is_file()):
            return ""
        return self._templates.render(
            "gallery/work.html",
            clip=clip.id,
            what="The sound" if work.order.kind is WorkKind.SOUND else f"The file with {work.order.frames}",
            state=work.state,
            is_over=work.is_over,
            stage=STAGES[work.stage].lower(),
            step=work.step,
            total=work.total,
            error=work.error,
            warnings=work.warnings,
            file=Path(work.file) if work.file else None,
            new_clip=work.clip,
            saves=saves,
        )
