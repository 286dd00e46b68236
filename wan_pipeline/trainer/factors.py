"""The low-rank factors that are trained, beside a transformer that is never changed (LoRA, arXiv 2106.09685)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import linear

from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.lora.reading.keys import authors_name

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj", "ffn.net.0.proj", "ffn.net.2")
"""Ends of the names of the layers that get factors: all linear layers of a block."""
PREFIX = "diffusion_model"
"""What ComfyUI, diffusers and others expect before the authors' names of modules."""


class Pair:
    """The factors of one linear layer, and the forward hook that adds their update to its output."""

    def __init__(self, down: Tensor, up: Tensor, scale: float) -> None:
        """`down` is (rank, inputs), `up` (outputs, rank). They are trained in their own dtype."""
        self.down = torch.nn.Parameter(down)
        self.up = torch.nn.Parameter(up)
        self._scale = scale

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        rows = inputs[0]
        lowered = linear(rows, self.down.to(rows.dtype))
        return output + linear(lowered, (self.up * self._scale).to(rows.dtype))


class Factors:
    """The pairs of one transformer, by diffusers' names of its layers."""

    def __init__(
        self,
        transformer: torch.nn.Module,
        rank: int,
        alpha: float,
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """The first factor is drawn on the CPU, as peft draws it; the second is zero, so that nothing changes at first.

        peft: `LoraLayer.reset_lora_parameters`, kaiming uniform with a = sqrt(5), which is uniform in +-1/sqrt(inputs).
        """
        self.rank, self.alpha = rank, alpha
        self.pairs: dict[str, Pair] = {}
        for name, layer in target_layers(transformer):
            bound = 1 / math.sqrt(layer.in_features)
            down = (torch.rand(rank, layer.in_features, generator=generator) * 2 - 1) * bound
            up = torch.zeros(layer.out_features, rank)
            self.pairs[name] = Pair(down.to(device, dtype), up.to(device, dtype), alpha / rank)

    def parameters(self) -> list[torch.nn.Parameter]:
        return [factor for pair in self.pairs.values() for factor in (pair.down, pair.up)]

    def named(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Each factor with a name of its own."""
        for name, pair in self.pairs.items():
            yield f"{name}.down", pair.down
            yield f"{name}.up", pair.up

    @contextmanager
    def applied(self, transformer: torch.nn.Module) -> Iterator[None]:
        """Context manager: the transformer computes with the factors."""
        hooks = [transformer.get_submodule(name).register_forward_hook(pair) for name, pair in self.pairs.items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def file_tensors(self) -> dict[str, Tensor]:
        """As they are written to a LoRA file: bf16, in the authors' names, with alpha."""
        tensors = {}
        for name, pair in self.pairs.items():
            module = f"{PREFIX}.{authors_name(name)}"
            tensors[f"{module}.lora_A.weight"] = pair.down.detach().to("cpu", torch.bfloat16).contiguous()
            tensors[f"{module}.lora_B.weight"] = pair.up.detach().to("cpu", torch.bfloat16).contiguous()
            tensors[f"{module}.alpha"] = torch.tensor(self.alpha, dtype=torch.float32)
        return tensors


def target_layers(transformer: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Linear]]:
    """The linear layers of the transformer's blocks that get factors, in a fixed order."""
    inside = {id(part) for block in blocks_of(transformer) for part in block.modules()}
    for name, layer in transformer.named_modules():
        if id(layer) in inside and isinstance(layer, torch.nn.Linear) and name.endswith(TARGETS):
            yield name, layer


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, in hex: equal for equal weights, whatever the file around them."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
