"""Many clips at once: what they would take, said before the click, and the click."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.grid import grid, prompts_in, seeds_in
from wan_pipeline.requests.list_file import QueueFile
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio
from wan_pipeline.ui import cards
from wan_pipeline.ui.gallery_cards import toast
from wan_pipeline.ui.generate_tab import GenerateTab
from wan_pipeline.ui.queue_tab import QueueTab

MAX_PROBLEMS = 12
"""Bad rows named on the page; the rest are counted."""
Given = Mapping[Any, Any]
Updates = dict[Any, Any]


class ManyHandlers:
    """Events of the panel that adds many clips."""

    def __init__(self, studio: Studio, view: QueueTab, forms: Mapping[Mode, GenerateTab]) -> None:
        self._studio, self._view, self._many, self._forms = studio, view, view.many, forms

    @property
    def inputs(self) -> set[Any]:
        return {*self._many.inputs, *(box for tab in self._forms.values() for box in tab.form.inputs)}

    def forecast(self, given: Given) -> Updates:
        try:
            found = self._studio.estimates.of_drafts(self._drafts(given))
        except UserError as error:
            return {self._many.forecast: cards.hint(str(error))}
        return {self._many.forecast: cards.estimate(found.text, found.fits)}

    def add(self, given: Given) -> Updates:
        try:
            ids = self._studio.submit_many(self._drafts(given), _project(given[self._many.project]))
        except UserError as error:
            return {self._many.forecast: cards.hint(str(error))}
        return {self._view.toast: toast(f"{_clips(len(ids))} added to the queue"), self._many.prompts: ""}

    def look_at_file(self, path: str | None) -> Updates:
        """What is in the file, before anything is queued."""
        if not path:
            return {self._many.report: gr.skip()}
        try:
            with self._studio.read_list(Path(path)) as content:
                text = (
                    self._studio.estimates.of_drafts([row.draft for row in content.rows]).text if content.rows else ""
                )
        except UserError as error:
            return self._no_file(cards.notice(str(error)))
        label = f"Add {'the good ' if content.problems else ''}{_clips(len(content.rows))}"
        return {
            self._many.report: _report(Path(path).name, text, content),
            self._many.add_file: gr.Button(label, visible=bool(content.rows)),
            self._many.chosen: path if content.rows else "",
        }

    def add_file(self, path: str, project: str | None) -> Updates:
        try:
            with self._studio.read_list(Path(path)) as content:
                ids = self._studio.submit_rows(content, skip_bad=True, project=_project(project))
        except UserError as error:
            return self._no_file(cards.notice(str(error)))
        return {**self._no_file(""), self._view.toast: toast(f"{_clips(len(ids))} added to the queue")}

    def _drafts(self, given: Given) -> list[Draft]:
        base = self._forms[Mode(given[self._many.base])].form.draft(given)
        prompts, seeds = prompts_in(given[self._many.prompts] or ""), seeds_in(given[self._many.seeds] or "")
        return grid(base, prompts, seeds, given[self._many.presets] or ())

    def _no_file(self, report: str) -> Updates:
        return {self._many.report: report, self._many.add_file: gr.Button(visible=False), self._many.chosen: ""}


def _report(name: str, text: str, content: QueueFile) -> str:
    found = f"<p><strong>{escape(name)}</strong>: {escape(text) if text else 'no clip that can be made'}</p>"
    shown = "".join(f"<li>{escape(problem)}</li>" for problem in content.problems[:MAX_PROBLEMS])
    more = len(content.problems) - MAX_PROBLEMS
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    problems = f'<ul class="problems" role="alert">{shown}{rest}</ul>' if content.problems else ""
    return f'<div class="file-report">{found}{problems}</div>'


def _clips(count: int) -> str:
    return f"{count:,} clip{'' if count == 1 else 's'}"


def _project(name: str | None) -> str:
    return (name or "").strip()[:80]
