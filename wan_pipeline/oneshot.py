"""One clip by one call, for scripts and notebooks."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from wan_pipeline.errors import RequestError
from wan_pipeline.jobs.job import Finished
from wan_pipeline.progress import Observer, SilentObserver
from wan_pipeline.requests.options import FILES
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

_PATHS = {option.field for option in FILES}
_OPTIONS = tuple(field.name for field in fields(Draft) if field.name not in ("prompt", "image"))


def generate(
    prompt: str,
    *,
    image: str | Path | None = None,
    output: str | Path | None = None,
    settings: Settings | None = None,
    observer: Observer | None = None,
    **options: Any,
) -> Finished:
    """Make one clip in this process and wait for it.

    `image` is a picture to start from. `output` is the MP4 to write; without it the clip goes among the workspace's
    clips. `options` are the other fields of `Draft`, such as `model`, `preset`, `seed` and `num_frames`; what is left
    out comes from the preset, then from the model. `observer` gets the progress and can cancel.

    Waits while another process of the workspace computes. Each call loads the weights again: put several clips into a
    `Studio`'s queue.

    Raises UserError for a setting that cannot be used, before any weights are loaded; GenerationError if the model
    fails; Cancelled if the observer asks for it.

    >>> finished = generate("a red ball bounces in the sea", seed=7, num_frames=5, num_inference_steps=2)
    >>> finished.clip.suffix, finished.request.seed
    ('.mp4', 7)
    """
    for name in options:
        if name not in _OPTIONS:
            raise RequestError(name, f"There is no option '{name}'; choose from: {', '.join(_OPTIONS)}.")
    files = {name: Path(path) for name, path in {**options, "image": image}.items() if name in _PATHS and path}
    draft = Draft(**{**options, **files, "prompt": prompt})
    with Studio(settings or Settings()) as studio:
        return studio.in_process.render(draft, Path(output) if output else None, observer or SilentObserver())
