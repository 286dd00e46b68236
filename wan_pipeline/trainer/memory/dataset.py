"""What a prepared dataset takes of the machine's memory, from the first step of a training to the last. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from wan_pipeline.models.reading.inspect import MASK_CHANNELS
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.trainer.dataset.buckets import Bucket

FP32_BYTES, BF16_BYTES = 4, 2
CAPTION_TOKENS = 100
"""Of a long caption: embeddings are stored without their padding."""
IMAGE_TOKENS, IMAGE_WIDTH = 257, 1280
"""Of the image encoder's embedding (CLIP ViT-H/14)."""


def dataset_bytes(spec: ModelSpec, buckets: Mapping[Bucket, int], *, on_cpu: bool) -> float:
    """Bytes of latents, first frames and texts, for so many examples of each bucket."""
    return float(sum(count * _example_bytes(spec, bucket, on_cpu=on_cpu) for bucket, count in buckets.items()))


def _example_bytes(spec: ModelSpec, bucket: Bucket, *, on_cpu: bool) -> int:
    frames = (bucket.frames - 1) // spec.temporal_compression + 1
    positions = frames * (bucket.width // spec.spatial_compression) * (bucket.height // spec.spatial_compression)
    channels = spec.latent_channels
    if spec.needs_image:
        channels += MASK_CHANNELS + spec.latent_channels
    text = CAPTION_TOKENS * spec.memory.text_width * (FP32_BYTES if on_cpu else BF16_BYTES)
    image = IMAGE_TOKENS * IMAGE_WIDTH * FP32_BYTES if spec.needs_image and spec.memory.reads_images else 0
    return channels * positions * FP32_BYTES + text + image
