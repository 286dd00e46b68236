"""Clips of the base model, trained on beside the dataset so that what it could do before is not forgotten.

The prior preservation of DreamBooth (arXiv 2208.12242): without the trigger word the LoRA is taught to show what the
base model shows, and with clips among them it does not learn from stills that nothing moves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.clips.encode import encode
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.progress import Progress, check_cancelled
from wan_pipeline.requests.limits import MAX_SEED
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.dataset.folder import CAPTION_SUFFIX
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage


@dataclass(frozen=True)
class Wanted:
    """Clips to be made for one training."""

    model: InstalledModel
    captions: tuple[str, ...]
    """Of the dataset, without the trigger word. Clip after clip takes the next one, from the first again at the end."""
    count: int
    bucket: Bucket
    seed: int

    def requests(self) -> Iterator[GenerationRequest]:
        """Each clip at the model's own settings. Raises RequestError."""
        for index in range(self.count):
            draft = Draft(
                prompt=self.captions[index % len(self.captions)],
                seed=(self.seed + index) % (MAX_SEED + 1),
                width=self.bucket.width,
                height=self.bucket.height,
                num_frames=self.bucket.frames,
            )
            yield resolve(draft, self.model.spec, preset=None, image=None, image_size=None)

    def folder(self, settings: Settings) -> Path:
        """Where they lie: the same for every training that wants the same clips."""
        facts = [self.model.fingerprint, self.captions, self.count, str(self.bucket), self.seed]
        name = hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return settings.workspace / "regularisation" / name


def make_clips(wanted: Wanted, settings: Settings, observer: TrainingObserver) -> Path:
    """Make the clips that are not there yet, with their captions, and return their folder.

    Raises UserError, GenerationError, StorageError or Cancelled.
    """
    folder = wanted.folder(settings)
    paths = [folder / f"{index:03}.mp4" for index in range(wanted.count)]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with Engine(settings) as engine:
            _render(engine, list(wanted.requests()), missing, paths, observer)
    return folder


def _render(
    engine: Engine,
    requests: Sequence[GenerationRequest],
    missing: Sequence[int],
    paths: Sequence[Path],
    observer: TrainingObserver,
) -> None:
    for done, index in enumerate(missing):
        check_cancelled(observer, "training")
        observer.progress(TrainingProgress(TrainingStage.REGULARISING, done, len(missing)))
        rendered = engine.render(requests[index], _Rendering(observer))
        with whole_file(paths[index].with_suffix(CAPTION_SUFFIX)) as part:
            part.write_text(requests[index].prompt, encoding="utf-8")
        encode(rendered.frames, requests[index].fps, paths[index], None)


class _Rendering:
    """Cancels a clip when its training is cancelled."""

    def __init__(self, observer: TrainingObserver) -> None:
        self._observer = observer

    def progress(self, progress: Progress) -> None:
        pass  # of one clip among many

    def cancelled(self) -> bool:
        return self._observer.cancelled()
