"""Prompt -> embeddings, cached on disk. The text encoder is loaded only for new texts, and released afterwards."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from diffusers import WanPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from wan_pipeline.engine.device.placement import Placement, release_memory
from wan_pipeline.engine.loading.load import load_text_encoder
from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.weights import load_mapped_text_encoder
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.storage.files import keep_newest, whole_file

MAX_CACHED = 256
"""Number of prompt embeddings in the cache, unless a dataset brings more."""
PRUNE_EVERY = 64
"""Embeddings written from one pruning of the cache to the next: each lists the whole folder."""

logger = logging.getLogger(__name__)


class EmbeddingCache:
    """Prompt embeddings in a folder, by key. Those that were not used for longest are deleted from time to time."""

    def __init__(self, folder: Path, keep: int = MAX_CACHED) -> None:
        """After a pruning the folder holds at most `keep` embeddings, before the next one PRUNE_EVERY - 1 more."""
        self._folder = folder
        self._keep = keep
        self._written = 0

    def read(self, key: str) -> torch.Tensor | None:
        """The embedding; None if there is none, or it is damaged and has to be made again."""
        path = self._path(key)
        try:
            embedding = aligned(load_file(path)["embedding"])
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, OSError) as error:
            logger.warning("The cached prompt %s is damaged and is encoded again: %s", path, error)
            return None
        with suppress(OSError):  # another process may have deleted it
            os.utime(path)
        return embedding

    def write(self, key: str, embedding: torch.Tensor) -> None:
        """Raises StorageError."""
        with whole_file(self._path(key)) as part:
            part.write_bytes(save({"embedding": embedding.contiguous()}))
        if self._written % PRUNE_EVERY == 0:  # the first time, too: most processes write a few
            self._prune()
        self._written += 1

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _prune(self) -> None:
        try:
            keep_newest(self._folder, self._keep)
        except OSError as error:  # another process deletes, too, or has a file open
            logger.info("The cache of prompts in %s is pruned later: %s", self._folder, error)


def embed(
    model: InstalledModel,
    texts: list[str],
    cache: EmbeddingCache,
    placement: Placement,
    setup: str = "",
    observer: Observer | None = None,
    *,
    streams: bool = False,
    shorten: Callable[[torch.Tensor], torch.Tensor] = lambda embedding: embedding,
) -> list[torch.Tensor]:
    """The embedding of each text, (1, model.spec.max_sequence_length, encoder width), padded with zeros, on the CPU.

    The bits are those of the pipeline's `encode_prompt`. Cached embeddings belong to one `setup`, which names the
    versions and settings that decide their bits. `streams`: the encoder's blocks are streamed to the device.
    `shorten` is applied to each embedding as it comes, before the next: a padded one of UMT5-XXL takes 4 MB.
    Raises ModelError, GenerationError for embeddings that are not finite, StorageError if the cache cannot be written,
    and Cancelled between two texts.
    """
    keys = {text: _key(model, text, placement, setup) for text in texts}
    found = {text: shorten(embedding) for text, key in keys.items() if (embedding := cache.read(key)) is not None}
    absent = [text for text in keys if text not in found]
    for done, (text, embedding) in enumerate(_encode(model, absent, placement, streams), 1):
        cache.write(keys[text], embedding)
        found[text] = shorten(embedding)
        if observer is not None:
            observer.progress(Progress(Stage.ENCODING_TEXT, done, len(absent)))
            check_cancelled(observer)
    return [found[text] for text in texts]


def _encode(
    model: InstalledModel, texts: list[str], placement: Placement, streams: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """Each text with its embedding. The encoder is released when the iterator ends."""
    if not texts:
        return
    if streams:
        tokenizer, encoder = load_mapped_text_encoder(model, placement.dtype)
    else:
        tokenizer, encoder = load_text_encoder(model, placement.device, placement.dtype)
    pipeline = WanPipeline(tokenizer=tokenizer, text_encoder=encoder, vae=None, scheduler=None)
    with ExitStack() as stack:
        stack.callback(release_memory, placement)
        if streams:
            stack.enter_context(streaming([StreamedModel(encoder)], placement.device))
        for text in texts:
            embedding, _ = pipeline.encode_prompt(
                text,
                do_classifier_free_guidance=False,
                max_sequence_length=model.spec.max_sequence_length,
                device=placement.device,
            )
            if not bool(torch.isfinite(embedding).all()):
                raise GenerationError("The text encoder's output is not a number; its weights are damaged.")
            yield text, embedding.cpu()
        del pipeline, encoder


def _key(model: InstalledModel, text: str, placement: Placement, setup: str) -> str:
    length, dtype, device = model.spec.max_sequence_length, placement.dtype, placement.device.type
    parts = (model.fingerprint, text, str(length), str(dtype), device, setup)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
