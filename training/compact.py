"""Project a model's latents onto their principal directions and drop the rest, without training.

Of the autoencoder's 48 latent channels, 16 directions hold 99.7 % of the variance, and a denoiser in the full space
spends its width on noise in the empty ones. The projection is linear, so it is folded into existing weights:

- encoder: its last convolution writes the rotated, normalised latents. Their standard deviations range from 4 (large
  areas of colour) to 0.2 (outlines of objects), and a flow-matching loss is a squared error, so each direction is
  scaled to the square root of its deviation: outlines gain weight and still count less than areas;
- decoder: its first convolution reads them. Zero padding would treat a constant offset differently at the borders, so
  the direction of that offset is one of those kept, and the offset is added before the padding, as it was;
- transformer: patch embedding and output projection, rotated and scaled alike. Noise has unit variance in every
  direction, so this is a starting point for more training and not the same function.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from training import architecture
from training.autoencoder.pixels import noise_clips
from training.common import DENOISER
from training.denoiser.training import load_state, state_of
from wan_pipeline.demo.captions import make_tokenizer
from wan_pipeline.demo.scenes import render, sample_scenes
from wan_pipeline.engine.decoding.decode import latent_scale

LOG_VARIANCE = -8.0
"""Log variance of the encoder's distribution: a deviation of about 0.02, as the first training learned."""


@torch.no_grad()
def compact(work: Path, channels: int, device: str, seed: int) -> None:
    """Rewrite the work folder's autoencoder, and its denoiser if there is one yet, with `channels` latent channels."""
    vae = AutoencoderKLWan.from_pretrained(work / "vae").to(device).eval()
    basis, deviation = (value.cpu() for value in principal_basis(vae, channels, device, seed))
    vae, scale = vae.cpu(), deviation.sqrt()
    small = compact_vae(vae, basis)
    small.register_to_config(latents_std=scale.tolist())
    small.save_pretrained(work / "vae", max_shard_size="14MB")
    if not (work / DENOISER).exists():
        return
    model = architecture.make_transformer(vae.config.z_dim)
    encoder = architecture.make_text_encoder(len(make_tokenizer()))
    load_state(load_file(work / DENOISER), model, encoder)
    save_file(state_of(compact_transformer(model, basis, scale), encoder), work / DENOISER)


def principal_basis(
    vae: AutoencoderKLWan, channels: int, device: str, seed: int, clips: int = 96
) -> tuple[Tensor, Tensor]:
    """Return orthonormal directions (z_dim, channels) and the latents' standard deviation along each, (channels,).

    The first is the direction of the decoder's offset, the others those of most variance of normalised latents.
    """
    generator = torch.Generator().manual_seed(seed)
    scenes = sample_scenes(clips, generator).to(device)
    frames = torch.arange(17)
    values = [
        render(scenes.select(torch.tensor([row], device=device)), 320, 192, frames, 33)[0] for row in range(clips)
    ]
    values += [noise_clips(1, 320, 192, 5, generator, device) for _ in range(max(clips // 16, 1))]
    latents = [vae.encode(value * 2 - 1).latent_dist.mode().float().transpose(0, 1).flatten(1) for value in values]
    mean, std = (value.flatten().to(device) for value in latent_scale(vae))
    normal = (torch.cat(latents, 1) - mean[:, None]) / std[:, None]
    offset = decoder_offset(vae).to(device)
    first = (offset / offset.norm())[:, None]
    rest = normal - first @ (first.T @ normal)
    # Subtracting the offset's own direction makes it the last one, so that it is not taken a second time.
    _, directions = torch.linalg.eigh(rest @ rest.T / rest.shape[1] - first @ first.T)
    basis = torch.cat([first, directions.flip(1)[:, : channels - 1]], 1)
    return basis, (basis.T @ normal).std(1)


def decoder_offset(vae: AutoencoderKLWan) -> Tensor:
    """Return the normalised latent (z_dim,) that `post_quant_conv` adds everywhere: its bias and the latents' mean."""
    mean, std = (value.flatten() for value in latent_scale(vae))
    weight, bias = vae.post_quant_conv.weight.float().cpu().flatten(1), vae.post_quant_conv.bias.float().cpu()
    offset: Tensor = (mean + torch.linalg.solve(weight, bias)) / std
    return offset


def compact_vae(vae: AutoencoderKLWan, basis: Tensor) -> AutoencoderKLWan:
    """Return the autoencoder with latents `basis.T @ normalised`; `basis` must span `decoder_offset`."""
    size, channels = basis.shape
    mean, std = (value.flatten() for value in latent_scale(vae))
    small = architecture.make_vae(channels)
    state = vae.state_dict()
    into = (basis.T / std) @ state["quant_conv.weight"].flatten(1)[:size]
    last, bias = state["encoder.conv_out.weight"], state["encoder.conv_out.bias"]
    state["encoder.conv_out.weight"] = torch.cat(
        [torch.einsum("kc,cdthw->kdthw", into, last), torch.zeros(channels, *last.shape[1:])]
    )
    rotated = into @ bias + (basis.T / std) @ (state["quant_conv.bias"][:size] - mean)
    state["encoder.conv_out.bias"] = torch.cat([rotated, torch.full((channels,), LOG_VARIANCE)])
    state["quant_conv.weight"] = torch.eye(2 * channels)[:, :, None, None, None]
    state["quant_conv.bias"] = torch.zeros(2 * channels)
    out_of = state["post_quant_conv.weight"].flatten(1) @ (std[:, None] * basis)
    first = state["decoder.conv_in.weight"]
    state["decoder.conv_in.weight"] = torch.einsum("dcthw,ck->dkthw", first, out_of)
    state["post_quant_conv.weight"] = torch.eye(channels)[:, :, None, None, None]
    state["post_quant_conv.bias"] = basis.T @ decoder_offset(vae)
    small.load_state_dict({name: value.contiguous() for name, value in state.items()})
    return small.eval()


def compact_transformer(model: WanTransformer3DModel, basis: Tensor, scale: Tensor) -> WanTransformer3DModel:
    """Return the transformer for latents in `basis`, divided by `scale`; it ignores the dropped directions."""
    size, channels = basis.shape
    small = architecture.make_transformer(channels)
    state = model.state_dict()
    state["patch_embedding.weight"] = torch.einsum("dcthw,ck->dkthw", state["patch_embedding.weight"], basis * scale)
    weight = state["proj_out.weight"].unflatten(0, (-1, size))  # channels run fastest within a patch
    state["proj_out.weight"] = torch.einsum("pcd,ck->pkd", weight, basis / scale).flatten(0, 1)
    state["proj_out.bias"] = (state["proj_out.bias"].unflatten(0, (-1, size)) @ (basis / scale)).flatten()
    small.load_state_dict({name: value.contiguous() for name, value in state.items()})
    return small
