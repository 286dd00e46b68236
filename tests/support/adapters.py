"""LoRA files for tests, in every dialect, for the tiny models."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

RANK = 4
SHAPES = {  # (outputs, inputs) of some modules of tests/support/tiny.py's transformer
    "blocks.0.attn1.to_q": (48, 48),
    "blocks.0.attn1.to_out.0": (48, 48),
    "blocks.1.attn2.to_k": (48, 48),
    "blocks.1.attn2.to_v": (48, 48),
    "blocks.1.ffn.net.0.proj": (64, 48),
    "blocks.1.ffn.net.2": (48, 64),
    "condition_embedder.text_embedder.linear_1": (48, 32),
    "condition_embedder.time_embedder.linear_2": (48, 48),
    "condition_embedder.time_proj": (288, 48),
    "proj_out": (192, 48),
}
AUTHORS = {
    "blocks.0.attn1.to_q": "blocks.0.self_attn.q",
    "blocks.0.attn1.to_out.0": "blocks.0.self_attn.o",
    "blocks.1.attn2.to_k": "blocks.1.cross_attn.k",
    "blocks.1.attn2.to_v": "blocks.1.cross_attn.v",
    "blocks.1.ffn.net.0.proj": "blocks.1.ffn.0",
    "blocks.1.ffn.net.2": "blocks.1.ffn.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head",
}
PEFT = ("lora_A.weight", "lora_B.weight")
DIALECTS = {
    "transformer": lambda module: ("transformer." + module, PEFT),
    "bare": lambda module: (module, PEFT),
    "bare-authors": lambda module: (AUTHORS[module], PEFT),
    "diffusion-model": lambda module: ("diffusion_model." + AUTHORS[module], PEFT),
    "diffusion-model-down-up": lambda module: (
        "diffusion_model." + AUTHORS[module],
        ("lora_down.weight", "lora_up.weight"),
    ),
    "peft": lambda module: ("base_model.model." + module, PEFT),
    "peft-nested": lambda module: ("base_model.model.transformer." + module, PEFT),
    "peft-named": lambda module: (
        "base_model.model." + AUTHORS[module],
        ("lora_A.default.weight", "lora_B.default.weight"),
    ),
    "kohya": lambda module: (
        "lora_unet_" + AUTHORS[module].replace(".", "_"),
        ("lora_down.weight", "lora_up.weight"),
    ),
    "kohya-diffusers": lambda module: (
        "lora_transformer_" + module.replace(".", "_"),
        ("lora_down.weight", "lora_up.weight"),
    ),
}


def matrices(strength: float = 1.0, seed: int = 5) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Down and up of each module, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {
        module: (
            torch.randn(RANK, inputs, generator=generator) * 0.3,
            torch.randn(outputs, RANK, generator=generator) * 0.3 * strength,
        )
        for module, (outputs, inputs) in SHAPES.items()
    }


def write(
    path: Path,
    dialect: str = "transformer",
    alpha: float | None = None,
    seed: int = 5,
    but: str = "",
    metadata: dict[str, str] | None = None,
    **extra: torch.Tensor,
) -> Path:
    """All of SHAPES in a dialect; with `alpha`, the ups are scaled so that the effect stays what it was without.

    `but` is a module to leave out: `proj_out` has another shape where the VAE has 16 channels.
    """
    tensors = dict(extra)
    for module, (down, up) in matrices(seed=seed).items():
        if module == but:
            continue
        name, (down_name, up_name) = DIALECTS[dialect](module)
        tensors[f"{name}.{down_name}"] = down
        tensors[f"{name}.{up_name}"] = up if alpha is None else up * (RANK / alpha)
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    save_file(tensors, path, metadata)
    return path


def write_half(path: Path, dialect: str = "transformer", seed: int = 1) -> Path:
    """One that fits an expert of Wan 2.2 A14B."""
    return write(path, dialect, seed=seed, but="proj_out")
