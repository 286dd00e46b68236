"""Draws the cards of saved styles: for each a frame by the demo model, in a process that waits for an idle queue.

`python -m wan_pipeline.jobs.background.style_pictures --workspace DIR`
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import psutil
from filelock import Timeout
from PIL import Image

from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.errors import Cancelled, StudioError
from wan_pipeline.jobs.background.process import run_alone
from wan_pipeline.jobs.launch import launch, settings_of, settings_parser
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.registry import DEFAULT_MODEL, MODELS
from wan_pipeline.progress import Progress
from wan_pipeline.requests.presets import preset_folder
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.requests.sampling.speeds import speed_folder
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import WorkspaceLocks, is_held

logger = logging.getLogger(__name__)

MODULE = "wan_pipeline.jobs.background.style_pictures"
PROMPT, SEED, FRAMES = "a red balloon flies up over green hills", 1, 17
"""The scene of every card, as on those that ship."""
SIZE = (200, 120)
"""Size of a card's picture, in pixels."""
ENDINGS = (".webp", ".png", ".jpg")
"""A picture beside a style's file has its name and one of these endings."""
POLL_SECONDS = 1.0


class StylePictures:
    """The pictures of one workspace's saved styles."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def start(self) -> None:
        """Draw those that are missing, as soon as the queue is idle; nothing if a process is drawing. Raises OSError.

        It ends with the last app of the workspace. What is missing then is drawn when an app is opened again.
        """
        if missing(self._settings.own_presets) and not is_held(WorkspaceLocks(self._settings.workspace).artist()):
            launch(MODULE, self._settings, self._settings.logs / "styles.log")


def missing(folder: Path) -> list[Path]:
    """Where the pictures of a folder's styles are to be that have none."""
    files = sorted(folder.glob("*.toml"))
    return [
        path.with_suffix(".webp") for path in files if not any(path.with_suffix(ending).is_file() for ending in ENDINGS)
    ]


class _Artist:
    """Draws one picture after another, and is the observer of each: a clip of the queue comes first."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._locks = settings, WorkspaceLocks(settings.workspace)
        self._jobs = JobReader(Database(settings.database), settings)
        presets = preset_folder(settings.presets, settings.own_presets)
        self._requests = RequestResolver(
            ModelLibrary(settings),
            presets,
            speed_folder(settings.presets / "speeds"),
            LoraLibrary.of(settings),
            InputFiles(settings.inputs),
        )

    def progress(self, progress: Progress) -> None:
        """Nobody waits for it."""

    def cancelled(self) -> bool:
        return self._jobs.will_render() or not self._locks.any_app_is_alive()

    def draw_all(self) -> int:
        """Draw what is missing, while an app is alive, and what is saved meanwhile. Returns how many were drawn."""
        drawn, failed = 0, set[Path]()
        while paths := [path for path in missing(self._settings.own_presets) if path not in failed]:
            if not self._locks.any_app_is_alive():
                break
            if self._jobs.will_render():
                time.sleep(POLL_SECONDS)
                continue
            try:
                drawn += self._draw(paths[0])
            except StudioError as error:  # a style that nothing can be made in keeps its colours
                logger.warning("%s is not drawn: %s", paths[0].name, error)
                failed.add(paths[0])
        return drawn

    def _draw(self, path: Path) -> bool:
        """False if the queue needed the device. Raises StudioError."""
        request = self._request(path.stem)
        from wan_pipeline.engine.engine import Engine  # here: torch takes seconds, and mostly nothing is to be drawn

        try:
            with self._locks.device().acquire(timeout=POLL_SECONDS), Engine(self._settings) as engine:
                frames = engine.render(request, self).frames
        except (Cancelled, Timeout):
            return False
        with whole_file(path) as part:
            picture = Image.fromarray(frames[FRAMES // 2]).resize(SIZE, Image.Resampling.LANCZOS)
            picture.save(part, format="WEBP", quality=85)
        return True

    def _request(self, style: str) -> GenerationRequest:
        """A short clip of the demo model in the style, with its own number of steps. Raises UserError."""
        steps = MODELS[DEFAULT_MODEL].num_inference_steps
        draft = Draft(
            prompt=PROMPT, model=DEFAULT_MODEL, preset=style, seed=SEED, num_frames=FRAMES, num_inference_steps=steps
        )
        return self._requests.resolve(draft)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Draw the cards of saved styles when the queue is idle.")
    settings = settings_of(parser.parse_args(arguments))
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    run_alone(WorkspaceLocks(settings.workspace).artist(), _Artist(settings).draw_all, "pictures of styles")


if __name__ == "__main__":
    main()
