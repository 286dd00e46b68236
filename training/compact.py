"""Turn a model's latents into their principal directions and drop the rest, without training.

An autoencoder with generous channels leaves most of them nearly empty: of the first 48, 16 directions held 99.7 % of
the variance. A denoiser in the full space spends its width on carrying noise through the empty ones. Both changes are
linear and sit at the very ends of the networks, so they are folded into weights that are there already:

- encoder: its last convolution writes the rotated, normalised latents. Their deviations are far apart (4 to 0.2: large
  areas of colour come first, outlines of objects last), and a flow's loss counts squares, so the scale of the latents
  becomes the root of each direction's deviation: the outlines count for more, and still for less than the areas;
- decoder: its first convolution reads them. Zero padding would treat a constant offset differently at the borders, so
  the direction of that offset is kept among the principal ones and the offset goes where it was, before the padding;
- transformer: patch embedding and output projection, rotated and scaled alike. Noise has one strength in all
  directions, so this is where its training goes on from rather than the same function.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from training import architecture
from training.common import DENOISER
from training.denoiser import load_state, state_of
from training.pixels import wild_clips
from wan_pipeline.demo.captions import make_tokenizer
from wan_pipeline.demo.scenes import draw_lots, render
from wan_pipeline.engine.decode import latent_scale

LOG_VARIANCE = -8.0
"""Of the rotated latents' distribution: a deviation of about 0.02, what the first training arrived at."""


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
    """Orthonormal directions (z_dim, channels) of normalised latents: the decoder's offset, then the most variance.

    Also the deviation along each, (channels,).
    """
    generator = torch.Generator().manual_seed(seed)
    lots = draw_lots(clips, generator).to(device)
    frames = torch.arange(17)
    values = [render(lots.select(torch.tensor([row], device=device)), 320, 192, frames, 33)[0] for row in range(clips)]
    values += [wild_clips(1, 320, 192, 5, generator, device) for _ in range(max(clips // 16, 1))]
    latents = [vae.encode(value * 2 - 1).latent_dist.mode().float().transpose(0, 1).flatten(1) for value in values]
    mean, std = (value.flatten().to(device) for value in latent_scale(vae))
    normal = (torch.cat(latents, 1) - mean[:, None]) / std[:, None]
    offset = decoder_offset(vae).to(device)
    first = (offset / offset.norm())[:, None]
    rest = normal - first @ (first.T @ normal)
    # The offset's direction is made the least of all, so that cutting the tail never leaves it in twice.
    _, directions = torch.linalg.eigh(rest @ rest.T / rest.shape[1] - first @ first.T)
    basis = torch.cat([first, directions.flip(1)[:, : channels - 1]], 1)
    return basis, (basis.T @ normal).std(1)


def decoder_offset(vae: AutoencoderKLWan) -> Tensor:
    """The normalised latent (z_dim,) that `post_quant_conv` adds to every position: its bias and the latents' mean."""
    mean, std = (value.flatten() for value in latent_scale(vae))
    weight, bias = vae.post_quant_conv.weight.float().cpu().flatten(1), vae.post_quant_conv.bias.float().cpu()
    offset: Tensor = (mean + torch.linalg.solve(weight, bias)) / std
    return offset


def compact_vae(vae: AutoencoderKLWan, basis: Tensor) -> AutoencoderKLWan:
    """The same autoencoder with latents `basis.T @ normalised`; `basis` holds `decoder_offset`'s direction."""
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
    """The same transformer for latents in `basis`, divided by `scale`: it sees nothing along the dropped directions."""
    size, channels = basis.shape
    small = architecture.make_transformer(channels)
    state = model.state_dict()
    state["patch_embedding.weight"] = torch.einsum("dcthw,ck->dkthw", state["patch_embedding.weight"], basis * scale)
    weight = state["proj_out.weight"].unflatten(0, (-1, size))  # channels run fastest within a patch
    state["proj_out.weight"] = torch.einsum("pcd,ck->pkd", weight, basis / scale).flatten(0, 1)
    state["proj_out.bias"] = (state["proj_out.bias"].unflatten(0, (-1, size)) @ (basis / scale)).flatten()
    small.load_state_dict({name: value.contiguous() for name, value in state.items()})
    return small
