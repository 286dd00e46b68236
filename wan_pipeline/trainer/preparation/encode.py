"""Latents of images and clips, and what a model is given of their first frames: computed once, cached by content."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from wan_pipeline.engine.decoding.decode import latent_scale
from wan_pipeline.engine.device.cpu_convolution import use_onednn
from wan_pipeline.engine.device.placement import CPU, Placement, release_memory
from wan_pipeline.engine.loading.load import load_component, load_image_encoder
from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.engine.memory.offload import tiled_encode
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.inspect import MASK_CHANNELS
from wan_pipeline.progress import check_cancelled
from wan_pipeline.storage.files import keep_newest, whole_file
from wan_pipeline.storage.hashes import FileHashes
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.dataset.check import Example
from wan_pipeline.trainer.dataset.folder import DatasetError, Item
from wan_pipeline.trainer.dataset.pixels import read_pixels
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage

logger = logging.getLogger(__name__)

MAX_LATENTS = 2000
"""Examples that the cache holds, or as many as the dataset has if more: those of 512 x 512 x 33 take 2.4 MB."""
LATENTS, BESIDE, IMAGE = "latents", "beside", "image"
"""Names of the tensors in a file of the cache."""


@dataclass(frozen=True)
class Encoders:
    """What prepares a dataset for one model."""

    model: InstalledModel
    place: Placement
    cache: Path
    text_setup: str
    """What decides the bits of embeddings beside the text and the model, from `ProvenanceRecorder.text_setup`."""
    streams_text: bool = False
    in_tiles: bool = False
    """Whether the VAE encodes in tiles, for small devices."""


@dataclass(frozen=True)
class FirstFrame:
    """What a model whose clips start from an image is given of it. On the CPU, fp32."""

    beside: Tensor
    """Mask and latents, (4 + channels, latent frames, height, width)."""
    image: Tensor | None
    """The image encoder's embedding, (tokens, width); None for models without one."""


@dataclass(frozen=True)
class Encoded:
    """One example. On the CPU, fp32."""

    latents: Tensor
    """Normalised, (channels, latent frames, height, width)."""
    first_frame: FirstFrame | None
    """None for models that need none."""


def content_of(item: Item, cache: Path, observer: TrainingObserver) -> str:
    """Hash of an item's file as it is now.

    Raises DatasetError if it cannot be read any more, StorageError or Cancelled.
    """
    try:
        return FileHashes(cache / "hashes").sha256(item.path, lambda: check_cancelled(observer, "training"))
    except OSError as error:
        raise DatasetError(
            f"{item.name} could be read when the dataset was checked, and cannot be now ({error.strerror}); "
            "put it back, or start the training again without it."
        ) from error


@torch.no_grad()
def encode_pixels(
    examples: Sequence[Example], contents: Sequence[str], encoders: Encoders, observer: TrainingObserver
) -> list[Encoded]:
    """Encode examples, whose files have these hashes.

    Raises DatasetError, ImageError, ModelError, GenerationError, StorageError or Cancelled.
    """
    paths = [_path(encoders, content, example.bucket) for content, example in zip(contents, examples, strict=True)]
    found = [_read(path) for path in paths]
    missing = [index for index, encoded in enumerate(found) if encoded is None]
    if missing:
        with ExitStack() as stack:
            stack.callback(release_memory, encoders.place)
            encoder = _PixelEncoder(encoders, stack)
            for done, index in enumerate(missing):
                check_cancelled(observer, "training")
                observer.progress(TrainingProgress(TrainingStage.ENCODING, done, len(missing)))
                encoded = found[index] = encoder.encode(examples[index])
                if content_of(examples[index].item, encoders.cache, observer) != contents[index]:
                    raise DatasetError(
                        f"{examples[index].item.name} has changed while it was read; start the training again."
                    )
                _write(paths[index], encoded)
            del encoder
        keep_newest(encoders.cache / "latents", max(MAX_LATENTS, len(paths)))
    return [encoded for encoded in found if encoded is not None]


class _PixelEncoder:
    """The loaded VAE, and the image encoder of models that have one."""

    def __init__(self, encoders: Encoders, stack: ExitStack) -> None:
        """What is set on the VAE is undone with `stack`."""
        self._spec = encoders.model.spec
        self._device = encoders.place.device
        self._vae = load_component(encoders.model, "vae", AutoencoderKLWan, self._device, torch.float32)
        if encoders.place.on_cpu:
            use_onednn(self._vae)
        if encoders.in_tiles:
            stack.enter_context(tiled_encode(self._vae))
        self._images: tuple[Any | None, Any | None] = (None, None)
        if self._spec.needs_image:
            self._images = load_image_encoder(encoders.model, self._device)

    def encode(self, example: Example) -> Encoded:
        pixels = read_pixels(example.item, example.bucket, self._spec.fps).copy()
        video = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None].to(self._device, torch.float32) / 127.5 - 1
        latents = self._latents(video, example.item.name)
        if not self._spec.needs_image:
            return Encoded(latents, None)
        video[:, :, 1:] = 0
        beside = torch.cat([first_frame_mask(latents), self._latents(video, example.item.name)])
        return Encoded(latents, FirstFrame(beside, self._embedding(pixels[0])))

    def _latents(self, video: Tensor, name: str) -> Tensor:
        """Normalised as the pipeline normalises those of a given image, (channels, latent frames, height, width)."""
        mean, std = (value.to(video.device) for value in latent_scale(self._vae))
        latents: Tensor = (self._vae.encode(video).latent_dist.mode() - mean) / std
        if not bool(torch.isfinite(latents).all()):
            raise GenerationError(f"The VAE's output for {name} is not a number; its weights are damaged.")
        return latents[0].to(CPU)

    def _embedding(self, frame: NDArray[Any]) -> Tensor | None:
        """Of the last layer but one, as `WanImageToVideoPipeline.encode_image` takes it, (tokens, width)."""
        encoder, processor = self._images
        if encoder is None or processor is None:
            return None
        inputs = processor(images=Image.fromarray(frame), return_tensors="pt").to(self._device)
        hidden: Tensor = encoder(**inputs, output_hidden_states=True).hidden_states[-2]
        return hidden[0].to(CPU)


def first_frame_mask(latents: Tensor) -> Tensor:
    """1 where a frame is given, (4, latent frames, height, width): the first latent frame, which is one frame.

    The channels are the four frames of a latent frame, as `WanImageToVideoPipeline.prepare_latents` folds them.
    """
    mask = latents.new_zeros(MASK_CHANNELS, *latents.shape[1:])
    mask[:, 0] = 1
    return mask


def _path(encoders: Encoders, content: str, bucket: Bucket) -> Path:
    parts = (encoders.model.fingerprint, content, str(bucket), encoders.place.device.type, str(encoders.in_tiles))
    return encoders.cache / "latents" / f"{hashlib.sha256(' '.join(parts).encode()).hexdigest()}.safetensors"


def _read(path: Path) -> Encoded | None:
    """What is cached; None if there is nothing, or it is damaged and has to be made again."""
    try:
        tensors = {name: aligned(tensor) for name, tensor in load_file(path).items()}
        latents = tensors[LATENTS]
    except FileNotFoundError:
        return None
    except (SafetensorError, KeyError, OSError) as error:
        logger.warning("The cached latents %s are damaged and are made again: %s", path, error)
        return None
    os.utime(path)
    first = FirstFrame(tensors[BESIDE], tensors.get(IMAGE)) if BESIDE in tensors else None
    return Encoded(latents, first)


def _write(path: Path, encoded: Encoded) -> None:
    tensors = {LATENTS: encoded.latents}
    if encoded.first_frame is not None:
        tensors[BESIDE] = encoded.first_frame.beside
        if encoded.first_frame.image is not None:
            tensors[IMAGE] = encoded.first_frame.image
    with whole_file(path) as part:
        part.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
