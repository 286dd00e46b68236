"""Latents and text embeddings of a dataset: computed once, cached by content. Encoders are released afterwards."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from wan_pipeline.engine.decode import latent_scale
from wan_pipeline.engine.device.cpu_convolution import use_onednn
from wan_pipeline.engine.device.placement import CPU, Placement, release_memory
from wan_pipeline.engine.load import load_component
from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.engine.memory.offload import tiled_encode
from wan_pipeline.engine.text import MAX_CACHED, EmbeddingCache, embed
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.progress import check_cancelled
from wan_pipeline.storage.files import keep_newest, whole_file
from wan_pipeline.storage.hashes import FileHashes
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.dataset.check import Dataset, Example
from wan_pipeline.trainer.dataset.pixels import read_pixels
from wan_pipeline.trainer.progress import (
    CaptionsObserver,
    TrainingObserver,
    TrainingProgress,
    TrainingStage,
)

logger = logging.getLogger(__name__)

MAX_LATENTS = 2000
"""Latents that the cache holds, or as many as the dataset has if more: those of 512 x 512 x 33 take 2.4 MB."""


@dataclass(frozen=True)
class Prepared:
    """A dataset as the transformer trains on it. All tensors are on the CPU."""

    buckets: tuple[Bucket, ...]
    """Of each example."""
    latents: tuple[Tensor, ...]
    """Of each example, normalised, fp32 (channels, latent frames, height, width)."""
    texts: tuple[Tensor, ...]
    """Of each example, (tokens, width), without the padding."""
    no_text: Tensor
    """Of the empty caption."""
    text_length: int
    """Tokens that the transformer reads."""
    sha256: str
    """Of the files' contents, their captions and their buckets."""

    def batch(self, indices: Sequence[int]) -> Tensor:
        """The latents of some examples of one bucket, (batch, channels, latent frames, height, width)."""
        return torch.stack([self.latents[index] for index in indices])

    def text_batch(self, indices: Sequence[int], dropped: Sequence[bool]) -> Tensor:
        """Their texts, (batch, tokens, width), padded with zeros; the empty caption's where `dropped`."""
        texts = [self.no_text if drop else self.texts[index] for index, drop in zip(indices, dropped, strict=True)]
        padded = texts[0].new_zeros(len(texts), self.text_length, texts[0].shape[1])
        for row, text in zip(padded, texts, strict=True):
            row[: len(text)] = text
        return padded


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


def prepare(dataset: Dataset, trigger: str, encoders: Encoders, observer: TrainingObserver) -> Prepared:
    """Encode captions, each behind the `trigger` word if there is one, and pixels.

    Raises ImageError, ModelError, GenerationError, StorageError or Cancelled.
    """
    captions = [f"{trigger} {example.item.caption}".strip() for example in dataset.examples]
    texts = _encode_texts([*captions, ""], encoders, observer)
    hashes = FileHashes(encoders.cache / "hashes")
    contents = [hashes.sha256(one.item.path, lambda: check_cancelled(observer, "training")) for one in dataset.examples]
    latents = _encode_pixels(dataset.examples, contents, encoders, observer)
    facts = [
        [content, caption, str(example.bucket)]
        for content, caption, example in zip(contents, captions, dataset.examples, strict=True)
    ]
    return Prepared(
        buckets=tuple(example.bucket for example in dataset.examples),
        latents=tuple(latents),
        texts=tuple(texts[:-1]),
        no_text=texts[-1],
        text_length=encoders.model.spec.max_sequence_length,
        sha256=hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogatepass")).hexdigest(),
    )


@torch.no_grad()
def _encode_texts(captions: list[str], encoders: Encoders, observer: TrainingObserver) -> list[Tensor]:
    embeddings = embed(
        encoders.model,
        captions,
        EmbeddingCache(encoders.cache / "prompts", max(len(captions), MAX_CACHED)),
        encoders.place,
        encoders.text_setup,
        CaptionsObserver(observer),
        streams=encoders.streams_text,
    )
    return [_unpadded(embedding[0]) for embedding in embeddings]


def _unpadded(text: Tensor) -> Tensor:
    """Without the rows of zeros at its end."""
    filled = text.abs().amax(dim=1).nonzero()
    return text[: int(filled[-1]) + 1].clone() if len(filled) else text[:1].clone()


@torch.no_grad()
def _encode_pixels(
    examples: Sequence[Example], contents: Sequence[str], encoders: Encoders, observer: TrainingObserver
) -> list[Tensor]:
    paths = [
        _latents_path(encoders, content, example.bucket) for content, example in zip(contents, examples, strict=True)
    ]
    found = [_read_latents(path) for path in paths]
    missing = [index for index, latents in enumerate(found) if latents is None]
    if missing:
        vae = load_component(encoders.model, "vae", AutoencoderKLWan, encoders.place.device, torch.float32)
        if encoders.place.on_cpu:
            use_onednn(vae)
        with ExitStack() as stack:
            stack.callback(release_memory, encoders.place)
            if encoders.in_tiles:
                stack.enter_context(tiled_encode(vae))
            for done, index in enumerate(missing):
                check_cancelled(observer, "training")
                observer.progress(TrainingProgress(TrainingStage.ENCODING, done, len(missing)))
                found[index] = _encode(vae, examples[index], encoders)
                _write_latents(paths[index], found[index])
            del vae
        keep_newest(encoders.cache / "latents", max(MAX_LATENTS, len(paths)))
    return [latents for latents in found if latents is not None]


def _encode(vae: Any, example: Example, encoders: Encoders) -> Tensor:
    """Normalised latents of one example, as the pipeline normalises those of a given image."""
    pixels = torch.from_numpy(read_pixels(example.item, example.bucket, encoders.model.spec.fps).copy())
    video = pixels.permute(3, 0, 1, 2)[None].to(encoders.place.device, torch.float32) / 127.5 - 1
    mean, std = (value.to(video.device) for value in latent_scale(vae))
    latents: Tensor = (vae.encode(video).latent_dist.mode() - mean) / std
    if not bool(torch.isfinite(latents).all()):
        raise GenerationError(f"The VAE's output for {example.item.name} is not a number; its weights are damaged.")
    return latents[0].to(CPU)


def _latents_path(encoders: Encoders, content: str, bucket: Bucket) -> Path:
    parts = (encoders.model.fingerprint, content, str(bucket), encoders.place.device.type, str(encoders.in_tiles))
    return encoders.cache / "latents" / f"{hashlib.sha256(' '.join(parts).encode()).hexdigest()}.safetensors"


def _read_latents(path: Path) -> Tensor | None:
    """Cached latents; None if there are none, or they are damaged and have to be made again."""
    try:
        latents = aligned(load_file(path)["latents"])
    except FileNotFoundError:
        return None
    except (SafetensorError, KeyError, OSError) as error:
        logger.warning("The cached latents %s are damaged and are made again: %s", path, error)
        return None
    os.utime(path)
    return latents


def _write_latents(path: Path, latents: Tensor | None) -> None:
    assert latents is not None  # noqa: S101
    with whole_file(path) as part:
        part.write_bytes(save({"latents": latents.contiguous()}))
