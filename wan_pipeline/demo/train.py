"""Train the demo model: first the autoencoder, then the text encoder with the transformer. `make demo-model` runs it.

    python -m wan_pipeline.demo.train vae --minutes 8 --work build/demo
    python -m wan_pipeline.demo.train denoiser --minutes 10 --work build/demo
    python -m wan_pipeline.demo.train export --work build/demo --to wan_pipeline/demo/checkpoint

Schedules run on the clock, so a stage ends well whatever the card. Weights start random; every clip is drawn on the
fly by `scenes`, and the combinations in `vocabulary.is_held_out` are never shown to the transformer.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan, WanPipeline
from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wan_pipeline.demo import architecture
from wan_pipeline.demo.captions import MAX_TOKENS, SceneWords, caption, make_tokenizer
from wan_pipeline.demo.scenes import Scenes, draw_lots, render
from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PLACES

log = logging.getLogger("demo.train")


@dataclass
class Clock:
    """Progress of a stage from 0 to 1 by wall time, and the learning rate that follows from it."""

    minutes: float
    warmup_steps: int = 150
    started: float = field(default_factory=time.monotonic)
    step: int = 0

    @property
    def elapsed(self) -> float:
        return (time.monotonic() - self.started) / 60

    @property
    def done(self) -> float:
        return min(self.elapsed / self.minutes, 1.0)

    def rate(self, peak: float) -> float:
        return peak * min(1.0, (self.step + 1) / self.warmup_steps) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.done)))


class Average:
    """Exponential moving average of a module's parameters, the weights that are kept."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.shadow = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.module.parameters()], 1 - decay)

    @torch.no_grad()
    def install(self) -> None:
        for parameter, shadow in zip(self.module.parameters(), self.shadow, strict=True):
            parameter.copy_(shadow)


def optimizer_for(parameters: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01, fused=torch.cuda.is_available())


# The autoencoder ---------------------------------------------------------------------------------------------------


def wild_clips(count: int, width: int, height: int, frames: int, generator: torch.Generator, device: str) -> Tensor:
    """Clips of drifting colour noise with hard edges: what the autoencoder must also carry, as people bring photographs.

    Returns (count, 3, frames, height, width) in 0..1.
    """
    picture = torch.zeros(count, 3, height + 32, width + 32, device=device)
    for cells, strength in ((3, 0.6), (6, 0.35), (15, 0.15)):
        noise = torch.randn(count, 3, cells, cells * width // height + 1, generator=generator).to(device)
        mode = "nearest" if cells == 6 else "bicubic"
        picture += strength * F.interpolate(noise, picture.shape[-2:], mode=mode)
    picture = torch.sigmoid(1.6 * picture)
    speed = torch.randint(-2, 3, (2,), generator=generator).tolist()
    shifts = [(16 + speed[0] * min(k, 7), 16 + speed[1] * min(k, 7)) for k in range(frames)]
    return torch.stack([picture[:, :, r : r + height, c : c + width] for r, c in shifts], 2)


SHORT, LONG = 9, 49
"""Frames of the autoencoder's training windows: short ones teach it pictures; its causal convolutions remember more
than that, so a last round on the longest clips teaches it to stay steady (19 dB without, at 33 frames)."""


class PixelPool:
    """Short windows of drawn clips as bytes, (N, 4, T, H, W): colour, and the object's coverage as fourth channel."""

    def __init__(self, capacity: int, frames: int, width: int, height: int, device: str, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.frames, self.width, self.height = device, frames, width, height
        self.clips = torch.zeros(capacity, 4, frames, height, width, dtype=torch.uint8, device=device)
        self.filled = self.next = 0

    def add(self, count: int) -> None:
        whole = max(33, self.frames)
        first = int(torch.randint(0, whole - self.frames + 1, (1,), generator=self.generator))
        lots = draw_lots(count, self.generator).to(self.device)
        pixels, mask = render(lots, self.width, self.height, torch.arange(first, first + self.frames), whole)
        if torch.rand((), generator=self.generator) < count / 25:
            pixels[:1] = wild_clips(1, self.width, self.height, self.frames, self.generator, self.device)
            mask[:1] = 0
        slots = [(self.next + k) % len(self.clips) for k in range(count)]
        self.clips[slots] = (torch.cat([pixels, mask], 1) * 255 + 0.5).to(torch.uint8)
        self.next = (slots[-1] + 1) % len(self.clips)
        self.filled = min(max(self.filled, slots[-1] + 1), len(self.clips))

    def windows(self, count: int, width: int, height: int) -> tuple[Tensor, Tensor]:
        """Random cut-outs: pixels (count, 3, T, height, width) in -1..1 and a loss weight, some mirrored."""
        rows = torch.randint(self.filled, (count,)).tolist()
        tops = torch.randint(self.height - height + 1, (count,)).tolist()
        lefts = torch.randint(self.width - width + 1, (count,)).tolist()
        cut = torch.stack(
            [self.clips[k, :, :, t : t + height, c : c + width] for k, t, c in zip(rows, tops, lefts, strict=True)]
        )
        cut = cut.flip(-1) if torch.rand(()) < 0.5 else cut
        cut = cut.float() / 255
        return cut[:, :3] * 2 - 1, 1 + 2 * cut[:, 3:]


class VaeStep:
    """One forward and backward pass on a fixed shape, replayed as a CUDA graph: small layers are bound by launches."""

    def __init__(self, vae: AutoencoderKLWan, count: int, frames: int, width: int, height: int, device: str) -> None:
        self.vae, self.device = vae, device
        self.pixels = torch.zeros(count, 3, frames, height, width, device=device)
        self.weight = torch.ones(count, 1, frames, height, width, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.parameters = [parameter for parameter in vae.parameters()]
        self.grads: list[Tensor | None] = []
        if device == "cuda":
            try:
                self._capture()
            except RuntimeError:
                log.exception("no CUDA graph; going on without")
                self.graph = None

    def _pass(self) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda", cache_enabled=False):
            posterior = self.vae.encode(self.pixels).latent_dist
            restored = self.vae.decode(posterior.sample()).sample.float()
        error = restored - self.pixels
        reconstruction = (self.weight * (error.abs() + 3.0 * error.square())).mean()
        spread = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()
        (reconstruction + 1e-4 * spread).backward()
        return reconstruction.detach(), spread.detach()

    def _capture(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.vae.zero_grad(set_to_none=True)
                self._pass()
        torch.cuda.current_stream().wait_stream(stream)
        self.vae.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.result = self._pass()
        self.graph = graph
        self.grads = [parameter.grad for parameter in self.parameters]

    def __call__(self, pixels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        self.pixels.copy_(pixels)
        self.weight.copy_(weight)
        if self.graph is None:
            self.vae.zero_grad(set_to_none=True)
            return self._pass()
        for parameter, grad in zip(self.parameters, self.grads, strict=True):
            parameter.grad = grad
        self.graph.replay()
        return self.result


def quick_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """WanRMS_norm in the activations' own dtype; autocast would widen every pass over them."""
    with torch.autocast(x.device.type, enabled=False):
        scale = torch.rsqrt(torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32).square() / x.shape[1] + 1e-8)
        return x * scale.to(x.dtype) * norm.gamma.to(x.dtype)


def set_layout(vae: nn.Module, layout: torch.memory_format) -> None:
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=layout)


def quickest_layout(vae: AutoencoderKLWan, count: int, width: int, height: int) -> torch.memory_format:
    """The memory layout of 3-D convolutions that makes a step quickest on this card, by measurement."""
    seconds: dict[torch.memory_format, float] = {}
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        set_layout(vae, layout)
        step = VaeStep(vae, count, SHORT, width, height, "cuda")
        torch.cuda.synchronize()
        started = time.monotonic()
        for _ in range(4):
            step(step.pixels, step.weight)
        torch.cuda.synchronize()
        seconds[layout] = (time.monotonic() - started) / 4
        log.info("vae step with %s: %.4f s", layout, seconds[layout])
    return min(seconds, key=lambda layout: seconds[layout])


def train_vae(minutes: float, work: Path, batch: int, device: str, seed: int) -> None:
    """Pictures first: many short cut-outs, then short whole frames."""
    torch.manual_seed(seed)
    clock = Clock(minutes)
    vae = with_quick_norms(architecture.make_vae().to(device).train())
    crop, (width, height) = 128, (320, 192)
    if device == "cuda":
        set_layout(vae, quickest_layout(vae, batch, crop, crop))
    pool = PixelPool(6000 if device == "cuda" else 16, SHORT, width, height, device, seed)
    for _ in range(100 if device == "cuda" else 1):
        pool.add(16)
    steps = [(0.8, VaeStep(vae, batch, SHORT, crop, crop, device)), (1.0, VaeStep(vae, max(batch // 4, 1), SHORT, width, height, device))]
    losses = fit_vae(vae, steps, pool, clock, 2e-3, 16)
    finish_vae(vae, work, "vae", {"minutes": minutes, "batch": batch, "seed": seed, "losses": losses}, device)


def steady_vae(minutes: float, work: Path, batch: int, device: str, seed: int) -> None:
    """Then time: whole clips of the greatest length, from the weights of the first round."""
    torch.manual_seed(seed + 7)
    clock = Clock(minutes)
    vae = with_quick_norms(AutoencoderKLWan.from_pretrained(work / "vae").to(device).train())
    if device == "cuda":
        set_layout(vae, torch.channels_last_3d)
    pool = PixelPool(240 if device == "cuda" else 4, LONG, 320, 192, device, seed + 7)
    for _ in range(24 if device == "cuda" else 1):
        pool.add(4)
    steps = [(1.0, VaeStep(vae, max(batch // 16, 1), LONG, 320, 192, device))]
    losses = fit_vae(vae, steps, pool, clock, 6e-4, 4)
    finish_vae(vae, work, "vae-steady", {"minutes": minutes, "batch": batch // 16, "seed": seed + 7, "losses": losses}, device)


def with_quick_norms(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    for module in vae.modules():
        if isinstance(module, WanRMS_norm):
            module.forward = functools.partial(quick_norm, module)
    return vae


def fit_vae(
    vae: AutoencoderKLWan, steps: list[tuple[float, VaeStep]], pool: PixelPool, clock: Clock, peak: float, refresh: int
) -> list[list[float]]:
    """Run each step until its share of the clock is over; leaves the averaged weights in `vae`."""
    average = Average(vae, 0.999)
    optimizer = optimizer_for([{"params": list(vae.parameters())}])
    losses = []
    log.info("vae ready after %.2f min", clock.elapsed)
    for until, step in steps:
        while clock.done < until:
            for group in optimizer.param_groups:
                group["lr"] = clock.rate(peak)
            loss, spread = step(*pool.windows(step.pixels.shape[0], step.pixels.shape[-1], step.pixels.shape[-2]))
            nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step()
            average.update(clock.step)
            if clock.step % 5 == 0:
                pool.add(refresh)
            clock.step += 1
            if clock.step % 250 == 1:
                losses.append([clock.step, round(clock.elapsed, 2), loss.item(), spread.item()])
                log.info("vae step %d  %.2f min  loss %.4f  kl %.2f", *losses[-1])
    average.install()
    return losses


def finish_vae(vae: AutoencoderKLWan, work: Path, name: str, facts: dict[str, Any], device: str) -> None:
    plain = restored_vae(vae).to(device).eval()
    set_latent_statistics(plain, device, 2)
    plain.save_pretrained(work / "vae", max_shard_size="14MB")
    score = psnr(plain, device, 1, 6)
    log.info("vae psnr on unseen scenes: %s", score)
    write_log(work / f"{name}.json", {**facts, "psnr_db": score}, device)


def restored_vae(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """The same weights in an untouched class: plain norms, plain layout."""
    plain = architecture.make_vae()
    plain.load_state_dict({name: value.detach().cpu().contiguous() for name, value in vae.state_dict().items()})
    return plain


@torch.no_grad()
def psnr(vae: AutoencoderKLWan, device: str, seed: int, clips: int = 24) -> dict[str, float]:
    """Mean over clips of the peak signal-to-noise ratio in dB: whole clips, first frames alone, and noise pictures."""
    generator = torch.Generator().manual_seed(seed)
    lots = draw_lots(clips, generator, held_out=True, styled=0.0).to(device)
    whole, first, wild = [], [], []
    for row in range(clips):
        pixels, _ = render(lots.select(torch.tensor([row], device=device)), 320, 192, torch.arange(33), 33)
        whole.append(_psnr(vae, pixels))
        first.append(_psnr(vae, pixels[:, :, :1]))
        wild.append(_psnr(vae, wild_clips(1, 320, 192, 1, generator, device)))
    return {name: sum(values) / clips for name, values in (("clip", whole), ("first_frame", first), ("noise", wild))}


def _psnr(vae: AutoencoderKLWan, pixels: Tensor) -> float:
    restored = vae.decode(vae.encode(pixels * 2 - 1).latent_dist.mode()).sample.float().clamp(-1, 1) / 2 + 0.5
    return -10 * math.log10(float((restored - pixels).square().mean()))


@torch.no_grad()
def set_latent_statistics(vae: AutoencoderKLWan, device: str, seed: int, clips: int = 64) -> None:
    """Write per-channel mean and deviation of latents into the VAE's config, where the pipelines look for them."""
    lots = draw_lots(clips, torch.Generator().manual_seed(seed)).to(device)
    values = []
    for row in range(clips):
        pixels, _ = render(lots.select(torch.tensor([row], device=device)), 320, 192, torch.arange(17), 33)
        values.append(vae.encode(pixels * 2 - 1).latent_dist.mode().float().transpose(0, 1).flatten(1))
    stacked = torch.cat(values, 1)
    vae.register_to_config(latents_mean=stacked.mean(1).tolist(), latents_std=stacked.std(1).tolist())


# Text and denoiser ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    width: int
    height: int
    frames: int
    share: float


SHAPES = (
    Shape(320, 192, 33, 0.62),
    Shape(192, 320, 33, 0.10),
    Shape(256, 256, 33, 0.10),
    Shape(320, 192, 17, 0.08),
    Shape(320, 192, 49, 0.10),
)
CAPTIONS_PER_CLIP = 6


class Pool:
    """Latents of drawn clips with tokenized captions, one ring for each clip shape."""

    def __init__(self, vae: AutoencoderKLWan, capacity: int, device: str, seed: int) -> None:
        self.vae, self.device = vae, device
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = random.Random(seed)
        self.tokenizer = make_tokenizer()
        self.mean = torch.tensor(vae.config.latents_mean, device=device).view(1, -1, 1, 1, 1)
        self.std = torch.tensor(vae.config.latents_std, device=device).view(1, -1, 1, 1, 1)
        self.rings = [_Ring(max(int(capacity * shape.share), 16), shape, device) for shape in SHAPES]
        self.made = 0

    @torch.no_grad()
    def add(self, ring: _Ring, count: int) -> None:
        shape = ring.shape
        lots = draw_lots(count, self.generator, held_out=False)
        clips, _ = render(lots.to(self.device), shape.width, shape.height, torch.arange(shape.frames), shape.frames)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            latents = self.vae.encode(clips * 2 - 1).latent_dist.mode().float()
        ring.put((latents - self.mean) / self.std, self._tokens(lots))
        self.made += count

    def _tokens(self, lots: Scenes) -> Tensor:
        texts = []
        for row in range(len(lots)):
            words = SceneWords(*(int(getattr(lots, name)[row]) for name in ("obj", "color", "motion", "place", "look")))
            texts += [caption(words, self.rng) for _ in range(CAPTIONS_PER_CLIP)]
            texts += [caption(words, self.rng, given_image=True) for _ in range(CAPTIONS_PER_CLIP)]
        return tokenize(self.tokenizer, texts).view(len(lots), 2 * CAPTIONS_PER_CLIP, MAX_TOKENS)

    def fill(self, minutes: float, chunk: int) -> None:
        started = time.monotonic()
        while (time.monotonic() - started) / 60 < minutes or not all(ring.filled for ring in self.rings):
            self.add(self.pick(), chunk)

    def pick(self) -> _Ring:
        """A ring by its share; the first clips go to rings that have none."""
        empty = [ring for ring in self.rings if not ring.filled]
        return empty[0] if empty else self.rng.choices(self.rings, [ring.shape.share for ring in self.rings])[0]


class _Ring:
    def __init__(self, capacity: int, shape: Shape, device: str) -> None:
        self.shape, self.filled, self.next = shape, 0, 0
        latent = (architecture.LATENT_CHANNELS, (shape.frames - 1) // 4 + 1, shape.height // 16, shape.width // 16)
        self.latents = torch.empty(capacity, *latent, dtype=torch.bfloat16, device=device)
        self.tokens = torch.zeros(capacity, 2 * CAPTIONS_PER_CLIP, MAX_TOKENS, dtype=torch.int32, device=device)

    def put(self, latents: Tensor, tokens: Tensor) -> None:
        slots = [(self.next + k) % len(self.latents) for k in range(len(latents))]
        self.latents[slots] = latents.to(self.latents)
        self.tokens[slots] = tokens.to(self.tokens)
        self.next = (slots[-1] + 1) % len(self.latents)
        self.filled = max(self.filled, min(self.filled + len(latents), len(self.latents)))

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(self.filled, (count,), device=self.latents.device)
        return self.latents[index].float(), self.tokens[index]


def tokenize(tokenizer: Any, texts: list[str]) -> Tensor:
    encoded = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return torch.as_tensor(encoded.input_ids)


def embed(encoder: nn.Module, tokens: Tensor) -> Tensor:
    """Embeddings (B, MAX_TOKENS, TEXT_DIM), zero beyond the text, as the Wan pipelines pad them."""
    mask = (tokens != 0).long()
    hidden = encoder(input_ids=tokens.long(), attention_mask=mask).last_hidden_state
    return torch.as_tensor(hidden * mask.unsqueeze(-1))


def learn_words(encoder: nn.Module, minutes: float, device: str, seed: int) -> float:
    """Teach the encoder what a caption names, by classifying it; returns the last mean accuracy over the attributes."""
    tokenizer, rng = make_tokenizer(), random.Random(seed)
    sizes = [len(names) for names in (OBJECTS, COLORS, MOTIONS, PLACES, LOOKS)]
    head = nn.Linear(architecture.TEXT_DIM, sum(sizes)).to(device)
    optimizer = optimizer_for([{"params": [*encoder.parameters(), *head.parameters()]}])
    clock, accuracy = Clock(minutes), 0.0
    while clock.done < 1:
        labels = [[rng.randrange(size) for size in sizes] for _ in range(256)]
        texts = [caption(SceneWords(*label), rng) for label in labels]
        tokens, target = tokenize(tokenizer, texts).to(device), torch.tensor(labels, device=device)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(1e-3)
        hidden = embed(encoder, tokens[:, : int((tokens != 0).sum(1).max())])
        pooled = hidden.sum(1) / (tokens != 0).sum(1, keepdim=True)
        scores = head(pooled).split(sizes, 1)
        loss = torch.stack([F.cross_entropy(score, target[:, k]) for k, score in enumerate(scores)]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        clock.step += 1
        if clock.step % 100 == 1:
            hits = [(score.argmax(1) == target[:, k]).float().mean() for k, score in enumerate(scores)]
            accuracy = float(torch.stack(hits).mean())
            log.info("words step %d  loss %.3f  accuracy %.3f", clock.step, loss.item(), accuracy)
    return accuracy


def teach_words(minutes: float, work: Path, device: str, seed: int) -> None:
    torch.manual_seed(seed)
    encoder = architecture.make_text_encoder(len(make_tokenizer())).to(device)
    accuracy = learn_words(encoder, minutes, device, seed)
    save_file(encoder_state(encoder), work / "words.safetensors")
    write_log(work / "words.json", {"minutes": minutes, "seed": seed, "accuracy": accuracy}, device)


def encoder_state(encoder: nn.Module) -> dict[str, Tensor]:
    """The encoder's tensors without the second name of its embedding."""
    return {name: value.contiguous() for name, value in encoder.state_dict().items() if name != "encoder.embed_tokens.weight"}


def noise_levels(count: int, shift: float, device: str) -> Tensor:
    """Sigmas in (0, 1): logit-normal with a uniform share, moved towards noise by the flow shift (SD3, arXiv 2403.03206)."""
    sigma = torch.sigmoid(torch.randn(count, device=device))
    sigma = torch.where(torch.rand(count, device=device) < 0.25, torch.rand(count, device=device), sigma)
    return shift * sigma / (1 + (shift - 1) * sigma)


def denoising_loss(model: nn.Module, clean: Tensor, text: Tensor, shift: float) -> Tensor:
    """Flow-matching loss: predict noise minus data. In a third of the clips the first latent frame is given clean."""
    batch, _, frames, height, width = clean.shape
    sigma = noise_levels(batch, shift, str(clean.device)).view(-1, 1, 1, 1, 1)
    noise = torch.randn_like(clean)
    noisy = clean + sigma * (noise - clean)
    given = (torch.rand(batch, device=clean.device) < 0.35).view(-1, 1, 1, 1, 1)
    is_first = (torch.arange(frames, device=clean.device) == 0).view(1, 1, -1, 1, 1)
    frozen = given & is_first
    noisy = torch.where(frozen, clean, noisy)
    timestep = torch.where(frozen, 0.0, sigma * 1000)[:, 0, :, 0, 0]
    timestep = timestep.repeat_interleave(height * width // 4, 1)
    velocity = model(hidden_states=noisy, timestep=timestep, encoder_hidden_states=text, return_dict=False)[0]
    error = (velocity.float() - (noise - clean)).square()
    keep = (~frozen).float().expand_as(error)
    return (error * keep).sum() / keep.sum()


def train_denoiser(minutes: float, work: Path, batch: int, device: str, seed: int) -> None:
    torch.manual_seed(seed)
    started = time.monotonic()
    vae = AutoencoderKLWan.from_pretrained(work / "vae").to(device).eval()
    encoder = architecture.make_text_encoder(len(make_tokenizer())).to(device)
    model = architecture.make_transformer().to(device)
    words = work / "words.safetensors"
    if not words.exists():
        teach_words(0.3, work, device, seed)
    encoder.load_state_dict(load_file(words), strict=False)
    average, text_average = Average(model, 0.9995), Average(encoder, 0.9995)
    if device == "cuda":
        model.compile_repeated_blocks(dynamic=True)
    pool = Pool(vae, 40_000, device, seed)
    pool.fill(minutes / 9, 8)
    log.info("pool: %d clips after %.2f min", pool.made, (time.monotonic() - started) / 60)
    optimizer = optimizer_for(
        [{"params": list(model.parameters()), "peak": 8e-4}, {"params": list(encoder.parameters()), "peak": 2e-4}]
    )
    nothing = tokenize(make_tokenizer(), [""]).to(device)
    clock = Clock(max(minutes - (time.monotonic() - started) / 60, 0.05), warmup_steps=300)
    losses, recent = [], []
    while clock.done < 1:
        latents, tokens = pool.pick().sample(batch)
        rows = torch.arange(batch, device=device)
        tokens = tokens[rows, torch.randint(2 * CAPTIONS_PER_CLIP, (batch,), device=device)]
        tokens = torch.where((torch.rand(batch, 1, device=device) < 0.1), nothing.int(), tokens)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(group["peak"])
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = denoising_loss(model, latents, embed(encoder, tokens).float(), 3.0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(clock.step)
        text_average.update(clock.step)
        recent.append(loss.detach())
        if clock.step % 2 == 0:
            pool.add(pool.pick(), 4)
        clock.step += 1
        if clock.step % 100 == 1:
            losses.append([clock.step, round(clock.elapsed, 2), float(torch.stack(recent).mean())])
            recent.clear()
            log.info("denoiser step %d  %.2f min  loss %.4f  pool %d", *losses[-1], pool.made)
    average.install()
    text_average.install()
    inner = {f"model.{name}": value for name, value in model.state_dict().items()}
    inner |= {f"encoder.{name}": value for name, value in encoder_state(encoder).items()}
    save_file(inner, work / "denoiser.safetensors")
    facts = {"batch": batch, "seed": seed, "clips_drawn": pool.made}
    write_log(work / "denoiser.json", {**facts, "minutes": minutes, "steps": clock.step, "losses": losses}, device)
    export(work, work / "checkpoint")


def export(work: Path, to: Path) -> None:
    """Assemble the pipeline folder in bf16, as the Hub lays it out, no file over 16 MB."""
    state = load_file(work / "denoiser.safetensors")
    model, tokenizer = architecture.make_transformer(), make_tokenizer()
    encoder = architecture.make_text_encoder(len(tokenizer))
    model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
    encoder.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("encoder.")}, strict=False)
    vae = AutoencoderKLWan.from_pretrained(work / "vae")
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder.bfloat16(),
        vae=vae.bfloat16(),
        scheduler=architecture.make_scheduler(),
        transformer=model.bfloat16(),
        expand_timesteps=True,
    )
    pipeline.save_pretrained(to, safe_serialization=True, max_shard_size="14MB")


def write_log(path: Path, facts: dict[str, Any], device: str) -> None:
    hardware = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    path.write_text(json.dumps({"hardware": hardware, "torch": torch.__version__, **facts}, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["vae", "steady", "words", "denoiser", "export"])
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "checkpoint")
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options.work.mkdir(parents=True, exist_ok=True)
    if options.stage == "vae":
        train_vae(options.minutes, options.work, options.batch or 32, device, options.seed)
    elif options.stage == "steady":
        steady_vae(options.minutes, options.work, options.batch or 32, device, options.seed)
    elif options.stage == "words":
        teach_words(options.minutes, options.work, device, options.seed)
    elif options.stage == "denoiser":
        train_denoiser(options.minutes, options.work, options.batch or 128, device, options.seed)
    else:
        export(options.work, options.to)


if __name__ == "__main__":
    main()
