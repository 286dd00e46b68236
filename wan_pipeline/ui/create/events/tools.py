"""What helps to write a prompt: one that is made richer, and the characters and places of the open project."""

from __future__ import annotations

import random
from typing import Any

import gradio as gr

from wan_pipeline.errors import StudioError, UserError
from wan_pipeline.requests.limits import MAX_RANDOM_SEED
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Click, Updates, Values
from wan_pipeline.ui.common.messages import notice
from wan_pipeline.ui.common.projects import chosen_project
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create.layout import NOT_ENHANCED, FormLayout

PATIENT: dict[str, Any] = {**QUIET, "show_progress": "minimal"}
"""An instruction model may write for a minute, in a process of its own."""
CHANGED = "The prompt was changed while a richer one was written, so it was left as it is. Press Enhance prompt again."


class PromptTools:
    """Of one form."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout, links: PageLinks) -> None:
        self._studio, self._templates, self._links = studio, templates, links
        self._layout, self._form, self._prompt = layout, layout.form, layout.form["prompt"]

    def wire(self) -> None:
        layout, links, model = self._layout, self._links, self._form["model"]
        asked = layout.enhance.click(self.enhance, {self._prompt, model}, [layout.enhanced, layout.notice], **PATIENT)
        written = [self._prompt, layout.replaced, layout.filled, layout.notice]
        asked.success(self.take_enhanced, {self._prompt, layout.replaced, layout.enhanced}, written, **QUIET)
        opened = [links.page.load, links.project.change, links.entered(RoomId.CREATE)]
        gr.on(opened, self.show_characters, {links.project}, [layout.characters], **QUIET)
        layout.characters.click(self.mention, {self._prompt}, [self._prompt], **QUIET)

    def enhance(self, values: Values) -> Updates:
        """Ask for a richer prompt; the box may be typed in meanwhile."""
        typed, layout = values[self._prompt] or "", self._layout
        spec, mode = self._form.spec(values[self._form["model"]]), self._form.choices.mode
        try:
            enhanced = self._studio.enhancer.enhance(typed, spec, mode, random.randint(0, MAX_RANDOM_SEED))
        except StudioError as error:
            return {layout.enhanced: NOT_ENHANCED, layout.notice: notice(self._templates, str(error))}
        return {layout.enhanced: (typed, enhanced.prompt), layout.notice: ""}

    def take_enhanced(self, values: Values) -> Updates:
        """Put the richer prompt into a box that still has what was typed; Undo brings that back."""
        layout, now, (typed, richer) = self._layout, values[self._prompt] or "", values[self._layout.enhanced]
        if not richer:
            return {layout.notice: gr.skip()}  # to Gradio, an empty dict is no answer
        if now != typed:
            return {layout.notice: notice(self._templates, CHANGED)}
        replaced = values[layout.replaced] or typed
        return {self._prompt: richer, layout.replaced: replaced, layout.filled: ""}

    def show_characters(self, values: Values) -> Updates:
        """A chip for each character and place of the open project."""
        try:
            found = self._studio.characters.all(chosen_project(self._studio, values[self._links.project]))
        except UserError:  # the page's head tells of a project's file that cannot be read
            found = {}
        chips = [(name, each.sentence or each.kind.capitalize()) for name, each in found.items()]
        return {self._layout.characters: self._templates.render("create/cast_chips.html", characters=chips)}

    def mention(self, values: Values, event: gr.EventData) -> Updates:
        """Put a name at the end of the prompt."""
        typed = (values[self._prompt] or "").rstrip()
        return {self._prompt: f"{typed} {Click.of(event).text}".strip()}
