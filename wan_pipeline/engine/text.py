"""Prompt -> embeddings, cached on disk. The text encoder is loaded only for new texts, and released afterwards."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from diffusers import WanPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from wan_pipeline.engine.device.placement import Placement, release_memory
from wan_pipeline.engine.load import load_text_encoder
from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.weights import load_mapped_text_encoder
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.storage.files import keep_newest, whole_file

MAX_CACHED = 256
"""Number of prompt embeddings in the cache, unless one call brings more."""

logger = logging.getLogger(__name__)


def embed(
    model: InstalledModel,
    texts: list[str],
    cache: Path,
    placement: Placement,
    setup: str = "",
    observer: Observer | None = None,
    *,
    streams: bool = False,
    keep: int = 0,
) -> list[torch.Tensor]:
    """The embedding of each text, (1, model.spec.max_sequence_length, encoder width), padded with zeros, on the CPU.

    The bits are those of the pipeline's `encode_prompt`. Cached embeddings belong to one `setup`, which names the
    versions and settings that decide their bits. `streams`: the encoder's blocks are streamed to the device. The cache
    holds at most `keep` embeddings, or MAX_CACHED if that is more.
    Raises ModelError, GenerationError for embeddings that are not finite, StorageError if the cache cannot be written,
    and Cancelled between two texts.
    """
    paths = {text: cache / f"{_key(model, text, placement, setup)}.safetensors" for text in texts}
    found = {text: embedding for text, path in paths.items() if (embedding := _read(path)) is not None}
    absent = [text for text in paths if text not in found]
    for done, (text, embedding) in enumerate(_encode(model, absent, placement, streams), 1):
        _write(paths[text], embedding, max(keep, MAX_CACHED))
        found[text] = embedding
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


def _read(path: Path) -> torch.Tensor | None:
    """The cached embedding; None if there is none, or it is damaged and has to be made again."""
    try:
        embedding = aligned(load_file(path)["embedding"])
    except FileNotFoundError:
        return None
    except (SafetensorError, KeyError, OSError) as error:
        logger.warning("The cached prompt %s is damaged and is encoded again: %s", path, error)
        return None
    os.utime(path)
    return embedding


def _write(path: Path, embedding: torch.Tensor, keep: int) -> None:
    with whole_file(path) as part:
        part.write_bytes(save({"embedding": embedding.contiguous()}))
    keep_newest(path.parent, keep)
