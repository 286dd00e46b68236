"""The denoiser's training: flow matching, from noise or from a first frame, over a pool of latents."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from wan_pipeline.demo import architecture
from wan_pipeline.demo.captions import make_tokenizer
from wan_pipeline.demo.training.common import DENOISER, Average, Clock, apply_gradients, optimizer_for, write_record
from wan_pipeline.demo.training.latents import Pool
from wan_pipeline.demo.training.words import embed, encoder_state

log = logging.getLogger(__name__)

FLOW_SHIFT = 3.0
"""As in the registry's facts of the demo model: training and sampling dwell on the same noise levels."""


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
    given = (torch.rand(batch, device=clean.device) < 0.35).view(-1, 1, 1, 1, 1)
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


def train_denoiser(minutes: float, work: Path, batch: int, device: str, seed: int) -> None:
    """Train transformer and text encoder together, into `denoiser.safetensors`; goes on from that file if it exists."""
    torch.manual_seed(seed)
    started = time.monotonic()
    model, encoder, vae = load_parts(work, device)
    averages = Average(model, 0.9995), Average(encoder, 0.9995)
    if device == "cuda":
        model.compile_repeated_blocks(dynamic=True)
    pool = Pool(vae, 40_000, device, seed)
    pool.fill(minutes / 9, 8)
    log.info("pool: %d clips after %.2f min", pool.made, (time.monotonic() - started) / 60)
    optimizer = optimizer_for(
        [{"params": list(model.parameters()), "peak": 8e-4}, {"params": list(encoder.parameters()), "peak": 2e-4}]
    )
    clock = Clock(max(minutes - (time.monotonic() - started) / 60, 0.05), warmup_steps=300)
    losses: list[list[float]] = []
    recent = []
    while clock.done < 1:
        latents, tokens = pool.batch(batch)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = denoising_loss(model, latents, embed(encoder, tokens).float(), FLOW_SHIFT)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        apply_gradients(optimizer, model, clock)
        for average in averages:
            average.update(clock.step)
        recent.append(loss.detach())
        if clock.step % 4 == 0:
            pool.add(pool.pick(), 4)
        if clock.step % 100 == 0:
            losses.append([clock.step, round(clock.elapsed, 2), float(torch.stack(recent).mean())])
            recent.clear()
            log.info("denoiser step %d  %.2f min  loss %.4f  pool %d", *losses[-1], pool.made)
    for average in averages:
        average.install()
    save_file(state_of(model, encoder), work / DENOISER)
    facts = {"stage": "denoiser", "minutes": minutes, "steps": clock.step, "batch": batch, "seed": seed}
    number = len(list(work.glob("record-denoiser-*.json"))) + 1
    record = {**facts, "clips_drawn": pool.made, "losses": losses}
    write_record(work / f"record-denoiser-{number}.json", record, device)


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
