"""What things are called on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wan_pipeline.jobs.job import UNFINISHED, JobState, QueueState
from wan_pipeline.models.registry import MODELS
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Stage
from wan_pipeline.requests.presets import Preset, PresetKind, of_kind
from wan_pipeline.requests.prompts.known_words import vocabulary_notes
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.studio import Studio

MODE_TITLES = {Mode.TEXT_TO_VIDEO: "Text to video", Mode.IMAGE_TO_VIDEO: "Image to video"}
STAGES = {
    Stage.QUEUED: "Waiting",
    Stage.LOADING: "Loading the model",
    Stage.ENCODING_TEXT: "Reading the prompt",
    Stage.DENOISING: "Denoising",
    Stage.DECODING: "Decoding",
    Stage.SAVING: "Saving",
}
WAITING_CLIPS = "#rooms [role=tab][data-count]:not([data-count=''])"
"""CSS selector of the mark beside Queue, while it counts clips that run or wait."""


@dataclass(frozen=True)
class Names:
    """Titles of models and presets, by id. Models added while the page is open are added to `models`."""

    models: dict[str, str]
    presets: Mapping[str, Preset]
    """As the files are now."""

    @classmethod
    def of(cls, studio: Studio) -> Names:
        return cls(
            models={spec.id: spec.title for spec in studio.models.all_specs().values()},
            presets=studio.presets,
        )

    def model(self, model_id: str) -> str:
        """Its title, or the id of a model that is not known here."""
        return self.models.get(model_id, model_id)

    def preset(self, preset_id: str | None) -> str:
        """Its title, or the id of a preset that is not there any more; empty without a preset."""
        preset = self.presets.get(preset_id or "")
        return preset.title if preset else preset_id or ""


def look_choices(presets: Mapping[str, Preset]) -> list[tuple[str, str]]:
    """(label, value) of each style to choose from."""
    return [(look.title, name) for name, look in of_kind(presets, PresetKind.LOOK).items()]


def quality_choices(presets: Mapping[str, Preset]) -> list[tuple[str, str]]:
    """(label, value) of each quality to choose from, the model's own first."""
    return [("Standard", ""), *((each.title, name) for name, each in of_kind(presets, PresetKind.QUALITY).items())]


def not_shown(request: GenerationRequest) -> str:
    """What the clip's model did not know of its prompt, and what it knows; empty for a model that knows enough."""
    spec = MODELS.get(request.model)
    return " ".join(vocabulary_notes(request.prompt, spec)) if spec else ""


def download_name(seed: int, clip_id: str) -> str:
    """The name that a browser saves a clip under."""
    return f"wan-studio-{seed}-{clip_id[:8]}.mp4"


def badge_text(counts: Mapping[JobState, int], state: QueueState) -> str:
    """The mark beside Queue in the page's head: how many clips run or wait, with "paused" while the queue is paused."""
    number = sum(counts[each] for each in UNFINISHED)
    return f"{number or ''}{' paused' if state.paused else ''}"
