"""Ends the denoising of one clip once the clean clip that its steps head for hardly changes.

After each step the solver's course gives an estimate of the clean latents. Its change from the step before, as a share
of its norm, falls on the way; below the clip's threshold the estimate itself becomes the latents.
"""

from __future__ import annotations

import math

import torch

from wan_pipeline.engine.checkpoint import ResumeState
from wan_pipeline.engine.device.placement import CPU
from wan_pipeline.engine.loading.load import Denoiser
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.early_end import ALWAYS, largest_change


class EarlyEnd:
    """Of one clip whose request has one."""

    @classmethod
    def of(cls, request: GenerationRequest, denoiser: Denoiser, state: ResumeState | None) -> EarlyEnd | None:
        """The request's, with the estimate of an earlier run's `state`; None if it does all steps."""
        if not request.early_end:
            return None
        return cls(request, denoiser.boundary_ratio, state, _first_own_frame(request, denoiser))

    def __init__(
        self, request: GenerationRequest, boundary: float | None, state: ResumeState | None, first_frame: int = 0
    ) -> None:
        """`boundary` is the noise level below which a second expert takes over. `state` is that of an earlier run.

        `first_frame` is the first latent frame that the model itself makes for the clip; see `_first_own_frame`.
        """
        self.clean = state.clean if state else None
        """The estimate after the last step; None before the first."""
        self.steps_done = state.ended_at if state else 0
        """Steps after which it ended; 0 if it has not."""
        self._steps = request.num_inference_steps
        self._threshold = largest_change(request.early_end)
        self._below = math.inf if boundary is None else boundary
        self._first_frame = first_frame
        self._was_below = self.clean is not None and state is not None and state.clean_is_below

    @property
    def is_below(self) -> bool:
        """Whether the last estimate is one of the expert that does the last steps."""
        return self._was_below

    def ends(self, done: int, clean: torch.Tensor, noise_level: float) -> bool:
        """Whether the clip ends after `done` steps, the last of which began at this noise level."""
        before, was_below = self.clean, self._was_below
        self.clean, self._was_below = clean, noise_level < self._below
        if before is None or not was_below or done < math.ceil(ALWAYS * self._steps) or done >= self._steps:
            return False
        own = slice(self._first_frame, None)
        if change_between(before[:, :, own], clean[:, :, own]) >= self._threshold:
            return False
        self.steps_done = done
        return True


def _first_own_frame(request: GenerationRequest, denoiser: Denoiser) -> int:
    """The number of latent frames before those that a clip shows and the model makes.

    Reference images come first and are cut off. Models that expand timesteps put the first image's own latents over
    the first frame, but only after the last step.
    """
    is_image_first = denoiser.expand_timesteps and request.mode is Mode.IMAGE_TO_VIDEO
    return len(request.reference_images) + int(is_image_first)


def change_between(before: torch.Tensor, clean: torch.Tensor) -> float:
    """The change from one estimate to the next as a share of the norm.

    In fp64 on the CPU, so that neither a sum's order nor the device decides; not every device has fp64.
    """
    now, then = clean.to(CPU).double(), before.to(CPU).double()
    norm = float(now.norm())
    return float((now - then).norm()) / norm if norm else 0.0
