"""The components of the Train room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import UserError
from wan_pipeline.models.registry import DEFAULT_MODEL
from wan_pipeline.requests.options import number
from wan_pipeline.trainer.dataset.library import TAKEN
from wan_pipeline.trainer.recipe import Change, Optimizer, recipe_names
from wan_pipeline.ui.common.clock import room_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS, Values
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.shown import shown_box

POLL_SECONDS = 1.0
MAX_DIGITS = 18
SHOW_CAPTIONS = """
watch('value', () => element.querySelectorAll('textarea').forEach(box => {
  if (box !== document.activeElement) box.value = box.defaultValue;
}));
"""
"""A box that was typed into shows what was typed, whatever its HTML says since."""
SEND_FORM = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-form]');
  if (button) button.dataset.ids = JSON.stringify(Object.fromEntries(new FormData(button.closest('form'))));
}, true);
"""
"""A button with `data-form` sends all boxes of its form along, as JSON."""
FIRST_DATASET = "pictures"
CLIPS = (
    "Made of the captions and trained on beside them, without the trigger word, so that stills do not freeze motion."
)
OPTIMIZERS = [("the recipe's", ""), ("AdamW", Optimizer.ADAMW.value), ("AdamW, 8 bits", Optimizer.ADAMW_8BIT.value)]
IN_8_BITS = "8 bits take less memory for its moments; bitsandbytes has to be installed."
PROMPTS = "One per line, at most four. Each is a clip with every checkpoint and with the base model."


@dataclass(frozen=True)
class Typed:
    """What the form holds, as it was typed."""

    dataset: str
    name: str
    model: str
    recipe: str
    trigger: str
    steps_text: str
    dropout_text: str
    optimizer: str | None
    """None for the recipe's."""
    seed_text: str
    clips_text: str
    prompts: tuple[str, ...]

    @property
    def clips(self) -> int:
        """Of the base model, for regularisation. Raises UserError for what is no number."""
        return _whole("number of clips", self.clips_text) if self.clips_text else 0

    @property
    def steps(self) -> int | None:
        """None for the recipe's. Raises UserError for what is no number."""
        return _whole("steps", self.steps_text) if self.steps_text else None

    @property
    def caption_dropout(self) -> float | None:
        """None for the recipe's. Raises UserError for what is no number."""
        return number("caption dropout")(self.dropout_text) if self.dropout_text else None

    @property
    def changes(self) -> dict[str, Change]:
        """Of the recipe. Raises UserError for what is no number."""
        return {"steps": self.steps, "caption_dropout": self.caption_dropout, "optimizer": self.optimizer}

    @property
    def seed(self) -> int:
        """Raises UserError for what is no number."""
        return _whole("seed", self.seed_text)


class TrainLayout(Layout):
    """The training that goes on, on top; below it the dataset and the form side by side, then all trainings."""

    def __init__(self) -> None:
        self.head = gr.HTML("", elem_classes="queue-words")
        with gr.Row(elem_classes="now-row"):
            self.now = gr.HTML("", elem_classes="now-slot")
            self.now_actions = _clickable(elem_classes="now-acts")
        self.live = gr.HTML("", elem_id="train-live")
        with gr.Row(elem_classes="train-desk"):
            with gr.Column(elem_classes="train-data", min_width=0):
                self._dataset()
            with gr.Column(elem_classes="train-form", min_width=0):
                self._form()
        self.list = _clickable(elem_id="trainings")
        self.over = _clickable(SEND_FORM, elem_id="train-over")
        self.toast = _clickable(elem_classes="toast-slot")
        self.clock = room_clock(POLL_SECONDS)
        # Of this browser tab: the first caption of the page, the tag that all of them have, and what it shows.
        self.offset = gr.State(0)
        self.tag = gr.State("")
        self.shown = shown_box()

    @property
    def inputs(self) -> set[Block]:
        return {
            *(
                self.dataset,
                self.name,
                self.model,
                self.recipe,
                self.trigger,
                self.steps,
                self.dropout,
                self.optimizer,
                self.seed,
                self.clips,
                self.prompts,
            ),
            *(self.offset, self.tag, self.shown),
        }

    @property
    def clickable(self) -> tuple[gr.HTML, ...]:
        """What has buttons that concern trainings."""
        return self.now_actions, self.list, self.over, self.toast

    def typed(self, values: Values) -> Typed:
        lines = (values[self.prompts] or "").splitlines()
        return Typed(
            dataset=(values[self.dataset] or "").strip(),
            name=(values[self.name] or "").strip(),
            model=values[self.model] or DEFAULT_MODEL,
            recipe=values[self.recipe] or "",
            trigger=" ".join((values[self.trigger] or "").split()),
            steps_text=(values[self.steps] or "").strip(),
            optimizer=values[self.optimizer] or None,
            dropout_text=(values[self.dropout] or "").strip(),
            seed_text=(values[self.seed] or "").strip(),
            clips_text=(values[self.clips] or "").strip(),
            prompts=tuple(line.strip() for line in lines if line.strip()),
        )

    def _dataset(self) -> None:
        with gr.Row(elem_classes="train-choose"):
            self.dataset = gr.Dropdown(
                [], value=FIRST_DATASET, label="Dataset", allow_custom_value=True, elem_id="dataset", min_width=120
            )
            self.upload = gr.UploadButton(
                "Add images, clips or a ZIP",
                file_types=sorted(TAKEN),
                file_count="multiple",
                elem_id="dataset-upload",
                elem_classes="quiet",
                min_width=0,
                scale=0,
            )
            self.add_clips = gr.Button("Add starred clips", elem_classes="quiet", min_width=0, scale=0)
        self.report = gr.HTML("", elem_id="dataset-report")
        with gr.Row(elem_classes="train-replace", elem_id="dataset-caption", visible=False) as self.captioning:
            self.captioner = gr.Dropdown([], label="Captions by", show_label=False, min_width=100)
            self.caption = gr.Button("Write missing captions", elem_classes="quiet", min_width=0, scale=0)
        with gr.Row(elem_classes="train-replace", elem_id="dataset-replace"):
            self.find = _words("Find in all captions")
            self.put = _words("Replace with")
            self.replace_all = gr.Button("Replace", elem_classes="quiet", min_width=0, scale=0)
        with gr.Row(elem_classes="train-replace", elem_id="dataset-add"):
            self.add = _words("Add a tag to all captions shown")
            self.add_all = gr.Button("Add", elem_classes="quiet", min_width=0, scale=0)
        self.tags = _clickable(elem_id="dataset-tags")
        self.grid = _clickable(SHOW_CAPTIONS, elem_id="dataset-grid")

    def _form(self) -> None:
        self.name = gr.Textbox(label="Name of the LoRA", max_lines=1, placeholder="my-look", elem_id="lora-name")
        with gr.Row(elem_classes="duo"):
            self.model = gr.Dropdown([DEFAULT_MODEL], value=DEFAULT_MODEL, label="Model", min_width=100)
            self.recipe = gr.Dropdown(recipe_names(), value="style", label="Recipe", min_width=100)
        with gr.Row(elem_classes="duo"):
            self.trigger = gr.Textbox(
                label="Trigger word", max_lines=1, placeholder="none", elem_id="trigger-word", min_width=100
            )
            self.dropout = gr.Textbox(label="Caption dropout", max_lines=1, placeholder="the recipe's", min_width=100)
        with gr.Row(elem_classes="duo"):
            self.steps = gr.Textbox(label="Steps", max_lines=1, placeholder="the recipe's", min_width=100)
            self.seed = gr.Textbox("1", label="Seed", max_lines=1, min_width=100)
        self.optimizer = gr.Dropdown(OPTIMIZERS, value="", label="Optimizer", info=IN_8_BITS)
        self.clips = gr.Textbox(label="Clips of the base model", max_lines=1, placeholder="none", info=CLIPS)
        self.prompts = gr.Textbox(label="Prompts of samples", lines=3, max_lines=6, info=PROMPTS)
        self.recipe_words = gr.HTML("", elem_classes="recipe-words")
        self.estimate = gr.HTML("", elem_classes="estimate-slot")
        self.notice = gr.HTML("")
        self.train = gr.Button("Train", variant="primary", elem_classes="add-button", elem_id="train-button")


def choices(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """(label, value), by the labels."""
    return sorted((title, name) for name, title in names.items())


def _whole(what: str, text: str) -> int:
    if not text.isdecimal() or len(text) > MAX_DIGITS:
        raise UserError(f"The {what} '{text[:40]}' is not a whole number; write one such as 200.")
    return int(text)


def _words(label: str) -> gr.Textbox:
    return gr.Textbox(label=label, placeholder=label, show_label=False, max_lines=1, min_width=100)


def _clickable(script: str = "", *, elem_id: str | None = None, elem_classes: str | None = None) -> gr.HTML:
    return gr.HTML("", elem_id=elem_id, elem_classes=elem_classes, js_on_load=FORWARD_CLICKS + script)
