"""What is done after each denoising step: NaN check, early end, checkpoint, cancel, progress with a preview."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wan_pipeline.engine.checkpoint import Checkpoint, ResumeState, solver_state
from wan_pipeline.engine.conditioning import Conditioning
from wan_pipeline.engine.decoding.preview import LivePreview
from wan_pipeline.engine.early_end import EarlyEnd
from wan_pipeline.errors import GenerationError
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class StepEnd:
    """What is done after each step, beside telling of it."""

    checkpoint: Checkpoint | None
    early: EarlyEnd | None
    begin_step: Callable[[int], None]
    level: float
    """The noise level at which these steps are over; 0: after the last."""

    def is_over(self, done: int, steps: int, noise_level: float) -> bool:
        """Whether these are only a clip's first steps, and the last of them is done."""
        return self.level > 0 and (noise_level <= self.level or done == steps - 1)


class StepCallback:
    """Diffusers' `callback_on_step_end`."""

    def __init__(
        self,
        request: GenerationRequest,
        state: ResumeState | None,
        latents: torch.Tensor,
        preview: LivePreview,
        conditioning: Conditioning,
        observer: Observer,
        end: StepEnd,
    ) -> None:
        self._steps = request.num_inference_steps
        self._end = end
        self._first_step, self._earlier_seconds = (state.step, state.seconds) if state else (0, 0.0)
        self.done = self._first_step
        """Steps of the clip that are done."""
        self.clean = latents
        """The estimate of the clean latents after the last of them."""
        self.noise_level = 1.0
        self._before = latents
        self._preview = preview
        self._conditioning = conditioning
        self._observer = observer
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """That the clip's steps have taken, in earlier runs too."""
        return self._earlier_seconds + time.monotonic() - self._started

    def __call__(self, pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Called with the latents after each step; `step` counts from 0, in a resumed run too."""
        done = self.done = self._first_step + step + 1
        latents: torch.Tensor = values["latents"]
        if not bool(torch.isfinite(latents).all()):
            raise GenerationError(
                f"Step {done} of {self._steps} gave values that are not numbers; "
                "the model's or a LoRA's weights are damaged, or the guidance is too high."
            )
        sigmas = pipeline.scheduler.sigmas
        clean = estimate_clean(self._before, latents, float(sigmas[done - 1]), float(sigmas[done]))
        self._before, self.clean, self.noise_level = latents, clean, float(sigmas[done])
        early, is_over = self._end.early, self._end.is_over(done, self._steps, float(sigmas[done]))
        ends = early is not None and early.ends(done, clean, float(sigmas[done - 1]))
        if ends:
            latents, pipeline._interrupt = clean, True  # as diffusers stops: the other steps compute nothing
        elif is_over:
            pipeline._interrupt = True
        if not is_over:  # the state to go on from is of the clip's own size
            self._save(pipeline, self._steps if ends else done, latents)
        check_cancelled(self._observer)
        eta = (time.monotonic() - self._started) / (step + 1) * (self._steps - done)
        self._observer.progress(Progress(Stage.DENOISING, done, self._steps, eta, self._preview_of(clean)))
        if done < self._steps and not ends and not is_over:
            self._end.begin_step(done)
        return {"latents": latents} if ends else {}

    def _save(self, pipeline: Any, done: int, latents: torch.Tensor) -> None:
        """Write the checkpoint after so many steps, if one is due."""
        checkpoint, early = self._end.checkpoint, self._end.early
        if checkpoint is None:
            return
        state = ResumeState(done, latents, solver_state(pipeline.scheduler), self.seconds)
        if early is not None:
            state = replace(state, clean=early.clean, clean_is_below=early.is_below, ended_at=early.steps_done)
        checkpoint.save_if_due(state, is_last=done == self._steps, is_stopping=self._observer.cancelled())

    def _preview_of(self, clean: torch.Tensor) -> NDArray[np.uint8] | None:
        own, image = clean[:, :, len(self._conditioning.references) :], self._conditioning.image
        if image is None:
            return self._preview.frames(own)
        # TI2V sets the image's latents only after the last step: till then the next frame's stand in
        frames = self._preview.frames(own[:, :, [min(1, own.shape[2] - 1), *range(1, own.shape[2])]])
        if frames is not None:
            frames[0] = np.asarray(image.resize((frames.shape[2], frames.shape[1])))
        return frames


def estimate_clean(before: torch.Tensor, after: torch.Tensor, sigma_before: float, sigma_after: float) -> torch.Tensor:
    """The clean latents that a step was heading for, with any solver: along a flow, x = clean + sigma * velocity."""
    velocity = (after - before) / (sigma_after - sigma_before)
    return after - sigma_after * velocity
