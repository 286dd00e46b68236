"""The denoiser's training: flow matching, from noise or from a first frame, over a pool of latents."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from training import architecture
from training.common import DENOISER, Average, Clock, apply_gradients, optimizer_for, write_record
from training.latents import Pool
from training.muon import Muon
from training.replay import Replay
from training.team import Team
from training.words import embed, encoder_state
from wan_pipeline.demo.captions import make_tokenizer

log = logging.getLogger(__name__)

FLOW_SHIFT = 3.0
"""As in the registry's facts of the demo model: training and sampling dwell on the same noise levels."""


RENEW_EVERY, CHUNK = 128, 64
"""After so many steps, so many clips of the pool are replaced by new ones."""


def noise_levels(count: int, shift: float, device: str) -> Tensor:
    """Sigmas in (0, 1): logit-normal and partly uniform, moved towards noise by the flow shift (SD3, arXiv
    2403.03206)."""
    sigma = torch.sigmoid(torch.randn(count, device=device))
    sigma = torch.where(torch.rand(count, device=device) < 0.25, torch.rand(count, device=device), sigma)
    return shift * sigma / (1 + (shift - 1) * sigma)


def denoising_loss(model: nn.Module, clean: Tensor, text: Tensor, shift: float) -> Tensor:
    """Flow-matching loss: predict noise minus data. In a third of the clips the first latent frame is given clean."""
    batch, _, frames, height, width = clean.shape
    sigma = noise_levels(batch, shift, str(clean.device)).view(-1, 1, 1, 1, 1)
    noise = torch.randn_like(clean)
    noisy = clean + sigma * (noise - clean)
    given = (torch.rand(batch, device=clean.device) < (0.35 if frames > 1 else 0.0)).view(-1, 1, 1, 1, 1)
    is_first = (torch.arange(frames, device=clean.device) == 0).view(1, 1, -1, 1, 1)
    frozen = given & is_first
    noisy = torch.where(frozen, clean, noisy)
    timestep = torch.where(frozen, 0.0, sigma * 1000)[:, 0, :, 0, 0]
    timestep = timestep.repeat_interleave(height * width // 4, 1)
    velocity = model(hidden_states=noisy, timestep=timestep, encoder_hidden_states=text, return_dict=False)[0]
    error = (velocity.float() - (noise - clean)).square()
    keep = (~frozen).float().expand_as(error)
    loss: Tensor = (error * keep).sum() / keep.sum()
    return loss


class DenoiserStep:
    """One forward and backward pass of the transformer on latents of one shape; the text gets a gradient, too."""

    def __init__(self, model: nn.Module, like: Tensor, text: Tensor, device: str, memory: Any) -> None:
        self.model, self.device = model, device
        self.clean, self.text = like.clone(), text.detach().clone().requires_grad_()
        self.replay = Replay(self._loss, [*model.parameters(), self.text], device, memory)

    def _loss(self) -> Tensor:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda", cache_enabled=False):
            return denoising_loss(self.model, self.clean, self.text, FLOW_SHIFT)

    def __call__(self, clean: Tensor, text: Tensor) -> Tensor:
        with torch.no_grad():
            self.clean.copy_(clean)
            self.text.copy_(text)
        loss = self.replay()
        torch.autograd.backward(text, self.text.grad)
        return loss


class Lesson:
    """Transformer and text encoder in training: a step for each shape of batch, made when it first comes."""

    def __init__(self, model: nn.Module, encoder: nn.Module, device: str) -> None:
        self.model, self.encoder, self.device = model, encoder, device
        self.memory = torch.cuda.graph_pool_handle() if device == "cuda" else None
        self.steps: dict[torch.Size, DenoiserStep] = {}

    def __call__(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Leave gradients in both and give the loss, to be read before the next call."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            text = embed(self.encoder, tokens).float()
        if latents.shape not in self.steps:
            self.steps[latents.shape] = DenoiserStep(self.model, latents, text, self.device, self.memory)
        self.encoder.zero_grad(set_to_none=True)
        return self.steps[latents.shape](latents, text)


def train_denoiser(minutes: float, work: Path, batch: int, seed: int, part: tuple[float, float], team: Team) -> None:
    """Train transformer and text encoder together, into `denoiser.safetensors`; goes on from that file if it exists.

    `batch` is of one process. `part` is the share of the schedule, from 0 to 1, that these minutes are.
    """
    started = time.monotonic()
    seed += round(1000 * part[0])  # a later part draws other clips
    torch.manual_seed(seed)  # before the weights, which must be the same everywhere
    model, encoder, vae = load_parts(work, team.device)
    torch.manual_seed(seed + team.rank)
    on_gpu = team.device == "cuda"
    if on_gpu:
        model.compile_repeated_blocks(dynamic=True)
    pool = Pool(vae, 40_000, team.device, seed, team.rank)
    pool.fill(minutes / 12, CHUNK if on_gpu else 1)
    lesson = Lesson(model, encoder, team.device)
    for ring in (*pool.rings, pool.stills):
        lesson(*pool.batch_of(ring, batch))
    log.info("%d clips and the steps are ready after %.2f min", pool.made, (time.monotonic() - started) / 60)
    averages, optimizers = (Average(model, 0.9995), Average(encoder, 0.9995)), optimizers_for(model, encoder)
    rest = max(minutes - (time.monotonic() - started) / 60, 0.05)
    clock = Clock(rest, 300, *part, agree=team.agree)
    losses: list[list[float]] = []
    recent: list[Tensor] = []
    while not clock.is_over:
        latents, tokens = pool.batch(batch, still_share(clock.done))
        loss = lesson(latents, tokens)
        if latents.shape[2] > 1:
            recent.append(loss.clone())
        team.average_gradients(model, encoder)
        apply_gradients(optimizers, model, clock)
        for average in averages:
            average.update(clock.step)
        if clock.step % RENEW_EVERY == 0:
            pool.renew(CHUNK if on_gpu else 1)
        if clock.step % 200 == 0 and recent:
            losses.append([clock.step, round(clock.elapsed, 2), round(float(torch.stack(recent).mean()), 4)])
            recent.clear()
            log.info("denoiser step %d  %.2f min  loss of clips %.4f  pool %d", *losses[-1], pool.made)
    if not team.leads:
        return
    for average in averages:
        average.install()
    save_file(state_of(model, encoder), work / DENOISER)
    facts = {"stage": "denoiser", "part": part, "minutes": minutes, "steps": clock.step, "batch": batch * team.size}
    more = {"seed": seed, "drawn": pool.made * team.size, "losses": losses}
    write_record(work, {**facts, **more}, team.device, team.size)


def still_share(done: float) -> float:
    """The share of batches that are stills: first what things look like, then how they move."""
    return 0.6 if done < 0.15 else 0.1


def optimizers_for(model: nn.Module, encoder: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all else, with steps of one size (arXiv 2502.16982)."""
    matrices = [value for name, value in model.named_parameters() if name.startswith("blocks.") and value.ndim == 2]
    chosen = {id(value) for value in matrices}
    others = [value for value in model.parameters() if id(value) not in chosen]
    muon = Muon([{"params": matrices, "peak": 1.2e-3}])
    adam = optimizer_for([{"params": others, "peak": 8e-4}, {"params": list(encoder.parameters()), "peak": 2e-4}])
    return [muon, adam]


def load_parts(work: Path, device: str) -> tuple[WanTransformer3DModel, UMT5EncoderModel, AutoencoderKLWan]:
    """Transformer and text encoder as far as they are trained, and the finished autoencoder."""
    vae = AutoencoderKLWan.from_pretrained(work / "vae").to(device).eval()
    model = architecture.make_transformer(vae.config.z_dim)
    encoder = architecture.make_text_encoder(len(make_tokenizer()))
    if (work / DENOISER).exists():
        load_state(load_file(work / DENOISER), model, encoder)
    else:
        encoder.load_state_dict(load_file(work / "words.safetensors"), strict=False)
    return model.to(device), encoder.to(device), vae


def state_of(model: nn.Module, encoder: nn.Module) -> dict[str, Tensor]:
    """Both modules' tensors under one roof, for one file."""
    state = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    return state | {f"encoder.{name}": value for name, value in encoder_state(encoder).items()}


def load_state(state: dict[str, Tensor], model: nn.Module, encoder: nn.Module) -> None:
    """The inverse of `state_of`. The encoder's embedding has two names, of which one is stored."""
    model.load_state_dict({name[6:]: value for name, value in state.items() if name.startswith("model.")})
    words = {name[8:]: value for name, value in state.items() if name.startswith("encoder.")}
    encoder.load_state_dict(words, strict=False)
