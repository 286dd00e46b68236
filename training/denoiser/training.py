"""Train the denoiser by flow matching, from noise or from a first frame, on a pool of latents."""

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
from training.common import DENOISER, Clock, MovingAverage, optimizer_for, optimizer_step, write_record
from training.denoiser.latents import Pool
from training.denoiser.muon import Muon
from training.distributed import ProcessGroup
from training.replay import Replay
from training.words import embed, encoder_state
from wan_pipeline.demo.captions import make_tokenizer

log = logging.getLogger(__name__)

FLOW_SHIFT = 3.0
"""Equal to the demo model's in the registry, so that training and sampling use the same noise levels."""
RENEW_EVERY, CHUNK = 128, 64
"""Every RENEW_EVERY steps, CHUNK clips of the pool are replaced by new ones."""


def noise_levels(count: int, shift: float, device: str) -> Tensor:
    """Sample sigmas in (0, 1), (count,): three quarters logit-normal, one quarter uniform, then flow-shifted.

    Both are from SD3 (arXiv 2403.03206).
    """
    sigma = torch.sigmoid(torch.randn(count, device=device))
    sigma = torch.where(torch.rand(count, device=device) < 0.25, torch.rand(count, device=device), sigma)
    return shift * sigma / (1 + (shift - 1) * sigma)


def denoising_loss(model: nn.Module, clean: Tensor, text: Tensor, shift: float) -> Tensor:
    """Flow-matching loss: predict noise minus data. In 35 % of the clips the first latent frame is clean, as for
    image to video; it is left out of the loss."""
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
    """Forward and backward pass of the transformer on latents of one shape; also returns a gradient to the text."""

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


class JointStep:
    """A training step of transformer and text encoder together, captured once for each shape of batch."""

    def __init__(self, model: nn.Module, encoder: nn.Module, device: str) -> None:
        self.model, self.encoder, self.device = model, encoder, device
        self.memory = torch.cuda.graph_pool_handle() if device == "cuda" else None
        self.steps: dict[torch.Size, DenoiserStep] = {}

    def __call__(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Set the gradients of both and return the loss, which the next call overwrites."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            text = embed(self.encoder, tokens).float()
        if latents.shape not in self.steps:
            self.steps[latents.shape] = DenoiserStep(self.model, latents, text, self.device, self.memory)
        self.encoder.zero_grad(set_to_none=True)
        return self.steps[latents.shape](latents, text)


def train_denoiser(
    minutes: float, work: Path, batch: int, seed: int, part: tuple[float, float], group: ProcessGroup
) -> None:
    """Train transformer and text encoder together into `denoiser.safetensors`, from that file if it exists.

    `batch` is per process. `part` is the share of the schedule, from 0 to 1, to run in these minutes.
    """
    started = time.monotonic()
    seed += round(1000 * part[0])  # so that a later part draws other clips
    torch.manual_seed(seed)  # before the weights are made: they must be equal in all processes
    model, encoder, vae = load_parts(work, group.device)
    torch.manual_seed(seed + group.rank)
    on_gpu = group.device == "cuda"
    if on_gpu:
        model.compile_repeated_blocks(dynamic=True)
    pool = Pool(vae, 40_000, group.device, seed, group.rank)
    pool.fill(minutes / 12, CHUNK if on_gpu else 1)
    step = JointStep(model, encoder, group.device)
    for ring in (*pool.rings, pool.stills):
        step(*pool.batch_of(ring, batch))
    log.info("%d clips and the steps are ready after %.2f min", pool.made, (time.monotonic() - started) / 60)
    averages, optimizers = (
        (MovingAverage(model, 0.9995), MovingAverage(encoder, 0.9995)),
        optimizers_for(model, encoder),
    )
    rest = max(minutes - (time.monotonic() - started) / 60, 0.05)
    clock = Clock(rest, 300, *part, synchronise=group.mean)
    losses: list[list[float]] = []
    recent: list[Tensor] = []
    while not clock.is_over:
        latents, tokens = pool.batch(batch, still_share(clock.done))
        loss = step(latents, tokens)
        if latents.shape[2] > 1:
            recent.append(loss.clone())
        group.average_gradients(model, encoder)
        optimizer_step(optimizers, model, clock)
        for average in averages:
            average.update(clock.step)
        if clock.step % RENEW_EVERY == 0:
            pool.renew(CHUNK if on_gpu else 1)
        if clock.step % 200 == 0 and recent:
            losses.append([clock.step, round(clock.elapsed, 2), round(float(torch.stack(recent).mean()), 4)])
            recent.clear()
            log.info("denoiser step %d  %.2f min  loss of clips %.4f  pool %d", *losses[-1], pool.made)
    if not group.is_main:
        return
    for average in averages:
        average.copy_to_module()
    save_file(state_of(model, encoder), work / DENOISER)
    facts = {
        "stage": "denoiser",
        "part": part,
        "minutes": minutes,
        "steps": clock.step,
        "batch": batch * group.world_size,
    }
    more = {"seed": seed, "drawn": pool.made * group.world_size, "losses": losses}
    write_record(work, {**facts, **more}, group.device, group.world_size)


def still_share(done: float) -> float:
    """Return the share of batches that are single frames: appearance is learned before motion."""
    return 0.6 if done < 0.15 else 0.1


def optimizers_for(model: nn.Module, encoder: nn.Module) -> list[torch.optim.Optimizer]:
    """Return Muon for the blocks' matrices and AdamW for all else, with matched step sizes (arXiv 2502.16982)."""
    matrices = [value for name, value in model.named_parameters() if name.startswith("blocks.") and value.ndim == 2]
    chosen = {id(value) for value in matrices}
    others = [value for value in model.parameters() if id(value) not in chosen]
    muon = Muon([{"params": matrices, "peak": 1.2e-3}])
    adam = optimizer_for([{"params": others, "peak": 8e-4}, {"params": list(encoder.parameters()), "peak": 2e-4}])
    return [muon, adam]


def load_parts(work: Path, device: str) -> tuple[WanTransformer3DModel, UMT5EncoderModel, AutoencoderKLWan]:
    """Return transformer and text encoder as trained so far, and the finished autoencoder."""
    vae = AutoencoderKLWan.from_pretrained(work / "vae").to(device).eval()
    model = architecture.make_transformer(vae.config.z_dim)
    encoder = architecture.make_text_encoder(len(make_tokenizer()))
    if (work / DENOISER).exists():
        load_state(load_file(work / DENOISER), model, encoder)
    else:
        encoder.load_state_dict(load_file(work / "words.safetensors"), strict=False)
    return model.to(device), encoder.to(device), vae


def state_of(model: nn.Module, encoder: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of both modules under prefixed names, for one file."""
    state = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    return state | {f"encoder.{name}": value for name, value in encoder_state(encoder).items()}


def load_state(state: dict[str, Tensor], model: nn.Module, encoder: nn.Module) -> None:
    """Load what `state_of` returned. The encoder's tied embedding is stored under one of its two names."""
    model.load_state_dict({name[6:]: value for name, value in state.items() if name.startswith("model.")})
    words = {name[8:]: value for name, value in state.items() if name.startswith("encoder.")}
    encoder.load_state_dict(words, strict=False)
