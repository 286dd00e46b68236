"""Pretrain the text encoder to classify what a caption names."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from training import architecture
from training.common import Clock, optimizer_for, optimizer_step, write_record
from wan_pipeline.demo.captions import MAX_TOKENS, SceneWords, caption, make_tokenizer
from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PLACES

log = logging.getLogger(__name__)


def tokenize(tokenizer: Any, texts: list[str]) -> Tensor:
    """Return token ids, int64 (len(texts), MAX_TOKENS), padded with 0."""
    encoded = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return torch.as_tensor(encoded.input_ids)


def embed(encoder: nn.Module, tokens: Tensor) -> Tensor:
    """Return embeddings (B, MAX_TOKENS, TEXT_DIM), zero after the text, as the Wan pipelines pad them."""
    mask = (tokens != 0).long()
    hidden = encoder(input_ids=tokens.long(), attention_mask=mask).last_hidden_state
    return torch.as_tensor(hidden * mask.unsqueeze(-1))


def fit_words(encoder: nn.Module, minutes: float, device: str, seed: int) -> tuple[float, int]:
    """Train the encoder to classify captions; return the last mean accuracy over the attributes and the steps."""
    tokenizer, rng = make_tokenizer(), random.Random(seed)
    sizes = [len(names) for names in (OBJECTS, COLORS, MOTIONS, PLACES, LOOKS)]
    head = nn.Linear(architecture.TEXT_DIM, sum(sizes)).to(device)
    optimizer = optimizer_for([{"params": [*encoder.parameters(), *head.parameters()], "peak": 1e-3}])
    clock, accuracy = Clock(minutes), 0.0
    while not clock.is_over:
        labels = [[rng.randrange(size) for size in sizes] for _ in range(256)]
        texts = [caption(SceneWords(*label), rng) for label in labels]
        tokens, target = tokenize(tokenizer, texts).to(device), torch.tensor(labels, device=device)
        hidden = embed(encoder, tokens[:, : int((tokens != 0).sum(1).max())])
        pooled = hidden.sum(1) / (tokens != 0).sum(1, keepdim=True)
        scores = head(pooled).split(sizes, 1)
        loss = torch.stack([F.cross_entropy(score, target[:, k]) for k, score in enumerate(scores)]).mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer_step([optimizer], encoder, clock)
        if clock.step % 100 == 1:
            hits = [(score.argmax(1) == target[:, k]).float().mean() for k, score in enumerate(scores)]
            accuracy = float(torch.stack(hits).mean())
            log.info("words step %d  loss %.3f  accuracy %.3f", clock.step, loss.item(), accuracy)
    return accuracy, clock.step


def train_words(minutes: float, work: Path, device: str, seed: int) -> None:
    """Write `words.safetensors`: a text encoder, trained from random weights to classify captions."""
    torch.manual_seed(seed)
    encoder = architecture.make_text_encoder(len(make_tokenizer())).to(device)
    accuracy, steps = fit_words(encoder, minutes, device, seed)
    save_file(encoder_state(encoder), work / "words.safetensors")
    write_record(
        work, {"stage": "words", "minutes": minutes, "steps": steps, "seed": seed, "accuracy": accuracy}, device
    )


def encoder_state(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the encoder's tensors, its tied embedding under one name only."""
    state = encoder.state_dict()
    return {name: value.contiguous() for name, value in state.items() if name != "encoder.embed_tokens.weight"}
