"""A pool of latents for the denoiser: clips are rendered, encoded and captioned, and slowly replaced by new ones."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from training.words import tokenize
from wan_pipeline.demo.captions import MAX_TOKENS, SceneWords, caption, make_tokenizer
from wan_pipeline.demo.scenes import Scenes, render, sample_scenes
from wan_pipeline.engine.decoding.decode import latent_scale


@dataclass(frozen=True)
class Shape:
    width: int
    height: int
    frames: int
    share: float = 1.0


SHAPES = (  # the sizes and lengths offered on the page; most clips have the default
    Shape(320, 192, 33, 0.62),
    Shape(192, 320, 33, 0.10),
    Shape(256, 256, 33, 0.10),
    Shape(320, 192, 17, 0.08),
    Shape(320, 192, 49, 0.10),
)
STILL = Shape(320, 192, 1)
STILLS_FOR_A_CLIP = 4
"""Stills in a batch per clip: a still is a ninth of a clip's tokens."""
CAPTIONS_PER_CLIP = 6


class Pool:
    """Latents of rendered clips with tokenized captions: one ring buffer per clip shape and one for single frames.

    `rank` seeds the clips of each process differently; batches have the same shape in all processes, so that none
    waits for another.
    """

    def __init__(self, vae: AutoencoderKLWan, capacity: int, device: str, seed: int, rank: int = 0) -> None:
        self.vae, self.device = vae, device
        self.generator = torch.Generator().manual_seed(seed + rank)
        self.rng, self.shape_rng = random.Random(seed + rank), random.Random(seed)
        self.tokenizer = make_tokenizer()
        self.nothing = tokenize(self.tokenizer, [""]).to(device, torch.int32)
        self.mean, self.std = (value.to(device) for value in latent_scale(vae))
        channels = vae.config.z_dim
        self.rings = [Ring(max(int(capacity * shape.share), 16), channels, shape, device) for shape in SHAPES]
        self.stills = Ring(capacity, channels, STILL, device)
        self.made = 0

    @torch.no_grad()
    def add(self, ring: Ring, count: int) -> None:
        """Render, encode and caption `count` new clips into a ring."""
        shape = ring.shape
        scenes = sample_scenes(count, self.generator, held_out=False)
        clips, _ = render(scenes.to(self.device), shape.width, shape.height, torch.arange(shape.frames), shape.frames)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            latents = self.vae.encode(clips * 2 - 1).latent_dist.mode().float()
        ring.put((latents - self.mean) / self.std, self._tokens(scenes))
        self.made += count

    def _tokens(self, scenes: Scenes) -> Tensor:
        texts = []
        for row in range(len(scenes)):
            words = SceneWords(
                *(int(getattr(scenes, name)[row]) for name in ("obj", "color", "motion", "place", "look"))
            )
            texts += [caption(words, self.rng) for _ in range(CAPTIONS_PER_CLIP)]
            texts += [caption(words, self.rng, given_image=True) for _ in range(CAPTIONS_PER_CLIP)]
        return tokenize(self.tokenizer, texts).view(len(scenes), 2 * CAPTIONS_PER_CLIP, MAX_TOKENS)

    def batch(self, count: int, still_share: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sample latents of one shape, float32 (N, C, T, H, W), and a caption's tokens for each, int32 (N, MAX_TOKENS).

        A tenth of the captions are empty, for classifier-free guidance. With probability `still_share` it is a batch
        of stills, and N is STILLS_FOR_A_CLIP times `count`.
        """
        is_still, ring = self.shape_rng.random() < still_share, self._pick(self.shape_rng)
        return self.batch_of(self.stills if is_still else ring, count)

    def batch_of(self, ring: Ring, count: int) -> tuple[Tensor, Tensor]:
        """Sample a batch from one ring."""
        if ring is self.stills:
            count *= STILLS_FOR_A_CLIP
        latents, tokens = ring.sample(count)
        rows = torch.arange(count, device=self.device)
        tokens = tokens[rows, torch.randint(2 * CAPTIONS_PER_CLIP, (count,), device=self.device)]
        return latents, torch.where(torch.rand(count, 1, device=self.device) < 0.1, self.nothing, tokens)

    def fill(self, minutes: float, chunk: int) -> None:
        """Add `chunk` clips at a time for so long, and to every ring at least once. Large chunks render faster."""
        started = time.monotonic()
        for ring in (*self.rings, *[self.stills] * 4):
            self.add(ring, chunk)
        while (time.monotonic() - started) / 60 < minutes:
            self.renew(chunk)

    def renew(self, chunk: int) -> None:
        """Replace the oldest `chunk` clips of a random shape, and twice as many stills, by new ones."""
        self.add(self._pick(self.rng), chunk)
        self.add(self.stills, 2 * chunk)

    def _pick(self, rng: random.Random) -> Ring:
        return rng.choices(self.rings, [ring.shape.share for ring in self.rings])[0]


class Ring:
    """A ring buffer of the newest clips of one shape: bf16 latents and the token ids of their captions."""

    def __init__(self, capacity: int, channels: int, shape: Shape, device: str) -> None:
        self.shape, self.filled, self.next = shape, 0, 0
        latent = (channels, (shape.frames - 1) // 4 + 1, shape.height // 16, shape.width // 16)
        self.latents = torch.empty(capacity, *latent, dtype=torch.bfloat16, device=device)
        self.tokens = torch.zeros(capacity, 2 * CAPTIONS_PER_CLIP, MAX_TOKENS, dtype=torch.int32, device=device)

    def put(self, latents: Tensor, tokens: Tensor) -> None:
        rows = [(self.next + k) % len(self.latents) for k in range(len(latents))]
        self.latents[rows] = latents.to(self.latents)
        self.tokens[rows] = tokens.to(self.tokens)
        self.next = (rows[-1] + 1) % len(self.latents)
        self.filled = min(self.filled + len(latents), len(self.latents))

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(self.filled, (count,), device=self.latents.device)
        return self.latents[index].float(), self.tokens[index]
