"""One measurement in one process: models with random weights, made on the device, and how time and memory are taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from wan_pipeline.engine.device.placement import choose_device
from wan_pipeline.engine.int8.product import computes_int8
from wan_pipeline.engine.memory.block_streaming import StreamedModel
from wan_pipeline.engine.memory.inner_tensors import blocks_of, map_tensors, named_tensors, set_tensor
from wan_pipeline.engine.memory.quantize import quantize, skeleton
from wan_pipeline.engine.memory.quantized_layers import computes_fp8
from wan_pipeline.models.memory import WAN_14B, MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB
from wan_pipeline.settings import Settings

DTYPE = torch.bfloat16


class Bench:
    """One case in one process."""

    def __init__(self, tiny: bool, rounds: int, folder: Path) -> None:
        self.device = choose_device(Settings().device)
        self.tiny = tiny
        self.rounds = rounds
        self.folder = folder

    def facts(self, facts: MemoryFacts) -> MemoryFacts:
        return replace(facts, layers=3, width=48, feed_forward=96) if self.tiny else facts

    def clip(self, clip: Geometry) -> Geometry:
        return replace(clip, width=96, height=64, num_frames=5) if self.tiny else clip

    def rest(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
            torch.accelerator.empty_cache()
            torch.accelerator.reset_peak_memory_stats()

    def wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def allocated(self) -> float:
        """GiB; 0 on a CPU."""
        return 0.0 if self.device.type == "cpu" else torch.accelerator.memory_allocated() / GIB

    def peak(self) -> float:
        """GiB reserved since the last rest; 0 on a CPU."""
        return 0.0 if self.device.type == "cpu" else round(torch.accelerator.max_memory_reserved() / GIB, 2)

    def seconds(self, action: Callable[[], Any], rounds: int | None = None) -> float:
        """Median, after one round that does not count."""
        taken = []
        for _ in range((rounds or self.rounds) + 1):
            started = time.perf_counter()
            action()
            self.wait()
            taken.append(time.perf_counter() - started)
        return round(median(taken[1:]), 4)

    def transformer(self, facts: MemoryFacts, precision: Precision, seed: int = 0) -> torch.nn.Module:
        """Random weights, made and quantized on the device block by block."""
        model = skeleton(partial(WanTransformer3DModel, **self.shape(facts)))
        torch.manual_seed(seed)
        for block in blocks_of(model):
            self.fill(block)
            alone = torch.nn.Module()
            alone.blocks = torch.nn.ModuleList([block])
            quantize(alone, precision, DTYPE)
        self.fill(model)
        return model

    def shape(self, facts: MemoryFacts) -> dict[str, Any]:
        """The configuration of a transformer."""
        facts = self.facts(facts)
        heads = max(1, facts.width // 128) if not self.tiny else 2
        channels = {"in_channels": 48, "out_channels": 48} if facts.expands_timesteps else {}
        if facts.reads_images:  # Wan 2.1 image to video: noise, mask and latents of the image, and an image encoder's
            channels = {"in_channels": 36, "out_channels": 16, "image_dim": 1280, "added_kv_proj_dim": facts.width}
        return {
            "num_attention_heads": heads,
            "attention_head_dim": facts.width // heads,
            "ffn_dim": facts.feed_forward,
            "num_layers": facts.layers,
            **channels,
        }

    def fill(self, module: torch.nn.Module) -> None:
        """Give tensors on the meta device memory and random numbers, and move the others to the device."""
        for owner, name, tensor in list(named_tensors(module)):
            if tensor.is_meta:
                set_tensor(owner, name, torch.empty(tensor.shape, dtype=DTYPE, device=self.device).normal_(0, 0.02))
            elif tensor.device != self.device and type(tensor) in (torch.Tensor, torch.nn.Parameter):
                set_tensor(owner, name, tensor.to(self.device))

    def fp8_compute(self) -> tuple[Precision, ...]:
        """On devices that can."""
        return (Precision.FP8_COMPUTE,) if computes_fp8(self.device) else ()

    def computing_in_8_bits(self) -> tuple[Precision, ...]:
        """What this device can."""
        in_int8 = self.device.type == "cpu" or computes_int8(self.device)
        return ((Precision.INT8_COMPUTE,) if in_int8 else ()) + self.fp8_compute()

    def inputs(self, clip: Geometry, facts: MemoryFacts = WAN_14B) -> dict[str, Any]:
        clip = self.clip(clip)
        scale, channels = (16, 48) if facts.expands_timesteps else (8, 16)
        shape = (1, channels, (clip.num_frames - 1) // 4 + 1, clip.height // scale, clip.width // scale)
        tokens = shape[2] * shape[3] * shape[4] // 4
        return {
            "hidden_states": torch.randn(shape, device=self.device, dtype=DTYPE),
            "timestep": torch.full((1, tokens) if facts.expands_timesteps else (1,), 500, device=self.device),
            "encoder_hidden_states": torch.randn(1, 512, 4096, device=self.device, dtype=DTYPE),
            "return_dict": False,
        }


def to_host(module: torch.nn.Module) -> StreamedModel:
    """Move the blocks into pinned slabs, and the rest to host memory."""
    streamed = StreamedModel(module)
    streamed.move_to_host_memory(pinned=True)
    map_tensors(module, lambda tensor: tensor.cpu())
    return streamed


def text_module(bench: Bench) -> torch.nn.Module:
    """UMT5-XXL without weights."""
    sizes = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 256384}
    if bench.tiny:
        sizes |= {"d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 100}
    config = UMT5Config(**sizes, feed_forward_proj="gated-gelu")
    return skeleton(lambda: UMT5EncoderModel(config))


def vae_2_1(bench: Bench) -> torch.nn.Module:
    """The VAE of Wan 2.1 without weights."""
    return skeleton(AutoencoderKLWan if not bench.tiny else _tiny_vae)


def vae_2_2() -> AutoencoderKLWan:
    """By the configuration of Wan2.2-TI2V-5B-Diffusers."""
    return AutoencoderKLWan(
        base_dim=160,
        decoder_base_dim=256,
        z_dim=48,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        temperal_downsample=[False, True, True],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
    )


def _tiny_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
