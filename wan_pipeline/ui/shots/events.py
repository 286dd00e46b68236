"""Handlers of the Shots room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.filters import offer
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.parts.clip_actions import Done
from wan_pipeline.ui.common.parts.many_clips import LEAVES, ManyClips, many_bar
from wan_pipeline.ui.common.projects import chosen_project, project_choices
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.shown import changed, digests
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.shots import html
from wan_pipeline.ui.shots.cast import CastDialogs
from wan_pipeline.ui.shots.changes import ShotChanges
from wan_pipeline.ui.shots.dialogs import Dialogs
from wan_pipeline.ui.shots.html import PAGE_SIZE, ShotFilter
from wan_pipeline.ui.shots.layout import Selection, ShotsLayout
from wan_pipeline.wording import plural


class ShotsEvents:
    """Each handler takes the values of `inputs` and returns updates."""

    def __init__(self, studio: Studio, templates: Templates, layout: ShotsLayout, links: PageLinks) -> None:
        self._studio, self._shots, self._clips = studio, studio.shots, studio.gallery.existing
        self._templates, self._layout, self._project = templates, layout, links.project
        self._many, self._own = ManyClips(studio), ShotChanges(studio)
        self._dialogs, self._cast = Dialogs(studio, templates), CastDialogs(studio, templates)
        # What a button does; the text is told, and the board then shows the rest.
        self._changes: Mapping[str, Callable[[Click, str], str]] = {
            **self._own.by_act,
            **dict.fromkeys(("done", "undone", "answer"), self._dialogs.change_review),
            "queue-again": self._dialogs.queue_again,
            **self._cast.changes,
        }
        # What opens, and what is shown anew in what is open.
        self._opens: Mapping[str, Callable[[Click, str], str]] = {
            **dict.fromkeys(("again", "again-take", "axes", "look"), self._dialogs.again),
            "edit": lambda click, _: html.edit(templates, self._shots.of_number(int(click.subject))),
            "ask-remove-shot": lambda click, _: self._ask_remove(click.subject),
            "open": lambda click, _: self._dialogs.viewer(click.subject),
            "ask-finish": lambda _, project: self._dialogs.ask_finish(studio.finals.picked(project)),
            "finish": lambda click, _: self._dialogs.ask_finish(self._clips([self._own.picked(click)]), is_one=True),
            "finish-take": lambda click, _: self._dialogs.ask_finish(self._clips([click.subject]), is_one=True),
            "ask-open": lambda _, project: self._dialogs.ask_open(project),
            "close": lambda *_: "",
        }
        texts = ("scene", "shot", "description", "notes", "done", "undone", "answer")
        self._stays_open = frozenset((*texts, *self._cast.changes))

    @property
    def inputs(self) -> set[Block]:
        return {*self._layout.inputs, self._project}

    def refresh(self, values: Values) -> Updates:
        """Updates for what differs from what the browser shows."""
        return self._refresh(values, values[self._layout.selection])

    def search(self, values: Values) -> Updates:
        """Other words or filters: the first page of what they find."""
        return self._refresh(values, replace(values[self._layout.selection], offset=0))

    def add_file(self, path: str | None, project: str | None) -> Updates:
        """Add the shots of a list or a screenplay to the open project; makes no clips."""
        if not path:
            return self._layout.updates(toast=gr.skip())
        try:
            count, warnings = self._dialogs.add_file(Path(path), chosen_project(self._studio, project))
            text = " ".join([f"{plural(count, 'shot')} added or updated.", *warnings[:2]])
        except UserError as error:
            text = str(error)
        return self._toast(text)

    def act(self, values: Values, event: gr.EventData) -> Updates:
        """A click on any button, a key, an edited box or a dragged shot. A toast says what went wrong."""
        click, project = Click.of(event), chosen_project(self._studio, values.get(self._project))
        try:
            return self._opened(values, click, project) or self._changed(values, click, project)
        except UserError as error:
            return {**self.refresh(values), **self._toast(str(error))}

    def _opened(self, values: Values, click: Click, project: str) -> Updates:
        """What a click shows without changing a shot; nothing for one that changes something."""
        if click.act in ("back", "next"):
            return self._turn_page(values, click)
        if click.act in ("as-board", "as-table"):
            selection = replace(values[self._layout.selection], is_table=click.act == "as-table")
            return self._refresh(values, selection)
        if click.act in ("sheet", "review"):
            return self._layout.updates(toast=self._dialogs.download(click.act, project))
        if show := self._cast.opens.get(click.act):
            return self._show_character(show(click, project))
        if opens := self._opens.get(click.act):
            return self._layout.updates(over=opens(click, project))
        return {}

    def _changed(self, values: Values, click: Click, project: str) -> Updates:
        """What a click changes, and the board after it."""
        if click.act in ("pick", "unpick") or click.act in self._many.actions:
            return self._act_on_many(values, click, project)
        told = self._changes[click.act](click, project)
        closed = {} if click.act in self._stays_open else self._layout.updates(over="")
        if click.act in ("done", "undone", "answer"):
            take = click.subject if click.act == "answer" else click.text
            closed = self._layout.updates(over=self._dialogs.viewer(take))
        return {**self.refresh(values), **closed, **(self._toast(told) if told else {})}

    def add_pictures(self, paths: list[str] | None, project: str | None, character: str) -> Updates:
        """Pictures of the character whose dialog is open."""
        try:
            label = chosen_project(self._studio, project)
            return self._show_character(self._cast.add_pictures(label, character, list(map(Path, paths or []))))
        except UserError as error:
            return self._toast(str(error))

    def _show_character(self, shown: tuple[str, str]) -> Updates:
        return self._layout.updates(over=shown[0], character=shown[1])

    def _act_on_many(self, values: Values, click: Click, project: str) -> Updates:
        """Choose a take for the bar, or drop it; or do something to all chosen takes of the project."""
        selection, told = values[self._layout.selection].within(self._shots.all(project)), Done()
        chosen = selection.chosen
        match click.act:
            case "unpick":
                chosen = ()
            case "pick":
                others = tuple(each for each in chosen if each != click.subject)
                chosen = others if len(others) < len(chosen) else (*chosen, click.subject)
            case _ if not chosen:
                raise UserError("The chosen takes are gone, or of another project; choose again.")
            case _:
                told = self._many.actions[click.act](chosen, click)
                chosen = () if click.act in LEAVES else chosen
        toast = self._layout.updates(toast=told.toast(self._templates)) if told.text else {}
        return {**self._refresh(values, replace(selection, chosen=chosen)), **toast}

    # What is shown

    def _refresh(self, values: Values, selection: Selection) -> Updates:
        project = chosen_project(self._studio, values.get(self._project))
        shots = self._shots.all(project)
        selection = selection.within(shots)
        scenes = {shot.scene for shot in shots if shot.scene}
        found = {self._layout.scene: [(f"Scene {scene}", scene) for scene in sorted(scenes)]}
        offered, kept = offer(found, values)
        wanted = self._wanted(project, shots, kept, selection)
        now_shown = digests({"bar": selection.chosen, **{name: value for name, (_, value) in wanted.items()}})
        names = changed(now_shown, values[self._layout.shown])
        # a poll that began before a click and ends after it must not take back what the click chose
        chosen = {} if selection == values[self._layout.selection] else {"selection": selection}
        if not names and not chosen:
            return self._layout.updates(shown=gr.skip())
        updates = dict(wanted[name] for name in names & wanted.keys())
        if "bar" in names:
            done = (take for shot in shots for take in shot.done if take.id in selection.chosen)
            posters = [take.poster for take in done if take.poster]
            projects = project_choices(self._studio) if posters else []
            updates[self._layout.bar] = many_bar(self._templates, posters, projects)
        return {**offered, **updates, **self._layout.updates(shown=now_shown, **chosen)}

    def _wanted(
        self, project: str, shots: list[Shot], values: Values, selection: Selection
    ) -> dict[str, tuple[Block, str]]:
        layout = self._layout
        query = ShotFilter(*(values[box] or "" for box in (layout.text, layout.status, layout.scene)))
        matching = [shot for shot in shots if query.matches(shot)]
        offset = min(selection.offset, max(len(matching) - 1, 0) // PAGE_SIZE * PAGE_SIZE)  # of a longer list
        page = matching[offset : offset + PAGE_SIZE]
        known = self._studio.projects.find(project) if project else None
        title = known.title if known else project or "No project"
        waiting = sum(bool(shot.picked_take and not shot.final_take) for shot in shots)
        is_filtered, is_table = query != ShotFilter(), selection.is_table
        show = html.table if is_table else html.board
        board = show(self._templates, page, len(matching), offset, is_filtered=is_filtered, chosen=selection.chosen)
        return {
            "head": (layout.head, html.head(self._templates, title, shots, waiting, is_table=is_table)),
            "board": (layout.board, board),
        }

    def _turn_page(self, values: Values, click: Click) -> Updates:
        selection = values[self._layout.selection]
        step = PAGE_SIZE if click.act == "next" else -PAGE_SIZE
        return self._refresh(values, replace(selection, offset=max(selection.offset + step, 0)))

    def _toast(self, text: str) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text))

    def _ask_remove(self, number: str) -> str:
        text = "Its texts, settings and pick are lost, and its clips are takes no more; they stay in the gallery."
        return html.confirm(self._templates, "remove-shot", text, "Take off the list", number)
