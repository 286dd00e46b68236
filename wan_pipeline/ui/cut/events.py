"""Handlers of the Cut room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import UserError
from wan_pipeline.projects.cut.cut import CARD_SECONDS, MAIN, Cut, item_of
from wan_pipeline.projects.cut.edits import with_card
from wan_pipeline.projects.cut.timeline.incoming import DEFAULT_RATE
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.projects import chosen_project
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.shown import Shown, changed, digests
from wan_pipeline.ui.common.templates import Templates, drawing_mark
from wan_pipeline.ui.cut import html
from wan_pipeline.ui.cut.dialogs import Dialogs, typed_name
from wan_pipeline.ui.cut.edits import EDITS, selected_after
from wan_pipeline.ui.cut.layout import CutLayout, Selection
from wan_pipeline.ui.cut.offers import Offers
from wan_pipeline.wording import plural


class CutEvents:
    """Each handler takes the values of `inputs` and returns updates."""

    def __init__(self, studio: Studio, templates: Templates, layout: CutLayout, links: PageLinks) -> None:
        self._studio, self._cuts = studio, studio.cuts
        self._templates, self._layout, self._project = templates, layout, links.project
        self._offers = Offers(studio)
        self._dialogs = Dialogs(studio, templates)
        self._changes: Mapping[str, Callable[[Click, Selection], tuple[Selection, str]]] = {
            **dict.fromkeys(EDITS, self._edit),
            "add": self._add,
            "add-all": self._add,
            "add-card": self._add_card,
            "undo-edit": self._undo,
            "redo-edit": self._redo,
            "choose": lambda click, selection: (Selection(selection.project, click.text), ""),
            "new": self._new,
            "restore": self._restore,
            "relink": self._relink,
            "take-over": self._take_over,
            "export": self._export,
        }

    @property
    def inputs(self) -> set[Block]:
        return {*self._layout.inputs, self._project}

    def refresh(self, values: Values) -> Updates:
        """Updates for what differs from what the browser shows."""
        return self._refresh(values, self._selection(values))

    def poll(self, values: Values) -> Updates:
        """As `refresh`, but nothing is read or drawn while nothing has changed since the browser was last answered."""
        selection, shown = self._selection(values), values[self._layout.shown]
        if selection == values[self._layout.selection] and not changed(self._mark(values, selection), shown):
            return self._layout.updates(shown=gr.skip())
        return self._refresh(values, selection)

    def read_file(self, values: Values) -> Updates:
        """Show what an editor changed in a timeline."""
        path, selection = values[self._layout.upload], self._selection(values)
        if not path:
            return self._layout.updates(toast=gr.skip())
        try:
            incoming = self._cuts.read(selection.project, selection.cut, Path(path))
        except UserError as error:
            return self._toast(str(error))
        over = html.incoming(self._templates, Path(path).name, incoming)
        return self._layout.updates(over=over, selection=replace(selection, incoming=incoming))

    def act(self, values: Values, event: gr.EventData) -> Updates:
        """A click on any button, a key, an edited box, or a clip that was dragged. A toast says what went wrong."""
        click, selection = Click.of(event), self._selection(values)
        try:
            if click.act == "select":
                return self._refresh(values, replace(selection, item=int(click.subject)))
            if (opened := self._dialogs.open(click, selection)) is not None:
                return self._layout.updates(over=opened)
            selection, told = self._changes[click.act](click, selection)
        except UserError as error:  # shown again, so that a box has the value that counts
            return {**self._refresh(values, selection, again=True), **self._toast(str(error))}
        return {
            **self._refresh(values, selection, again=click.act in EDITS),  # an emptied box may mean what was there
            **self._layout.updates(over=""),
            **(self._toast(told) if told else {}),
        }

    # What is shown

    def _selection(self, values: Values) -> Selection:
        """What is open; another project begins anew, with its main cut or its first one."""
        selection: Selection = values[self._layout.selection]
        project = chosen_project(self._studio, values[self._project])
        names = self._names(project)
        if selection.project == project and (selection.cut in names or selection.cut == MAIN):
            return selection
        return Selection(project, MAIN if MAIN in names or not names else names[0])

    def _names(self, project: str) -> list[str]:
        return self._cuts.names(project) if self._studio.projects.find(project) or not project else []

    def _refresh(self, values: Values, selection: Selection, *, again: bool = False) -> Updates:
        mark = self._mark(values, selection)  # first: what changes while it is read is seen by the next poll
        selection, wanted = self._wanted(values, selection, drawing_mark() if again else 0)
        now_shown = {**digests({name: value for name, (_, value) in wanted.items()}), **mark}
        names = set(now_shown) if again else changed(now_shown, values[self._layout.shown])
        # a poll that began before a click and ends after it must not take back what the click selected
        selected = {} if selection == values[self._layout.selection] else {"selection": selection}
        if not names and not selected:
            return self._layout.updates(shown=gr.skip())
        updates = dict(wanted[name] for name in names if name in wanted)
        return {**updates, **self._layout.updates(shown=now_shown, **selected)}

    def _mark(self, values: Values, selection: Selection) -> Shown:
        """A digest that changes whenever what is shown might."""
        project, cut = selection.project, selection.cut
        known = self._studio.projects.find(project)
        state = self._cuts.state(project, cut) if known or not project else ()
        report = self._dialogs.export_report(selection)
        title = known.title if known else ""
        return digests({"mark": [project, title, cut, selection.item, values[self._layout.source], state, report]})

    def _wanted(
        self, values: Values, selection: Selection, drawn_at: int
    ) -> tuple[Selection, dict[str, tuple[Block, str]]]:
        layout, templates, project = self._layout, self._templates, selection.project
        looked = self._looked(selection)
        if looked.sequence is None or (selection.item or 0) >= len(looked.sequence.pieces):
            selection = replace(selection, item=None)
        source = values[layout.source] or "picked"
        offers = self._offers.of(project, source)
        return selection, {
            "head": (layout.head, self._head(selection, looked)),
            "timeline": (layout.timeline, html.timeline(templates, looked, selection.item)),
            "inspector": (layout.inspector, html.inspector(templates, looked, selection.item, drawn_at)),
            "bin": (layout.bin, html.offered(templates, offers, source)),
            "exported": (layout.exported, self._dialogs.export_report(selection)),
        }

    def _head(self, selection: Selection, looked: html.Looked) -> str:
        project = self._studio.projects.find(selection.project)
        title = project.title if project else selection.project or "No project"
        undo, redo = bool(selection.history.past), bool(selection.history.future)
        return html.head(self._templates, title, self._names(selection.project), looked, can_undo=undo, can_redo=redo)

    def _looked(self, selection: Selection) -> html.Looked:
        """The cut as it can be shown."""
        cut = Cut(selection.cut)
        try:
            cut = self._seen(selection)
            if not cut.items:
                return html.Looked(cut)
            finals = frozenset(each.place - 1 for each in self._cuts.relinks(cut))
            sequence = self._cuts.look(cut)
            problem = next((piece.problem for piece in sequence.pieces if piece.problem), "")
            return html.Looked(cut, sequence, finals, problem, self._offers.names(selection.project))
        except UserError as error:
            return html.Looked(cut, problem=str(error))

    def _seen(self, selection: Selection) -> Cut:
        """The cut, which is then what this tab shows. Raises ProjectError."""
        with self._cuts.locked(selection.project):
            cut = Cut(selection.cut)
            if selection.cut in self._names(selection.project):
                cut = self._cuts.existing(selection.project, selection.cut)
            selection.history.saw(cut)
            return cut

    def _toast(self, text: str) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text))

    # What is done to the cut

    def _edit(self, click: Click, selection: Selection) -> tuple[Selection, str]:
        after = self._changed(selection, lambda cut: EDITS[click.act](cut, click))
        return replace(after, item=selected_after(click, selection.item)), ""

    def _add(self, click: Click, selection: Selection) -> tuple[Selection, str]:
        """Behind the last clip."""
        paths = self._offers.paths(selection.project, click)
        items = tuple(item_of(path, self._studio.settings.clips) for path in paths)
        return self._changed(selection, lambda cut: cut.added(items)), ""

    def _add_card(self, _: Click, selection: Selection) -> tuple[Selection, str]:
        """Behind the selected clip, or else the last one; its words are edited beside the viewer."""
        self._ensure(selection)
        cut = self._cuts.existing(selection.project, selection.cut)
        place = len(cut.items) if selection.item is None else min(selection.item + 1, len(cut.items))
        frames = round(CARD_SECONDS * (self._cuts.look(cut).rate if cut.items else cut.fraction or DEFAULT_RATE))
        selection = self._changed(selection, lambda cut: with_card(cut, place, "Title", frames))
        return replace(selection, item=place), ""

    def _changed(self, selection: Selection, edit: Callable[[Cut], Cut]) -> Selection:
        """The cut changed and saved; it is made if there is none."""
        self._ensure(selection)
        with self._changing(selection) as before:
            self._cuts.save(selection.project, edit(before))
        return selection

    @contextmanager
    def _known(self, selection: Selection) -> Iterator[Cut]:
        """The cut as it is, locked. Raises ProjectError if it was changed elsewhere."""
        with self._cuts.locked(selection.project):
            now = self._cuts.existing(selection.project, selection.cut)
            selection.history.check(now)
            yield now

    @contextmanager
    def _changing(self, selection: Selection) -> Iterator[Cut]:
        """As `_known`; what the cut was can be had back."""
        with self._known(selection) as before:
            yield before
            selection.history.edited(before, self._cuts.existing(selection.project, selection.cut))

    def _ensure(self, selection: Selection) -> None:
        self._studio.projects.ensure(selection.project)
        if selection.cut not in self._names(selection.project):
            self._cuts.new(selection.project, selection.cut)

    def _undo(self, _: Click, selection: Selection) -> tuple[Selection, str]:
        history = selection.history
        with self._known(selection) as now:
            if not history.past:
                return selection, "There is nothing to undo."
            self._cuts.put_back(selection.project, history.past[-1])
            history.undone(now)
        return selection, ""

    def _redo(self, _: Click, selection: Selection) -> tuple[Selection, str]:
        history = selection.history
        with self._known(selection) as now:
            if not history.future:
                return selection, "There is nothing to redo."
            self._cuts.put_back(selection.project, history.future[-1])
            history.redone(now)
        return selection, ""

    def _new(self, click: Click, selection: Selection) -> tuple[Selection, str]:
        """A cut of another name, as a copy of the open one."""
        name, open_cut = typed_name(click), self._looked(selection).cut
        self._studio.projects.ensure(selection.project)
        self._cuts.new(selection.project, name)
        if open_cut.items:
            self._cuts.put_back(selection.project, replace(open_cut, name=name))
        return Selection(selection.project, name), f"The cut '{name}' is made"

    def _restore(self, click: Click, selection: Selection) -> tuple[Selection, str]:
        number = int(click.text)
        with self._changing(selection):
            self._cuts.restore(selection.project, selection.cut, number)
        return selection, f"The cut is as it was in version {number}"

    def _relink(self, _: Click, selection: Selection) -> tuple[Selection, str]:
        with self._changing(selection):
            taken = self._cuts.relink(selection.project, selection.cut)[1]
        notes = " ".join(f"Number {each.place}: {each.note}." for each in taken if each.note)
        return selection, f"{plural(len(taken), 'final')} taken. {notes}".strip()

    def _export(self, click: Click, selection: Selection) -> tuple[Selection, str]:
        self._dialogs.start_export(click, selection)
        return replace(selection, is_exporting=True), ""

    def _take_over(self, _: Click, selection: Selection) -> tuple[Selection, str]:
        if selection.incoming is None:
            raise UserError("That timeline is not open any more; import it again.")
        self._ensure(selection)
        with self._changing(selection):
            self._cuts.take_over(selection.project, selection.incoming)
        return replace(selection, incoming=None, item=None), "The cut is as it came back; what it was is a version"
