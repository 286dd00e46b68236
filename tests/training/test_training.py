"""The demo model's training, a few steps of each part on the CPU with the real architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from training import architecture
from training.autoencoder.pixels import PixelPool
from training.autoencoder.step import VaeStep, with_fast_norms
from training.autoencoder.training import plain_copy
from training.common import Clock, MovingAverage
from training.compact import compact_transformer, compact_vae, principal_basis
from training.denoiser.latents import Pool, Shape
from training.denoiser.muon import Muon
from training.denoiser.training import denoising_loss, load_parts, noise_levels
from training.distributed import ProcessGroup, run_distributed
from training.export import RECORD, export_checkpoint, import_checkpoint
from training.words import embed, tokenize
from wan_pipeline.demo.captions import MAX_TOKENS, make_tokenizer
from wan_pipeline.demo.scenes import render, sample_scenes
from wan_pipeline.settings import Settings

CHECKPOINT = Settings().demo_checkpoint


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return architecture.make_vae().eval()


def test_quick_norms_change_rounding_only(vae):
    clip = torch.rand(1, 3, 5, 64, 64) * 2 - 1
    with torch.no_grad():
        plain = vae.encode(clip).latent_dist.mode()
        quick = architecture.make_vae().eval()
        quick.load_state_dict(vae.state_dict())
        torch.testing.assert_close(with_fast_norms(quick).encode(clip).latent_dist.mode(), plain, atol=1e-4, rtol=1e-4)


def test_autoencoder_step_reaches_every_parameter():
    torch.manual_seed(0)
    vae = architecture.make_vae().train()
    pool = PixelPool(2, 5, 96, 64, "cpu", 1)
    pool.add(2)
    step = VaeStep(vae, 1, 5, 64, 64, "cpu")
    loss = step(*pool.windows(1, 64, 64))
    assert torch.isfinite(loss)
    assert [name for name, value in vae.named_parameters() if value.grad is None] == []


def test_windows_are_cut_from_what_was_drawn():
    pool = PixelPool(4, 5, 96, 64, "cpu", 1)
    pool.add(2)
    pixels, weight = pool.windows(3, 32, 48)
    assert pixels.shape == (3, 3, 5, 48, 32)
    assert -1 <= pixels.min() < pixels.max() <= 1
    assert weight.shape == (3, 1, 5, 48, 32)
    assert 1 <= weight.min() <= weight.max() <= 3


@pytest.mark.soak
def test_pool_gives_latents_of_one_shape_with_captions(vae, monkeypatch):
    monkeypatch.setattr("training.denoiser.latents.SHAPES", (Shape(64, 64, 9, 0.5), Shape(96, 64, 5, 0.5)))
    pool = Pool(vae, 64, "cpu", 3)
    pool.fill(0.0, 2)
    assert all(ring.filled for ring in pool.rings)
    assert pool.stills.filled
    latents, tokens = pool.batch(6)
    assert latents.shape in {(6, 48, 3, 4, 4), (6, 48, 2, 4, 6)}
    assert tokens.shape == (6, MAX_TOKENS)
    assert (tokens[:, 0] != 0).all()
    stills, tokens = pool.batch(2, still_share=1.0)
    assert stills.shape == (8, 48, 1, 12, 20)
    assert tokens.shape == (8, MAX_TOKENS)


def test_a_ring_keeps_its_newest_clips(vae, monkeypatch):
    monkeypatch.setattr("training.denoiser.latents.SHAPES", (Shape(64, 64, 5, 1.0),))
    ring = Pool(vae, 16, "cpu", 3).rings[0]
    for number in range(20):
        ring.put(torch.full((1, 48, 2, 4, 4), float(number)), torch.zeros(1, ring.tokens.shape[1], MAX_TOKENS))
    assert ring.filled == 16
    assert sorted(ring.latents[:, 0, 0, 0, 0].tolist()) == list(range(4, 20))


def test_flow_shift_moves_noise_levels_up():
    torch.manual_seed(0)
    plain, shifted = noise_levels(4000, 1.0, "cpu"), noise_levels(4000, 3.0, "cpu")
    assert 0 < plain.min() < plain.max() < 1
    assert shifted.mean() > plain.mean() + 0.1


@pytest.mark.soak
def test_denoiser_learns_one_clip():
    torch.manual_seed(0)
    model = architecture.make_transformer()
    encoder = architecture.make_text_encoder(len(make_tokenizer()))
    text = embed(encoder, tokenize(make_tokenizer(), ["a red ball bounces"] * 4)).detach()
    clean = torch.randn(1, 48, 3, 4, 4).expand(4, -1, -1, -1, -1).contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        loss = denoising_loss(model, clean, text, 3.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


def test_text_beyond_the_caption_is_zero():
    encoder = architecture.make_text_encoder(len(make_tokenizer()))
    tokens = tokenize(make_tokenizer(), ["a red ball"])
    hidden = embed(encoder, tokens)
    assert hidden.shape == (1, MAX_TOKENS, architecture.TEXT_DIM)
    assert hidden[:, 4:].abs().max() == 0
    assert hidden[:, :4].abs().min() > 0


def share_a_step(group: ProcessGroup, folder: Path) -> None:
    """In a process of its own: each member's gradient is its rank, and so is its clock."""
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.grad = torch.full((1, 1), float(group.rank))
    group.average_gradients(layer)
    (folder / str(group.rank)).write_text(f"{layer.weight.grad.item()} {group.mean(float(group.rank))} {group.is_main}")


@pytest.mark.soak
def test_processes_share_gradients_and_progress(tmp_path):
    run_distributed(2, "cpu", share_a_step, folder=tmp_path)
    assert (tmp_path / "0").read_text() == "0.5 0.5 True"
    assert (tmp_path / "1").read_text() == "0.5 0.5 False"


def test_muon_is_torchs_with_many_matrices_at_once():
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((32, 32), (32, 32), (80, 32), (32, 80))]
    theirs = [torch.nn.Parameter(value.detach().clone()) for value in ours]
    before = [value.detach().clone() for value in ours]
    muon = Muon([{"params": ours}])
    muon.param_groups[0]["lr"] = 1e-2
    reference = torch.optim.Muon(theirs, 1e-2, 0.02, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        muon.step()
        reference.step()
    for one, other, old in zip(ours, theirs, before, strict=True):
        assert (one - other).norm() < 0.05 * (other - old).norm()  # bf16 products, summed in another order


def test_a_schedule_in_parts_goes_on_where_it_was():
    first, second = Clock(60.0, 1, 0.0, 0.5), Clock(0.0001, 1, 0.5, 1.0)
    assert first.rate(1.0) == pytest.approx(1.0)
    assert second.rate(1.0) == pytest.approx(0.51)
    second.started -= 60
    second.tick()
    assert second.is_over
    assert second.rate(1.0) == pytest.approx(0.02)


def test_rate_warms_up_and_average_follows():
    clock = Clock(minutes=60.0, warmup_steps=10)
    assert clock.rate(1.0) == pytest.approx(0.1, rel=0.01)
    clock.step = 10
    assert clock.rate(1.0) == pytest.approx(1.0, rel=0.01)
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = MovingAverage(module, 0.5)
    torch.nn.init.ones_(module.weight)
    average.update(step=1000)
    average.copy_to_module()
    assert module.weight.item() == pytest.approx(0.5)


def test_shipped_weights_come_back_unchanged(tmp_path):
    import_checkpoint(CHECKPOINT, tmp_path / "work")
    export_checkpoint(tmp_path / "work", tmp_path / "checkpoint")
    for path in CHECKPOINT.rglob("*.safetensors"):
        assert (tmp_path / "checkpoint" / path.relative_to(CHECKPOINT)).read_bytes() == path.read_bytes(), path.name
    before, after = (json.loads((folder / RECORD).read_text()) for folder in (CHECKPOINT, tmp_path / "checkpoint"))
    assert after == before
    model, _, _ = load_parts(tmp_path / "work", "cpu")
    assert sum(value.numel() for value in model.parameters()) > 10_000_000


@pytest.mark.soak
def test_compact_latents_lose_only_the_dropped_directions(tmp_path):
    """In all directions nothing is lost, offset at the borders and all; in half of them, what they span."""
    import_checkpoint(CHECKPOINT, tmp_path)
    model, _, vae = load_parts(tmp_path, "cpu")
    pixels, _ = render(sample_scenes(1, torch.Generator().manual_seed(5)), 96, 64, torch.arange(5), 33)
    with torch.no_grad():
        basis, _ = principal_basis(vae, vae.config.z_dim, "cpu", 1, clips=1)
        turned = compact_vae(vae, basis)
        latents = vae.encode(pixels * 2 - 1).latent_dist.mode()
        restored = turned.decode(turned.encode(pixels * 2 - 1).latent_dist.mode()).sample
        torch.testing.assert_close(restored, vae.decode(latents).sample, atol=2e-3, rtol=0)

        noisy, text, time = torch.randn(1, 8, 2, 4, 6), torch.randn(1, MAX_TOKENS, 192), torch.full((1, 12), 500.0)
        few, scale = basis[:, :8], torch.linspace(2, 0.5, 8)
        full = torch.einsum("ck,bkthw->bcthw", few * scale, noisy)
        wanted = torch.einsum("ck,bcthw->bkthw", few / scale, model(full, time, text).sample)
        small = compact_transformer(model, few, scale)
        torch.testing.assert_close(small(noisy, time, text).sample, wanted, atol=1e-3, rtol=0)


def test_a_plain_copy_keeps_the_latent_scale():
    vae = architecture.make_vae()
    vae.register_to_config(latents_mean=[0.5] * 48, latents_std=[2.0] * 48)
    assert plain_copy(vae).config.latents_mean == [0.5] * 48
    assert plain_copy(vae).config.latents_std == [2.0] * 48


def test_shipped_files_are_small_enough():
    sizes = {path.name: path.stat().st_size for path in CHECKPOINT.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 16 * 2**20
    assert sum(sizes.values()) <= 40e6
