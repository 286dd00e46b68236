"""What of a clip decides its memory and time."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.devices import SPLIT_SPEEDUP, Devices
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.step_cache import CacheKind


@dataclass(frozen=True)
class Geometry:
    """Size of a clip in pixels and frames, and the work it asks of the transformer and the VAE."""

    width: int
    height: int
    num_frames: int
    passes: float
    """Transformer passes: one a denoising step, another with classifier-free guidance; fewer with a step cache."""
    encodes: bool = False
    """Whether the VAE encodes images or videos before denoising."""
    cache: CacheKind = CacheKind.OFF
    """The step cache, which keeps activations between steps."""
    reference_images: int = 0
    """VACE denoises each as a latent frame before the clip's own."""
    guided_steps: int = 0
    """Denoising steps with two passes."""
    lora_bytes: int = 0
    """Sizes of the clip's LoRA files, which lie beside the transformer's weights."""

    @classmethod
    def of(cls, request: GenerationRequest, spec: ModelSpec) -> Geometry:
        """The geometry of a request for this model. For the model's own clip pass `own_request(spec)`."""
        cache, branches = request.step_cache, (request.num_inference_steps, len(request.guided_steps))
        return cls(
            request.width,
            request.height,
            request.num_frames,
            passes=sum(cache.computed(steps, spec) if cache else steps for steps in branches),
            encodes=request.image is not None or spec.takes_control,  # VACE encodes a blank video if none is given
            cache=cache.kind if cache else CacheKind.OFF,
            guided_steps=len(request.guided_steps),
            reference_images=len(request.reference_images),
        )

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.width * self.height

    @property
    def video_pixels(self) -> int:
        """Pixels of all frames."""
        return self.pixels * self.num_frames

    def passes_in_a_row(self, devices: Devices) -> float:
        """Passes that follow one another on these devices; one whose tokens are shared counts as a part of one."""
        in_a_row = self.passes - (self.guided_steps if devices.branches > 1 else 0)
        return in_a_row / (SPLIT_SPEEDUP if devices.split > 1 else 1.0)

    def tokens(self, spec: ModelSpec) -> int:
        """Latent tokens: the length of the transformer's sequence."""
        frames = self.num_frames + self.reference_images * spec.temporal_compression
        return spec.latent_tokens(self.width, self.height, frames)
