"""What happens to the LoRA rows of a form: adding one by its name, and what the chosen model takes of each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass

import gradio as gr

from wan_pipeline.errors import LoraError, RequestError, UserError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Click, Updates
from wan_pipeline.ui.common.messages import notice
from wan_pipeline.ui.common.parts.lora import LoraFit, installed, look_up, remember_expert
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates, drawing_mark
from wan_pipeline.ui.create.fields.field import has_second_expert
from wan_pipeline.ui.create.fields.loras import LoraRow, read_rows, row_element
from wan_pipeline.ui.create.layout import FormLayout

MAX_FOUND = 6
"""LoRAs offered at once."""


@dataclass(frozen=True)
class RowView:
    """A row as the page shows it."""

    row: LoraRow
    element: str
    """The end of its id."""
    fit: LoraFit


@dataclass(frozen=True)
class Found:
    """A LoRA that can be added."""

    name: str
    problem: str


NO_ROWS = "none"
"""The mark of a page without rows; an empty one is of a page whose rows are not those of the text."""


class LoraEvents:
    """The events of one form's LoRAs."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout, links: PageLinks) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._form, self._links = layout, layout.form, links

    def wire(self) -> None:
        layout, text, model = self._layout, self._form["loras"], self._form["model"]
        load, entered = self._links.page.load, self._links.entered(RoomId.CREATE)
        gr.on(
            [load, entered, text.change, model.change],
            self.show_rows,
            [text, model, layout.loras_drawn],
            [layout.lora_rows],
            js=f"(text, model) => [text, model, wanStudio.lorasDrawn('{self._form.choices.mode}', text, '{NO_ROWS}')]",
            trigger_mode="always_last",
            **QUIET,
        )
        layout.lora_rows.click(self.choose_expert, [text, model], [layout.lora_rows, layout.notice], **QUIET)
        gr.on(
            [load, entered, layout.lora_search.input, model.change],
            self.find,
            [layout.lora_search, model],
            [layout.lora_found],
            trigger_mode="always_last",
            **QUIET,
        )

    def show_rows(self, text: str, model: str, drawn: str) -> Updates:
        """The rows, unless the page shows them already. `drawn` is what it shows of their files."""
        html, now = self._rows(text, model)
        return {self._layout.lora_rows: gr.skip() if now == drawn else html}

    def choose_expert(self, text: str, model: str, event: gr.EventData) -> Updates:
        """The answer to which expert a file is for, which is remembered."""
        click = Click.of(event)
        try:
            remember_expert(self._studio, click.subject, click.text)
        except UserError as error:
            return {self._layout.notice: notice(self._templates, str(error))}
        return {self._layout.lora_rows: self._rows(text, model)[0]}

    def find(self, typed: str | None, model: str) -> Updates:
        """The first LoRAs with these letters in their names."""
        typed = (typed or "").strip()[:200]
        names = [lora for lora in self._studio.loras.all() if typed.casefold() in lora.name.casefold()]
        chosen = installed(self._studio, model)
        found = [Found(lora.name, look_up(self._studio, lora, chosen).problem) for lora in names[:MAX_FOUND]]
        more = len(names) - len(found)
        html = self._templates.render("create/lora_found.html", found=found, more=more, typed=typed)
        return {self._layout.lora_found: html}

    def _rows(self, text: str, model: str) -> tuple[str, str]:
        """The HTML of the rows, and a mark for what it says of their files."""
        try:
            rows = read_rows(text)
        except RequestError:  # reported where the form is read
            rows = ()
        chosen, spec = installed(self._studio, model), self._form.spec(model)
        views = [self._view(row, chosen) for row in rows]
        told = sorted((view.row.name, *astuple(view.fit)) for view in views)
        drawn = hashlib.sha256(json.dumps([model, told]).encode()).hexdigest()[:16]
        html = self._templates.render(
            "create/lora_rows.html",
            views=views,
            mode=self._form.choices.mode,
            two_experts=has_second_expert(spec),
            drawn=drawn,
            drawn_at=drawing_mark(),
        )
        return html, drawn if views else NO_ROWS

    def _view(self, row: LoraRow, model: InstalledModel | None) -> RowView:
        try:
            fit = look_up(self._studio, self._studio.loras.find(row.name), model)
        except LoraError as error:
            fit = LoraFit(problem=str(error))
        return RowView(row, row_element(row.name), fit)
