"""Samples of a training over time: the same prompts and seed with the base model and with every checkpoint.

They are short clips in the training's folder, made by the engine, as clips with the finished LoRA will be.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.clips.naming import poster_path, receipt_path
from wan_pipeline.jobs.training.job import TrainingJob
from wan_pipeline.jobs.training.motion import measure_motion, read_motion
from wan_pipeline.jobs.training.observer import SampleObserver, TrainingObserver
from wan_pipeline.jobs.worker.render import make_clip
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import ModelSpec, frames_up_to
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings

BASE = 0
"""The step of samples without the LoRA."""
MAX_FRAMES = 17
"""Frames of a sample: enough to see whether it moves."""
FOLDER = "samples"
FILE = re.compile(r"step-(\d+)_(\d+)\.mp4")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    step: int
    number: int
    """Index of its prompt, from 0."""
    clip: Path
    poster: Path
    motion: float | None = None
    """As a share of that of the base model's sample; None where it is not known."""


def sample_frames(spec: ModelSpec) -> int:
    """Frames of a sample."""
    return min(own_request(spec).num_frames, frames_up_to(MAX_FRAMES, spec.temporal_compression))


def samples_of(settings: Settings, name: str) -> list[Sample]:
    """The finished samples of a training, by step and prompt."""
    folder, found = settings.trainings / name / FOLDER, []
    moved = read_motion(folder)
    for path in folder.glob("*.mp4"):
        match = FILE.fullmatch(path.name)
        if match and receipt_path(path).is_file():  # which comes last
            own, base = moved.get(path.stem), moved.get(f"step-{BASE}_{match[2]}")
            share = own / base if own is not None and base else None
            found.append(Sample(int(match[1]), int(match[2]), path, poster_path(path), share))
    return sorted(found, key=lambda sample: (sample.step, sample.number))


def checkpoints_of(settings: Settings, name: str) -> dict[int, str]:
    """The LoRAs of a training's checkpoints, by step: the stems of their files, without an expert's suffix."""
    pattern = re.compile(rf"({re.escape(name)}-(\d+))(_high_noise|_low_noise)?\.safetensors")
    matches = [pattern.fullmatch(path.name) for path in (settings.trainings / name).glob("*.safetensors")]
    return dict(sorted((int(match[2]), match[1]) for match in matches if match))


class Sampler:
    """Makes the samples that are missing."""

    def __init__(self, settings: Settings, job: TrainingJob) -> None:
        self._folder = settings.trainings / job.name
        self._settings = replace(settings, more_loras=(*settings.more_loras, self._folder))
        self._job = job

    def make(self, observer: TrainingObserver, final: tuple[int, str] | None = None) -> None:
        """Make samples of the base model and all checkpoints; `final` is the last step and the name of the LoRA.

        Raises StudioError for the first that cannot be made, Cancelled.
        """
        missing = list(self._missing(final))
        if not missing:
            return
        from wan_pipeline.engine.engine import Engine  # here: torch takes seconds to import

        with Engine(self._settings) as engine:
            for done, (clip, request) in enumerate(missing):
                observer.sampling(done, len(missing))
                make_clip(engine, request, SampleObserver(observer), clip)
                measure_motion(clip)

    def _missing(self, final: tuple[int, str] | None) -> Iterator[tuple[Path, GenerationRequest]]:
        loras = {BASE: "", **checkpoints_of(self._settings, self._job.name), **(dict([final]) if final else {})}
        made = {sample.clip for sample in samples_of(self._settings, self._job.name)}
        resolve = self._resolver().resolve
        for step, lora in sorted(loras.items()):
            for number, prompt in enumerate(self._job.prompts):
                clip = self._folder / FOLDER / f"step-{step}_{number}.mp4"
                if clip not in made:
                    yield clip, resolve(self._draft(prompt, lora))

    def _draft(self, prompt: str, lora: str) -> Draft:
        model = self._job.request.model
        spec = ModelLibrary(self._settings).spec(model)
        chosen = (LoraChoice(lora),) if lora else ()
        return Draft(prompt, model=model, seed=self._job.request.seed, num_frames=sample_frames(spec), loras=chosen)

    def _resolver(self) -> RequestResolver:
        settings = self._settings
        pictures = InputFiles(settings.inputs)
        return RequestResolver(ModelLibrary(settings), {}, {}, LoraLibrary.of(settings), pictures)


def steps_of(samples: Sequence[Sample]) -> list[int]:
    """The steps that there are samples of."""
    return sorted({sample.step for sample in samples})
