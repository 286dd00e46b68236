"""What happens around the prompt of a form: what of it will not be shown, and clicks that write another one.

A typed prompt that a click takes the place of comes back by Undo.
"""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.requests.layers import shown
from wan_pipeline.requests.prompts.known_words import vocabulary_notes, write_prompt
from wan_pipeline.requests.prompts.reading import MAX_TAGS, LoraTag, lora_tags, without_tag
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import CLEAR, QUIET, Click, Updates, Values
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create.examples import Picture, is_example
from wan_pipeline.ui.create.fields.loras import with_row
from wan_pipeline.ui.create.layout import FormLayout


class PromptEvents:
    """The events around the prompt of one form."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout, project: gr.Dropdown) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._form, self._prompt = layout, layout.form, layout.form["prompt"]
        self._project = project

    def wire(self, page: gr.Blocks) -> None:
        layout, form, prompt = self._layout, self._form, self._prompt
        written = [prompt, layout.replaced, layout.filled]
        for example, button in layout.prompts.items():
            button.click(partial(self.use_prompt, example), {prompt, layout.replaced}, written, **QUIET)
        for picture, button in layout.pictures.items():
            button.click(partial(self.use_picture, picture), {prompt}, [form["image"], prompt], **QUIET)
        noted = {prompt, layout.replaced, form["model"], form["loras"]}
        layout.prompt_notes.click(self.act, noted, [*written, form["loras"]], **QUIET)
        layout.undo.click(self.undo, layout.replaced, [prompt, layout.replaced], **QUIET)
        prompt.input(None, None, layout.replaced, js=CLEAR)
        layout.replaced.change(self.show_undo, layout.replaced, [layout.undo_bar], **QUIET)
        names = ("prompt", "negative_prompt", "model", "preset", "prompt_before", "prompt_after")
        gr.on(
            [page.load, self._project.change, *(form[name].change for name in names)],
            self.show_notes,
            form.inputs | {self._project},
            [layout.prompt_notes],
            trigger_mode="always_last",
            **QUIET,
        )

    def show_notes(self, values: Values) -> Updates:
        """What of the prompt will not be read or not be shown, and what the model knows."""
        chosen = self._form.values(values)
        unread: tuple[str, ...] = ()
        prompt = chosen["prompt"] or ""
        with suppress(UserError):  # the estimate says what the form lacks
            requests = self._studio.requests.within(self._studio.projects.layers(str(values.get(self._project) or "")))
            draft = shown(self._form.draft(values))
            unread, prompt = requests.notes(draft), requests.worded(draft)
        unknown = vocabulary_notes(prompt, self._form.spec(chosen["model"]))
        html = self._templates.render(
            "create/prompt_notes.html",
            notes=(*unread, *unknown),
            tags=[tag for tag in self._tags(chosen["prompt"]) if tag.lora][:MAX_TAGS],
            can_write=bool(unknown),
        )
        return {self._layout.prompt_notes: html}

    def act(self, values: Values, event: gr.EventData) -> Updates:
        """A click on one of the notes' buttons."""
        click = Click.of(event)
        return self.take_tag(click.text, values) if click.act == "lora" else self.write(values)

    def take_tag(self, text: str, values: Values) -> Updates:
        """Make a row of the form of a tag such as `<lora:ink:0.8>`, and take it out of the prompt."""
        typed, rows = values[self._prompt] or "", self._form["loras"]
        tag = next((tag for tag in self._tags(typed) if tag.text == text), None)
        if tag is None or tag.lora is None:  # the prompt or the folder has just changed
            return {self._prompt: gr.skip()}
        return {self._prompt: without_tag(typed, tag), rows: with_row(values[rows], tag.lora, tag.weight)}

    def _tags(self, prompt: str | None) -> list[LoraTag]:
        return lora_tags(prompt, self._studio.loras.names()) if prompt and "<" in prompt else []

    def write(self, values: Values) -> Updates:
        """Write a prompt of which the model knows every word."""
        spec = self._form.spec(values[self._form["model"]])
        prompt = write_prompt(spec, random.Random())
        return {self._prompt: gr.skip()} if prompt is None else self.use_prompt(prompt, values)

    def use_prompt(self, prompt: str, values: Values) -> Updates:
        """Take this prompt, and remember what was typed. One example after another leaves that remembered."""
        typed, layout = values[self._prompt] or "", self._layout
        updates: Updates = {self._prompt: prompt, layout.filled: ""}
        return updates if values[layout.replaced] or _is_free(typed) else {**updates, layout.replaced: typed}

    def use_picture(self, picture: Picture, values: Values) -> Updates:
        """Start from an example's picture; its prompt comes along where none was typed."""
        updates: Updates = {self._form["image"]: str(picture.path)}
        return {**updates, self._prompt: picture.prompt} if _is_free(values[self._prompt] or "") else updates

    def undo(self, replaced: str) -> Updates:
        """Put back what was typed."""
        return {self._prompt: replaced, self._layout.replaced: ""}

    def show_undo(self, replaced: str) -> Updates:
        return {self._layout.undo_bar: gr.Row(visible=bool(replaced))}


def _is_free(prompt: str) -> bool:
    """Whether nothing is lost when another prompt takes its place."""
    return not prompt.strip() or is_example(prompt)
