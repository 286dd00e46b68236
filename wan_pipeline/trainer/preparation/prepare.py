"""Texts, latents and first frames of a dataset, as the transformer reads them. Encoders are released afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wan_pipeline.engine.text import MAX_CACHED, EmbeddingCache, embed
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.dataset.check import Dataset
from wan_pipeline.trainer.flow import Given
from wan_pipeline.trainer.preparation.encode import Encoders, FirstFrame, content_of, encode_pixels
from wan_pipeline.trainer.progress import CaptionsObserver, TrainingObserver


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
    own: int | None = None
    """So many, the first of them, are the dataset's own, and the others for regularisation; None: all are its own."""
    first_frames: tuple[FirstFrame, ...] = ()
    """Of each example, for models whose clips start from an image; empty for others."""

    def batch(self, indices: Sequence[int]) -> Tensor:
        """The latents of some examples of one bucket, (batch, channels, latent frames, height, width)."""
        return torch.stack([self.latents[index] for index in indices])

    def given_batch(self, indices: Sequence[int]) -> Given:
        """Their first frames; nothing for models that need none."""
        frames = [self.first_frames[index] for index in indices] if self.first_frames else []
        images = [frame.image for frame in frames if frame.image is not None]
        return Given(
            torch.stack([frame.beside for frame in frames]) if frames else None,
            torch.stack(images) if images else None,
        )

    def text_batch(self, indices: Sequence[int], dropped: Sequence[bool]) -> Tensor:
        """Their texts, (batch, tokens, width), padded with zeros; the empty caption's where `dropped`."""
        texts = [self.no_text if drop else self.texts[index] for index, drop in zip(indices, dropped, strict=True)]
        padded = texts[0].new_zeros(len(texts), self.text_length, texts[0].shape[1])
        for row, text in zip(padded, texts, strict=True):
            row[: len(text)] = text
        return padded


def prepare(dataset: Dataset, trigger: str, encoders: Encoders, observer: TrainingObserver) -> Prepared:
    """Encode captions, each of the dataset's own behind the `trigger` word if there is one, and pixels.

    Raises DatasetError, ImageError, ModelError, GenerationError, StorageError or Cancelled.
    """
    captions = [
        example.item.caption if example.is_regular else f"{trigger} {example.item.caption}".strip()
        for example in dataset.examples
    ]
    texts = _encode_texts([*captions, ""], encoders, observer)
    contents = [content_of(one.item, encoders.cache, observer) for one in dataset.examples]
    encoded = encode_pixels(dataset.examples, contents, encoders, observer)
    facts = [
        [content, caption, str(example.bucket)]
        for content, caption, example in zip(contents, captions, dataset.examples, strict=True)
    ]
    return Prepared(
        buckets=tuple(example.bucket for example in dataset.examples),
        latents=tuple(one.latents for one in encoded),
        texts=tuple(texts[:-1]),
        no_text=texts[-1],
        text_length=encoders.model.spec.max_sequence_length,
        sha256=hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogatepass")).hexdigest(),
        own=sum(not example.is_regular for example in dataset.examples),
        first_frames=tuple(one.first_frame for one in encoded if one.first_frame is not None),
    )


@torch.no_grad()
def _encode_texts(captions: list[str], encoders: Encoders, observer: TrainingObserver) -> list[Tensor]:
    return embed(
        encoders.model,
        captions,
        EmbeddingCache(encoders.cache / "prompts", max(len(captions), MAX_CACHED)),
        encoders.place,
        encoders.text_setup,
        CaptionsObserver(observer),
        streams=encoders.streams_text,
        shorten=lambda embedding: _unpadded(embedding[0]),
    )


def _unpadded(text: Tensor) -> Tensor:
    """Without the rows of zeros at its end."""
    filled = text.abs().amax(dim=1).nonzero()
    return text[: int(filled[-1]) + 1].clone() if len(filled) else text[:1].clone()
