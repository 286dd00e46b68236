"""Handlers of the panel that adds many clips at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.grids.grid import grid, prompts_in, seeds_in
from wan_pipeline.requests.layers import shown
from wan_pipeline.requests.lists.files import CheckedList
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Updates, Values
from wan_pipeline.ui.common.messages import estimate, hint, notice, toast
from wan_pipeline.ui.common.names import look_choices
from wan_pipeline.ui.common.profiles import profile_choice, profile_of
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.queue import html
from wan_pipeline.ui.queue.layout import QueueLayout
from wan_pipeline.wording import plural

MAX_HELD = 8
"""Lists that are held between the look at them and *Add*."""


class AddManyEvents:
    """Each handler takes the values of its inputs and returns updates."""

    def __init__(self, studio: Studio, templates: Templates, layout: QueueLayout, links: PageLinks) -> None:
        self._studio, self._templates = studio, templates
        self._forms, self._project = links.filler, links.project
        self._panel, self._toast = layout.add_many, layout.toast
        self._checked: dict[str, CheckedList] = {}
        """Lists that were reported and not added yet, by their paths, newest last. Handlers run in threads."""
        self._checked_lock = Lock()

    @property
    def inputs(self) -> set[Block]:
        """What the clips are made of: the panel, and the forms of Create."""
        return {*self._panel.inputs, *self._forms.inputs, self._project}

    @property
    def outputs(self) -> list[Block]:
        return [*self._panel.components, self._toast]

    def forecast(self, values: Values) -> Updates:
        """How many clips these are, and how long they take; what to do while the box is empty."""
        if not prompts_in(values[self._panel.prompts] or ""):
            return self._panel.updates(estimate=estimate(self._templates, "Write one prompt on each line."))
        try:
            layers = self._studio.projects.layers(values.get(self._project) or "", self._profile(values))
            found = self._studio.estimates.of_drafts(self._drafts(values), layers)
        except UserError as error:
            return self._panel.updates(estimate=hint(self._templates, str(error)))
        return self._panel.updates(estimate=estimate(self._templates, found.text, found.fits))

    def offer_styles(self, chosen: list[str]) -> gr.CheckboxGroup:
        """The styles whose files are there now."""
        choices = look_choices(self._studio.presets)
        there = [style for style in chosen or () if style in dict(choices).values()]
        return gr.CheckboxGroup(choices, **({} if there == chosen else {"value": there}))

    def add(self, values: Values) -> Updates:
        try:
            project, profile = values.get(self._project) or "", self._profile(values)
            ids = self._studio.submit_many(self._drafts(values), project, profile=profile)
        except UserError as error:
            return self._panel.updates(estimate=hint(self._templates, str(error)))
        return {**self._panel.updates(prompts=""), **self._added(ids)}

    def offer_profiles(self, project: str | None, chosen: str | None) -> gr.Radio:
        """The profiles of the open project."""
        return profile_choice(self._studio, project, chosen or "")

    def report_file(self, path: str | None, project: str | None = None, profile: str | None = None) -> Updates:
        """Show what is in an uploaded file, for the open project, before anything of it is queued."""
        if not path:
            return self._panel.updates(report=gr.skip())
        try:
            checked = self._check(path, project or "", profile or "")
            content = checked.content
            requests = [row.request for row in content.rows if row.request]
            text = self._studio.estimates.of_requests(requests).text if requests else ""
        except UserError as error:
            return self._no_file(notice(self._templates, str(error)))
        label = f"Add {'the good ' if content.problems else ''}{plural(len(requests), 'clip')}"
        return self._panel.updates(
            report=html.file_report(self._templates, Path(path).name, text, content.problems, content.warnings),
            add_file=gr.Button(label, visible=bool(requests)),
            file=path if requests else "",
        )

    def add_file(self, values: Values) -> Updates:
        """Queue the clips of the file as they were checked when it was reported."""
        path, project, profile = values[self._panel.file], values.get(self._project) or "", self._profile(values)
        try:
            with self._held(path) or self._studio.lists.read(Path(path), project=project, profile=profile) as content:
                ids = self._studio.lists.submit(content, skip_bad=True, project=project, profile=profile)
        except UserError as error:
            return self._no_file(notice(self._templates, str(error)))
        return {**self._no_file(""), **self._added(ids)}

    def _profile(self, values: Values) -> str:
        return values.get(self._panel.profile) or ""

    def _check(self, path: str, project: str, profile: str) -> CheckedList:
        """Read a list, and hold it until it is added, or MAX_HELD others have come since."""
        checked = self._studio.lists.read(Path(path), project=project, profile=profile)
        with self._checked_lock:
            held = self._checked.pop(path, None)
            self._checked[path] = checked
            dropped = [held, *(self._checked.pop(other) for other in list(self._checked)[:-MAX_HELD])]
        for old in dropped:
            if old is not None:
                old.close()
        return checked

    def _held(self, path: str) -> CheckedList | None:
        """Take a list over, so that it is not closed elsewhere."""
        with self._checked_lock:
            return self._checked.pop(path, None)

    def _drafts(self, values: Values) -> list[Draft]:
        panel = self._panel
        form = self._forms.draft(Mode(values[panel.mode]), values)
        prompts, seeds = prompts_in(values[panel.prompts] or ""), seeds_in(values[panel.seeds] or "")
        if not prompts:  # that of the form is not meant
            raise RequestError("prompt", "There is no prompt to add yet; write one on each line of the box.")
        return grid(self._without_decided(shown(form), values), prompts, seeds, values[panel.presets] or ())

    def _without_decided(self, form: Draft, values: Values) -> Draft:
        """The form without what the chosen profile says: model, speed, size or steps."""
        project, name = self._studio.projects.find(values.get(self._project) or ""), self._profile(values)
        if project is None or not name:
            return form
        decided: dict[str, Any] = {key: None for key, value in vars(profile_of(project, name)).items() if value}
        return replace(form, **decided)

    def _added(self, ids: list[str]) -> Updates:
        return {self._toast: toast(self._templates, f"{plural(len(ids), 'clip')} added to the queue")}

    def _no_file(self, report: str) -> Updates:
        return self._panel.updates(report=report, add_file=gr.Button(visible=False), file="")
