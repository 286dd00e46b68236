"""Handlers of the Gallery's filters, of its clips and of their buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import gradio as gr

from wan_pipeline.clips.gallery import MAX_RATING
from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.folder import is_at_this_computer, open_folder
from wan_pipeline.ui.common.messages import notice, toast
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.parts.clip_actions import ClipActions
from wan_pipeline.ui.common.parts.export_choice import chosen_export
from wan_pipeline.ui.common.parts.many_clips import LEAVES, MAX_COMPARED, ManyClips
from wan_pipeline.ui.common.parts.reports import export_report, verification_report
from wan_pipeline.ui.common.projects import chosen_project
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.gallery import html
from wan_pipeline.ui.gallery.finishing import finishing_of
from wan_pipeline.ui.gallery.grid import Call, Grid, newest, without
from wan_pipeline.ui.gallery.layout import GalleryLayout, Selection
from wan_pipeline.ui.gallery.work_events import WorkEvents
from wan_pipeline.wording import plural


class GalleryEvents:
    """Each handler takes the values of `layout.inputs` and returns updates."""

    def __init__(
        self, studio: Studio, templates: Templates, names: Names, layout: GalleryLayout, links: PageLinks
    ) -> None:
        self._studio, self._gallery, self._names = studio, studio.gallery, names
        self._templates, self._layout = templates, layout
        self._grid = Grid(studio, templates, layout)
        self._clips, self._project = ClipActions(studio, links.filler), links.project
        self._work = WorkEvents(studio, templates)
        self._many = ManyClips(studio)
        self._actions: Mapping[str, Callable[[Call], Updates]] = {
            "show-new": lambda call: self._grid.draw(call.values, newest(call.selection)),
            **dict.fromkeys(("older", "newer"), self._grid.turn_page),
            "open": lambda call: self._open(call, call.click.subject),
            **dict.fromkeys(("next", "previous"), self._step),
            "close": lambda call: self._close(call.selection),
            **dict.fromkeys(self._clips.changes, self._change_clip),
            "note": self._note,
            "export": self._export,
            "add-sound": self._add_sound,
            **dict.fromkeys((*self._work.starts, "stop-work"), self._change_work),
            **dict.fromkeys(("pick", "pick-page", "unpick"), self._grid.pick),
            **{f"rate-{rating}": self._judge for rating in range(MAX_RATING + 1)},
            **dict.fromkeys(("pick-take", "reject-take"), self._judge),
            "compare": self._compare,
            **dict.fromkeys(self._many.actions, self._change_many),
            "folder": self._open_folder,
            **dict.fromkeys(("reuse", "vary"), lambda call: self._leave(call, self._clips.fill_form(call.click))),
            "frame": lambda call: self._leave(call, self._clips.go_on(call.click)),
        }

    def enter(self, values: Values) -> Updates:
        """Show what is in the clips folder now, and what there is to filter by."""
        self._gallery.rescan()
        project = chosen_project(self._studio, values[self._project])
        offered, values = self._layout.offer(self._gallery.facets(), self._names, values, project)
        return {**offered, **self._grid.draw(values, replace(values[self._layout.selection], until=None))}

    def open_project(self, values: Values) -> Updates:
        """Another project in the head of the page: show its clips."""
        layout, project = self._layout, chosen_project(self._studio, values[self._project])
        wanted = {**values, layout.project: project}
        offered, values = layout.offer(self._gallery.facets(), self._names, wanted, project)
        own = gr.Dropdown(choices=offered[layout.project].choices, value=project, visible=True)
        return {**offered, layout.project: own, **self.search(values)}

    def search(self, values: Values) -> Updates:
        """Other words or filters: show the first page of what they find."""
        return self._grid.draw(values, newest(values[self._layout.selection]))

    def look_for_new(self, values: Values) -> Updates:
        """Announce clips that have come since the grid was drawn. The grid itself stays as it is."""
        return self._layout.updates(arrivals=self._grid.arrivals(values, values[self._layout.selection].until))

    def empty_bin(self, values: Values) -> Updates:
        try:
            text = f"{plural(self._gallery.empty_bin(), 'clip')} deleted for good"
        except UserError as error:
            text = str(error)
        return {**self.search(values), **self._toast(text)}

    def act(self, values: Values, event: gr.EventData, request: gr.Request) -> Updates:
        """A click on any button, or an edited note. What goes wrong is said under the open clip, else in a toast."""
        selection: Selection = values[self._layout.selection]
        call = Call(Click.of(event), values, selection, is_at_this_computer(request))
        try:
            return self._actions[call.click.act](call)
        except UserError as error:
            if selection.open:
                return self._layout.updates(problem=notice(self._templates, str(error)))
            return self._toast(str(error))

    def follow(self, values: Values) -> Updates:
        """Show how all work on the open clip stands."""
        return self._follow(values[self._layout.selection])

    def _toast(self, text: str) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text))

    # What opens over the grid

    def _open(self, call: Call, clip_id: str) -> Updates:
        clip = self._gallery.clip(clip_id)
        verification, export = self._studio.verifications.of(clip.path), self._studio.exports.of(clip.path)
        work = self._work.of(clip)
        exports, works = export is not None and not export.is_over, work is not None and not work.is_over
        return self._layout.updates(
            sound_file=None,
            voice_file=None,
            over=html.sheet(
                self._templates,
                self._names,
                clip,
                self._studio.comments.of_clip(clip.id),
                is_local=call.is_local,
                finishing=finishing_of(self._studio, clip),
            ),
            problem="",
            shared="",
            report=verification_report(self._templates, verification),
            exported=export_report(self._templates, export if exports else None),
            worked=self._work.report(clip, work, saves=works),
            selection=replace(call.selection, open=clip_id, follows_export=exports, follows_work=works),
        )

    def _step(self, call: Call) -> Updates:
        """Open the clip beside the open one, on this page."""
        ids, current = call.selection.ids, call.selection.open
        step = 1 if call.click.act == "next" else -1
        place = ids.index(current) + step if current in ids else 0
        return self._open(call, ids[min(max(place, 0), len(ids) - 1)])

    def _compare(self, call: Call) -> Updates:
        """The chosen clips side by side, in the order in which they were chosen."""
        clips = self._gallery.existing(call.selection.picked[:MAX_COMPARED])
        shots = {clip.id: self._studio.shots.of_take(clip.id) for clip in clips}
        return self._layout.updates(over=html.compare(self._templates, self._names, clips, shots))

    def _judge(self, call: Call) -> Updates:
        """Rate, pick or reject a clip that is compared. compare.js shows it: sent again, all clips would restart."""
        clip, act = self._gallery.clip(call.click.subject), call.click.act
        if act == "reject-take":
            self._gallery.reject(clip.id, not clip.is_rejected)
        elif act == "pick-take":
            self._pick_take(clip.id)
        else:
            self._gallery.rate(clip.id, int(act[-1]))
        return self._grid.draw(call.values, call.selection)

    def _pick_take(self, clip_id: str) -> None:
        shot = self._studio.shots.of_take(clip_id)
        if shot is None:
            raise UserError("That clip is not a take of a shot, so it cannot be picked; rate it, or give it a star.")
        self._studio.shots.pick([take for take in shot.done if take.id == clip_id])

    def _close(self, selection: Selection) -> Updates:
        return {**self._closed(), **self._layout.updates(selection=replace(selection, open=""))}

    def _closed(self) -> Updates:
        return self._layout.updates(over="", problem="", shared="", report="", exported="", worked="")

    # What is done to a clip

    def _change_clip(self, call: Call) -> Updates:
        """A button that Create's stage has too, and what it changes here."""
        done = self._clips.changes[call.click.act](call.click)
        match call.click.act:
            case "star":  # an open sheet is not sent again, which would restart its clip: gallery.js changes its star
                return self._grid.draw(call.values, call.selection)
            case "share":
                shared = html.share_link(self._templates, done.text, done.download)
                return self._layout.updates(problem="", shared=shared)
            case "verify":
                return self._begun(call.selection)
            case _:
                return {**self._moved(call), **self._layout.updates(toast=done.toast(self._templates))}

    def _change_many(self, call: Call) -> Updates:
        """What is done to all chosen clips."""
        act, ids = call.click.act, call.selection.picked
        done = self._many.actions[act](ids, call.click)
        selection = replace(call.selection, picked=() if act in LEAVES else ids)
        told = self._layout.updates(toast=done.toast(self._templates)) if done.text else {}
        return {**self._grid.draw_with_picks(call.values, selection), **told}

    def _export(self, call: Call) -> Updates:
        """Begin to write the clip in the format of the button."""
        self._studio.exports.start(self._gallery.clip(call.click.subject).path, *chosen_export(call.click.text))
        return self._begun(replace(call.selection, follows_export=True))

    def _add_sound(self, call: Call) -> Updates:
        """Make a clip with the uploaded file under it, and open that."""
        layout, values = self._layout, call.values
        new = self._work.add_sound(call.click, values[layout.sound_file], values[layout.voice_file])
        return {**self._grid.draw(values, call.selection), **self._open(call, new)}

    def _change_work(self, call: Call) -> Updates:
        """Begin what a form of the sheet asks for, or stop it."""
        if call.click.act == "stop-work":
            self._work.stop(call.click)
        else:
            self._work.start(call.click)
        return self._begun(replace(call.selection, follows_work=True))

    def _note(self, call: Call) -> Updates:
        self._gallery.note(call.click.subject, call.click.text)
        return self._grid.draw(call.values, call.selection)

    def _moved(self, call: Call) -> Updates:
        """Close the sheet of a clip that went into the bin or came out of it."""
        picked = without(call.selection.picked, call.click.subject)
        closed = replace(call.selection, picked=picked, open="")
        return {**self._closed(), **self._grid.draw_with_picks(call.values, closed)}

    def _open_folder(self, call: Call) -> Updates:
        if call.is_local:
            open_folder(self._gallery.clip(call.click.subject).path)
        return self._layout.updates(report=gr.skip())  # to Gradio, an empty dict is no answer

    def _begun(self, selection: Selection) -> Updates:
        """Follow what was just begun, or asked to stop."""
        return {**self._follow(selection), **self._layout.updates(problem="", selection=selection)}

    def _follow(self, selection: Selection) -> Updates:
        clip = next(iter(self._gallery.existing([selection.open])), None)
        if clip is None:  # no sheet is open, or its clip was deleted elsewhere
            return self._layout.updates(report=gr.skip())
        verification = self._studio.verifications.of(clip.path)
        export = self._studio.exports.of(clip.path) if selection.follows_export else None
        work = self._work.of(clip)
        return self._layout.updates(
            report=verification_report(self._templates, verification),
            exported=export_report(self._templates, export),
            worked=self._work.report(clip, work, saves=selection.follows_work),
        )

    def _leave(self, call: Call, filled: Updates) -> Updates:
        """Back to the form, which is filled."""
        return {**filled, **self._close(call.selection)}
