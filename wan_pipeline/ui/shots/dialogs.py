"""What opens over the board: a take, large; takes with changed settings; what is asked before many are queued."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.finals import can_keep_layout, composition_note
from wan_pipeline.projects.shots.grids import PreparedGrid
from wan_pipeline.projects.shots.lists import new_shot
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.requests.grids.variations import Axis, axis
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click
from wan_pipeline.ui.common.files import served_copy
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.templates import Templates, clip_length, frame_size
from wan_pipeline.ui.shots import html
from wan_pipeline.wording import are_there, data_size, plural


class Dialogs:
    """Each method raises UserError. A subject is the row number of a shot, or the id of a take."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates

    # Again with other settings

    def again(self, click: Click, _: str) -> str:
        """The dialog; when settings are written in it also how many clips they make, and how long they take."""
        title = self._title(click.subject)
        if click.act not in ("axes", "look") or not click.text.strip():
            return html.again(self._templates, click.subject, title)
        text = click.text.strip()
        try:
            grid = self._grid(click.subject, text)
        except UserError as error:
            return html.again(self._templates, click.subject, title, text, str(error))
        return html.again(self._templates, click.subject, title, text, self._told(grid), len(grid.prepared.clips))

    def queue_again(self, click: Click, _: str) -> str:
        """Queue what the dialog told."""
        grid = self._grid(click.subject, click.text)
        return f"{plural(len(self._studio.takes.queue(grid.prepared)), 'take')} added to the queue"

    def _grid(self, subject: str, text: str) -> PreparedGrid:
        axes: list[Axis] = [axis(line) for line in text.splitlines() if line.strip()]
        shot = self._shot(subject)
        if subject.isdecimal():
            return self._studio.grids.of_shot(shot, Draft(), axes)
        clip = self._studio.gallery.clip(subject)
        return self._studio.grids.of_take(shot, clip, axes)

    def _told(self, grid: PreparedGrid) -> str:
        shared = f"{are_there(len(grid.shared), 'clip', 'it')}. " if grid.shared else ""
        if not grid.prepared.clips:
            return f"{shared}Nothing new is to be made."
        time = self._studio.estimates.of_requests(grid.prepared.requests).text
        return f"{shared}{time}, at most {data_size(grid.most_bytes)} on the disk."

    def _title(self, subject: str) -> str:
        shot = self._shot(subject)
        take = next((take for take in shot.takes if take.id == subject), None)
        return f"Shot {shot.address}, take {take.number}" if take else f"Shot {shot.address}"

    def _shot(self, subject: str) -> Shot:
        found = self._studio.shots.of_take(subject)
        return found or self._studio.shots.of_number(int(subject) if subject.isdecimal() else 0)

    # Before many are queued

    def ask_finish(self, clips: Sequence[Clip], *, is_one: bool = False) -> str:
        """Finals of these clips, all picked ones or one: how many, how long, and what will differ."""
        if not clips:
            raise UserError("Every picked take has its final, or waits for it; pick other takes first.")
        prepared = self._studio.finals.of(clips)
        requests = prepared.requests
        notes = [composition_note(clip.request, final) for clip, final in zip(clips, requests, strict=True)]
        text = self._studio.estimates.of_requests(requests).text
        text += self._studio.clip_works.told(job for _, job in prepared.clips)
        label = f"Make {plural(len(clips), 'final')}"
        told = list(dict.fromkeys(filter(None, notes)))
        act, subject = ("finish-one", clips[0].id) if is_one else ("finish-all", "")
        is_kept = any(can_keep_layout(clip.request, final) for clip, final in zip(clips, requests, strict=True))
        other = (f"{act}-kept", "Keep the layout") if is_kept else None
        return html.confirm(self._templates, act, f"{text}.", label, subject, told, other)

    def ask_open(self, project: str) -> str:
        """A first take of every shot without one."""
        shots = [shot for shot in self._studio.shots.all(project) if not shot.takes]
        if not shots:
            raise UserError("Every shot has a take; add shots, or make new takes one by one.")
        text = self._studio.estimates.of_requests(self._studio.takes.of_shots(shots).requests).text
        return html.confirm(self._templates, "draft-open", f"{text}.", f"Make {plural(len(shots), 'take')}")

    # One take

    def viewer(self, take_id: str) -> str:
        shot, clip = self._shot(take_id), self._studio.gallery.clip(take_id)
        take = next((take for take in shot.done if take.id == take_id), None)
        if take is None:
            raise UserError("That take is not finished yet; wait for it.")
        request = clip.request
        steps = f"{request.num_inference_steps} steps, guidance {request.guidance_scale:g}, seed {request.seed}"
        facts = f"{frame_size(request)}, {clip_length(request)}, {steps}"
        return html.viewer(self._templates, shot, take, self._studio.comments.of_clip(take_id), facts, request)

    def change_review(self, click: Click, _: str) -> str:
        """Mark a comment as done, open it again, or answer."""
        match click.act:
            case "answer" if click.text.strip():
                self._studio.comments.add(click.subject, click.text)
            case "done" | "undone":
                self._studio.comments.mark_done(int(click.subject), click.act == "done")
        return ""

    # Files

    def add_file(self, path: Path, project: str) -> tuple[int, tuple[str, ...]]:
        """Add the shots of a list to a project. Returns how many, and warnings."""
        with self._studio.lists.read(path, project=project) as content:
            content.check(skip_bad=False)
            rows = [row for row in content.rows if row.shot]
            if not rows:
                raise UserError(f"{path.name} names no shots; give it a column shot, or take it to the Queue.")
            pictures = self._studio.requests.pictures
            new = [new_shot(row.shot, row, pictures) for row in rows if row.shot]
            return len(self._studio.shots.ensure(project, new, update=True)), content.warnings

    def download(self, act: str, project: str) -> str:
        """Write a contact sheet or the review, and let the browser save it."""
        folder, notes = self._studio.settings.cache, tuple[str, ...]()
        if act == "sheet":
            path = folder / f"{project or 'shots'}_contact-sheet.pdf"
            notes = self._studio.contact_sheets.of_project(project, path)
        else:
            path = folder / f"{project or 'shots'}_review.pdf"
            self._studio.reviews.export(project, path)
        return toast(
            self._templates, " ".join([f"{path.name} is being downloaded", *notes]), download=served_copy(path)
        )
