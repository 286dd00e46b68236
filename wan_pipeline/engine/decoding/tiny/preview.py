"""The preview of a clip: by a small decoder where people put one that fits, and by the fitted matrices else."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from torch.func import functional_call
from torch.nn import functional

from wan_pipeline.engine.decoding.preview import MAX_SIDE, Preview, load_preview, pixels
from wan_pipeline.engine.decoding.tiny.files import find_decoder
from wan_pipeline.engine.decoding.tiny.network import Memory, TinyDecoder
from wan_pipeline.settings import Settings

logger = logging.getLogger(__name__)

LATENTS = 3600
"""The most of a frame that are decoded, 80 x 45: more are scaled down before. That bounds the memory: 46 KB for each in
16 bits, which is 0.17 GB for a clip of any size and length, and 20 MB of weights. The planner does not count it, for
the transformer's activations have gone when a preview is made: in a chunked forward they take 0.25 GiB at least.

Latents scaled down by 2, as those of 1280 x 720 are, still decode to pictures 2 to 4 dB nearer to the clip than the
matrices' (PSNR at a quarter of the clip's sides, demo model's VAE); by 4, they do not.
"""
SHARE = 0.03
"""Of the time: after a preview, none is made until it is no more than that. The page keeps the one before."""


class ClipPreview:
    """Makes the previews of one clip."""

    def __init__(
        self,
        plain: Preview,
        decoder: TinyDecoder | None = None,
        warnings: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plain = plain
        self._decoder = decoder
        self._clock = clock
        self._next = -math.inf
        """When the next one may be made, by the clock."""
        self.warnings = list(warnings)
        """What to tell with the clip."""

    @classmethod
    def of(cls, settings: Settings, vae: AutoencoderKLWan, fingerprint: str) -> ClipPreview:
        """By the first decoder that fits the VAE, if there is one, else by its matrices. Raises StorageError.

        The fingerprint is the model's.
        """
        plain = load_preview(vae, settings.cache / "previews", fingerprint)
        scale = vae.config.scale_factor_spatial
        decoder, warnings = find_decoder(settings.preview_decoders, vae.config.z_dim, scale)
        return cls(plain, decoder, tuple(warnings))

    def frames(self, latents: torch.Tensor) -> NDArray[np.uint8] | None:
        """Frames (latent frames, height, width, 3) of normalised latents (1, channels, latent frames, h, w); None where
        the time for previews is spent.
        """
        started = self._clock()
        if self._decoder is None:
            return self._plain.frames(latents)
        if started < self._next:
            return None
        try:
            frames = decoded(self._decoder, latents)
        except RuntimeError as error:  # of the device: out of memory, or without such an operation
            self._give_up(error)
            return self._plain.frames(latents)
        ended = self._clock()
        self._next = ended + (ended - started) / SHARE
        return frames

    def _give_up(self, error: RuntimeError) -> None:
        logger.warning("The preview's decoder failed.", exc_info=error)
        reason = " ".join(str(error).split())[:150]
        self.warnings.append(f"The previews were made without the decoder in models/previews, which failed: {reason}")
        self._decoder = None


def decoded(decoder: TinyDecoder, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Frames of a whole clip, as `Preview.frames` gives them, computed on the latents' device a frame at a time."""
    vectors = latents[0].transpose(0, 1).to("cpu", torch.float32)
    largest = [side * decoder.scale for side in vectors.shape[-2:]]
    shown = min(1.0, MAX_SIDE / max(largest))
    size = [max(round(side * shown), 1) for side in largest]
    colors = [functional.interpolate(each, size, mode="area") for each in _colors(decoder, vectors, latents.device)]
    return pixels(torch.cat(colors).mul(2).sub(1))


def _colors(decoder: TinyDecoder, vectors: torch.Tensor, device: torch.device) -> Iterator[torch.Tensor]:
    """One frame after the other, from 0 to 1, on the CPU."""
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    weights = {name: weight.to(device, dtype) for name, weight in decoder.named_parameters()}  # there for this call
    memory: Memory = {}
    for latent in _bounded(vectors):
        frame: torch.Tensor = functional_call(decoder, weights, (latent[None].to(device, dtype), memory))
        yield frame.to("cpu", torch.float32)


def _bounded(vectors: torch.Tensor) -> torch.Tensor:
    """Latents (n, channels, h, w), scaled down to at most `LATENTS` of a frame."""
    height, width = vectors.shape[-2:]
    scale = math.sqrt(LATENTS / (height * width))
    if scale >= 1:
        return vectors
    size = [max(int(side * scale), 1) for side in (height, width)]
    return functional.interpolate(vectors, size, mode="bicubic", antialias=True)
