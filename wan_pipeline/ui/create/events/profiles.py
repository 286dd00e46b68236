"""Draft or final: which profile of the open project the next clip is made by, and saving the form as one."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.projects.project import Profile
from wan_pipeline.requests.post_processing import UNCHANGED
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Updates, Values
from wan_pipeline.ui.common.messages import notice
from wan_pipeline.ui.common.profiles import profile_choice
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create.form import read_draft
from wan_pipeline.ui.create.hints import fill
from wan_pipeline.ui.create.layout import FormLayout
from wan_pipeline.ui.create.saved_form import draft_of_setup

DECIDES = ("model", "speed", "size", "width", "height", "steps")
"""Fields of the form that a profile may set."""


class ProfileEvents:
    """The choice above *Generate*, and the buttons of the part Project that save a profile."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout, links: PageLinks) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._form, self._project = layout, layout.form, links.project
        self._page = links.page

    def wire(self) -> None:
        layout, given = self._layout, self._form.inputs | {self._project, self._layout.profile}
        decided = [self._form[name] for name in DECIDES]
        layout.profile.input(self.choose, given, [*decided, *self._form.parts.values()], **QUIET)
        offered = [layout.profile, *layout.final_frames.values()]
        gr.on([self._page.load, self._project.change], self.show, {self._project}, offered, **QUIET)
        for name, button in layout.save_profiles.items():
            outputs = [layout.project_report, layout.profile]
            inputs = self._form.inputs | {self._project, *layout.final_frames.values()}
            button.click(partial(self.save, name), inputs, outputs, **QUIET)

    def offer(self, project: str | None, chosen: str = "") -> gr.Radio:
        """The profiles that the project has; nothing to choose where it has none."""
        return profile_choice(self._studio, project, chosen)

    def show(self, values: Values) -> Updates:
        """What the project that was just opened has."""
        name = values[self._project]
        project = self._studio.projects.find(name or "")
        frames = project.final.post_processing if project else UNCHANGED
        updates = {box: getattr(frames, each) for each, box in self._layout.final_frames.items()}
        return {self._layout.profile: self.offer(name), **updates}

    def choose(self, values: Values) -> Updates:
        """Model, speed and size as the profile has them. Its steps show as a hint: what is typed there counts."""
        layers = self._studio.projects.layers(values[self._project] or "", values[self._layout.profile] or "")
        filled = fill(self._form, draft_of_setup(self._form, layers.project, ""))
        updates = {self._form[name]: filled[self._form[name]] for name in DECIDES}
        return updates | {part: filled[part] for part in self._form.parts.values()}

    def save(self, name: str, values: Values) -> Updates:
        """Save model, speed, size and steps of the form as a profile of the project, and leave the rest of it.

        For finals also what is done to their frames.
        """
        try:
            project, _ = self._studio.projects.ensure(values[self._project] or "")
            chosen = self._form.values(values)
            draft = read_draft(chosen, self._form.spec(chosen["model"]))
            settings = {each.name: getattr(draft, each.name) for each in fields(Profile)}
            if name == "draft":
                changed = replace(project, draft=Profile(**settings))
            else:
                factors = {each: values[box] for each, box in self._layout.final_frames.items()}
                frames = {each: factor if factor > 1 else None for each, factor in factors.items()}
                changed = replace(project, final=replace(project.final, **settings, **frames))
            self._studio.projects.save(changed)
        except UserError as error:
            return {self._layout.project_report: notice(self._templates, str(error), "")}
        then = changed.post_processing(name)
        said = f"Saved model, speed, size and steps as the {name} profile of {project.title}; choose it above Generate."
        said += f" Once a final is made, a file follows that has {then}." if then else ""
        report = notice(self._templates, said, "good")
        return {self._layout.project_report: report, self._layout.profile: self.offer(project.id)}
