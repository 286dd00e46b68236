"""A model's folder at real sizes with random weights, quickly: what is not read takes no room on the disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
import torch
from diffusers import UniPCMultistepScheduler, WanTransformer3DModel
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from benchmarks.gpu.bench import Bench, text_module, vae_2_1
from wan_pipeline.engine.device.placement import choose_placement
from wan_pipeline.engine.memory.inner_tensors import map_tensors
from wan_pipeline.engine.memory.quantize import save_quantized, skeleton
from wan_pipeline.engine.memory.weights import quantized_file, weights_source
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.settings import Settings

WEIGHTS = "diffusion_pytorch_model.safetensors"


def write_model(bench: Bench, settings: Settings, spec: ModelSpec) -> None:
    """Its transformers are there in int8, as the engine keeps them; their bf16 files are only as large."""
    folder, blobs = settings.models / spec.id, settings.models / "blobs"
    blobs.mkdir()
    experts = ["transformer", "transformer_2"][: spec.memory.experts]
    module = bench.transformer(spec.memory, Precision.INT8)
    for name in experts:
        plain = skeleton(partial(WanTransformer3DModel, **bench.shape(spec.memory)))
        _write_json(folder / name / "config.json", dict(plain.config))
        _write_blob(folder / name / WEIGHTS, partial(_hollow, plain.state_dict()), blobs)
    _write_part(bench, folder / "vae" / WEIGHTS, vae_2_1(bench), blobs)
    _write_part(bench, folder / "text_encoder" / "model.safetensors", text_module(bench), blobs)
    _tokenizer().save_pretrained(folder / "tokenizer")
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    scheduler.save_pretrained(folder / "scheduler")
    _write_json(folder / "model_index.json", _index(experts))
    _write_quantized(settings, spec, module, experts)


def _write_quantized(settings: Settings, spec: ModelSpec, module: torch.nn.Module, experts: list[str]) -> None:
    installed = ModelLibrary(settings).find(spec.id)
    map_tensors(module, lambda tensor: tensor.cpu())
    paths = [quantized_file(installed, name, Precision.INT8, settings.cache / "weights") for name in experts]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    save_quantized(module, paths[0], weights_source(installed, choose_placement(settings.device)))
    for path in paths[1:]:
        path.symlink_to(paths[0])  # the same weights on the disk; in memory each expert has its own


def _write_part(bench: Bench, path: Path, part: Any, blobs: Path) -> None:
    bench.fill(part)
    config = part.config.to_dict() if hasattr(part.config, "to_dict") else dict(part.config)
    _write_json(path.parent / "config.json", config)
    state = {name: tensor.cpu() for name, tensor in part.state_dict().items() if "embed_tokens" not in name}
    _write_blob(path, lambda target: save_file(state, target, {"format": "pt"}), blobs)


def _hollow(state: dict[str, torch.Tensor], target: Path) -> None:
    """A safetensors file in bf16 of the right length, of which only the header is there."""
    header, end = {}, 0
    for name, tensor in state.items():
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [end, end + 2 * tensor.numel()]}
        end += 2 * tensor.numel()
    text = json.dumps(header).encode()
    with target.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def _write_blob(path: Path, write: Callable[[Path], object], blobs: Path) -> None:
    """As in the Hugging Face cache: under the name of a hash, with a link to it."""
    blob = blobs / hashlib.sha256(str(path).encode()).hexdigest()
    write(blob)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(blob)


def _write_json(path: Path, facts: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, default=str), encoding="utf-8")


def _index(experts: list[str]) -> dict[str, Any]:
    transformers: dict[str, Any] = {name: ["diffusers", "WanTransformer3DModel"] for name in experts}
    return {
        "_class_name": "WanPipeline",
        "transformer_2": [None, None],
        **transformers,
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "boundary_ratio": 0.875 if len(experts) > 1 else None,
    }


def _tokenizer() -> PreTrainedTokenizerFast:
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    vocabulary = {word: number for number, word in enumerate(names.values())}
    words = tokenizers.models.WordLevel(vocabulary, unk_token=names["unk_token"])
    fast = tokenizers.Tokenizer(words)
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=fast, **names)
