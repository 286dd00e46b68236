"""Makes LoRA files of every dialect and kind for a transformer, and the weights that their formulas give."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from peft.tuners.oft.layer import OFTRotationModule
from safetensors.torch import save_file

from wan_pipeline.lora.reading.keys import AUTHORS_NAMES

RANK = 4
SIDE = 8
"""Of OFT's blocks."""
Tensors = dict[str, torch.Tensor]


def authors(module: str) -> str:
    for pattern, replacement in AUTHORS_NAMES:
        module = re.sub(pattern, replacement, module)
    return module


DIALECTS: dict[str, Callable[[str], str]] = {
    "diffusers (`transformer.`)": lambda module: f"transformer.{module}",
    "ComfyUI (`diffusion_model.`)": lambda module: f"diffusion_model.{authors(module)}",
    "`model.diffusion_model.`": lambda module: f"model.diffusion_model.{authors(module)}",
    "no prefix, diffusers' names": lambda module: module,
    "no prefix, authors' names": authors,
    "peft (`base_model.model.`)": lambda module: f"base_model.model.{module}",
    "peft, authors' names": lambda module: f"base_model.model.{authors(module)}",
    "kohya (`lora_unet_`)": lambda module: f"lora_unet_{authors(module).replace('.', '_')}",
    "VideoX-Fun (`lora_unet__`)": lambda module: f"lora_unet__{authors(module).replace('.', '_')}",
    "LyCORIS (`lycoris_`)": lambda module: f"lycoris_{authors(module).replace('.', '_')}",
    "DiffSynth (`pipe.dit.`)": lambda module: f"pipe.dit.{authors(module)}",
    "`dit.`": lambda module: f"dit.{authors(module)}",
}


@dataclass(frozen=True)
class LoraKind:
    """What a file holds for each module, and the weight and bias that come of it."""

    tensors: Callable[[torch.Tensor, torch.Generator], Tensors]
    weight: Callable[[torch.Tensor, Tensors], torch.Tensor]
    bias: Callable[[torch.Tensor, Tensors], torch.Tensor] = lambda bias, tensors: bias
    has_norms: bool = False
    """Whether it is for norms too."""
    has_tables: bool = False
    """Whether it is for the blocks' modulation too."""
    metadata: dict[str, str] | None = None


def _noise(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator) * 0.3


def _pair(down: str, up: str) -> Callable[[torch.Tensor, torch.Generator], Tensors]:
    return lambda weight, generator: {
        f"{down}.weight": _noise(generator, RANK, weight.shape[1]),
        f"{up}.weight": _noise(generator, weight.shape[0], RANK),
    }


def _with(
    make: Callable[[torch.Tensor, torch.Generator], Tensors], **extra: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[torch.Tensor, torch.Generator], Tensors]:
    return lambda weight, generator: make(weight, generator) | {name: value(weight) for name, value in extra.items()}


def _product(tensors: Tensors) -> torch.Tensor:
    down = next(value for name, value in tensors.items() if "down" in name or "lora_A" in name)
    up = next(value for name, value in tensors.items() if "up" in name or "lora_B" in name)
    return up @ down * float(tensors.get("alpha", torch.tensor(float(RANK)))) / RANK


def _dora(weight: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    changed = weight + _product(tensors)
    return changed * tensors["dora_scale"].reshape(-1, 1) / changed.norm(dim=1, keepdim=True)


def _loha(weight: torch.Tensor, generator: torch.Generator) -> Tensors:
    return {f"hada_w{side}_a": _noise(generator, weight.shape[0], RANK) for side in (1, 2)} | {
        f"hada_w{side}_b": _noise(generator, RANK, weight.shape[1]) for side in (1, 2)
    }


def _oft(weight: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    """As `Linear.merge` of `peft/tuners/oft/layer.py` does it."""
    numbers = tensors["oft_R.weight"]
    rotation = OFTRotationModule(
        *numbers.shape, SIDE, weight.shape[1], block_share=False, use_cayley_neumann=False, num_cayley_neumann_terms=5
    )
    rotation.weight = torch.nn.Parameter(numbers, requires_grad=False)
    return (rotation.get_weight() @ weight.T).T


def _diag_oft(weight: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    """As `DiagOFTModule` of `lycoris/modules/diag_oft.py` does it."""
    one = torch.eye(SIDE)
    turns = [(one + q) @ (one - q).inverse() for q in tensors["oft_blocks"] - tensors["oft_blocks"].mT]
    return torch.block_diag(*turns).T @ weight


KINDS = {
    "LoRA (`lora_A`, `lora_B`)": LoraKind(_pair("lora_A", "lora_B"), lambda weight, t: weight + _product(t)),
    "LoRA (`lora_down`, `lora_up`, `alpha`)": LoraKind(
        _with(_pair("lora_down", "lora_up"), alpha=lambda _: torch.tensor(2.0)), lambda weight, t: weight + _product(t)
    ),
    "LoRA with differences (`diff`, `diff_b`)": LoraKind(
        _with(
            _pair("lora_down", "lora_up"),
            alpha=lambda _: torch.tensor(2.0),
            diff_b=lambda weight: torch.linspace(-0.3, 0.3, weight.shape[0]),
        ),
        lambda weight, t: weight + (t["diff"] if "diff" in t else _product(t)),
        lambda bias, t: bias + t["diff_b"] if "diff_b" in t else bias,
        has_norms=True,
    ),
    "DoRA": LoraKind(
        _with(
            _pair("lora_down", "lora_up"),
            alpha=lambda _: torch.tensor(2.0),
            dora_scale=lambda weight: torch.linspace(0.5, 1.5, weight.shape[0])[:, None],
        ),
        _dora,
    ),
    "LoKr": LoraKind(
        lambda weight, generator: {
            "lokr_w1": _noise(generator, 4, 4),
            "lokr_w2": _noise(generator, weight.shape[0] // 4, weight.shape[1] // 4),
        },
        lambda weight, t: weight + torch.kron(t["lokr_w1"], t["lokr_w2"]),
    ),
    "LoHa": LoraKind(
        _loha,
        lambda weight, t: weight + (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"]),
    ),
    "LoRA with modulation (`diff_m`)": LoraKind(
        _pair("lora_down", "lora_up"), lambda weight, t: weight + _product(t), has_tables=True
    ),
    "OFT of peft": LoraKind(
        lambda weight, generator: {
            "oft_R.weight": _noise(generator, weight.shape[1] // SIDE, SIDE * (SIDE - 1) // 2),
        },
        _oft,
        metadata={"lora_adapter_metadata": '{"peft_type": "OFT"}'},
    ),
    "OFT of LyCORIS": LoraKind(
        lambda weight, generator: {
            "oft_blocks": _noise(generator, weight.shape[0] // SIDE, SIDE, SIDE),
            "alpha": torch.tensor(0.0),
        },
        _diag_oft,
    ),
    "(IA)3 of peft": LoraKind(
        lambda weight, generator: {"ia3_l": _noise(generator, weight.shape[0], 1) + 1},
        lambda weight, t: weight * t["ia3_l"],
        lambda bias, t: bias * t["ia3_l"].flatten(),
    ),
    "(IA)3 of LyCORIS": LoraKind(
        lambda weight, generator: {"weight": _noise(generator, weight.shape[1]), "on_input": torch.tensor(1)},
        lambda weight, t: weight * (1 + t["weight"]),
    ),
}


def layers_of(transformer: torch.nn.Module, kind: LoraKind) -> Iterator[tuple[str, torch.nn.Module]]:
    """The linear layers of the blocks and of the picture's embedding, and the norms with weights if the kind is for
    them."""
    for name, module in transformer.named_modules():
        if not name.startswith(("blocks.", "condition_embedder.image_embedder.")):
            continue
        is_norm = kind.has_norms and "norm" in name and getattr(module, "weight", None) is not None
        if isinstance(module, torch.nn.Linear) or is_norm:
            yield name, module


def make(transformer: torch.nn.Module, kind: LoraKind, seed: int = 3) -> dict[str, Tensors]:
    """The tensors of each layer, by its name in diffusers and the ends of their keys."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, module in layers_of(transformer, kind):
        is_norm = not isinstance(module, torch.nn.Linear)
        shape = module.weight.shape
        made[name] = {"diff": _noise(generator, *shape)} if is_norm else kind.tensors(module.weight, generator)
    if kind.has_tables:
        tables = {name: table for name, table in transformer.named_parameters() if name.endswith("scale_shift_table")}
        for name, table in tables.items():
            if name.startswith("blocks."):
                made[name.removesuffix(".scale_shift_table")] = {"diff_m": _noise(generator, *table.shape)}
    return made


def write(path: Path, dialect: str, made: dict[str, Tensors], kind: LoraKind) -> int:
    """Save a file in a dialect. Returns the number of its keys."""
    return save(path, spelled(DIALECTS[dialect], made), kind)


def spelled(spell: Callable[[str], str], made: dict[str, Tensors]) -> Tensors:
    """The tensors of a file by their keys."""
    return {f"{spell(name)}.{end}": value.clone() for name, of in made.items() for end, value in of.items()}


def save(path: Path, tensors: Tensors, kind: LoraKind) -> int:
    """Save a file. Returns the number of its keys."""
    save_file(tensors, path, kind.metadata)
    return len(tensors)


@torch.inference_mode()
def fuse(transformer: torch.nn.Module, kind: LoraKind, made: dict[str, Tensors]) -> None:
    """Change the weights as the formulas say."""
    for name, tensors in made.items():
        module = transformer.get_submodule(name)
        if "diff_m" in tensors:
            module.scale_shift_table.add_(tensors["diff_m"])
            continue
        module.weight.copy_(kind.weight(module.weight.clone(), tensors))
        if getattr(module, "bias", None) is not None:
            module.bias.copy_(kind.bias(module.bias.clone(), tensors))
