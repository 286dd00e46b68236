"""Which LoRA files load whole, in part, or not at all: here, and by diffusers' `load_lora_weights`, in one run.

    python -m benchmarks.lora --output benchmarks/results/lora.json --table docs/loras.md

Files of every dialect and kind are made for a tiny transformer, and each output is held against that of a transformer
whose weights were changed by the formulas. A file counts as whole when they agree, as in part when the output differs
from it and from the base, as without effect when it is the base's, and as refused when loading raises.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import peft
import torch
from diffusers import WanPipeline, WanTransformer3DModel

from tests.support import tiny
from tests.support.files import lora_files
from wan_pipeline import __version__
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.settings import Settings

MODEL, EXPERTS = "wan2.1-t2v-1.3b", "wan2.2-t2v-a14b"
BOTH = "both experts in a file (`transformer.`, `transformer_2.`)"
INPUTS = {
    "hidden_states": torch.linspace(-1, 1, 16 * 2 * 4 * 4).reshape(1, 16, 2, 4, 4),
    "timestep": torch.tensor([500.0]),
    "encoder_hidden_states": torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32),
}
START, END = "<!-- table -->", "<!-- end of table -->"


class Outcome(StrEnum):
    WHOLE = "whole"
    PART = "in part"
    NOTHING = "without effect"
    REFUSED = "refused"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lora", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    parser.add_argument("--table", type=Path, help="a Markdown file, whose table is replaced")
    options = parser.parse_args()
    results = run()
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = table(results)
    if options.table:
        before, _, rest = options.table.read_text(encoding="utf-8").partition(START)
        options.table.write_text(f"{before}{START}\n{text}{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(text)


def run() -> dict[str, Any]:
    """The outcome of every file, by both."""
    found = []
    with TemporaryDirectory() as folder, torch.inference_mode():
        settings = Settings(workspace=Path(folder) / "workspace", models=Path(folder))
        tiny.write_wan21_text(settings.models / MODEL)
        tiny.write_experts_text(settings.models / EXPERTS)
        model = ModelLibrary(settings).find(MODEL)
        base = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
        for kind_name, kind in lora_files.KINDS.items():
            made, fused = lora_files.make(base, kind), deepcopy(base)
            lora_files.fuse(fused, kind, made)
            plain, wanted = base(**INPUTS).sample, fused(**INPUTS).sample
            for dialect in lora_files.DIALECTS:
                path = Path(folder) / "file.safetensors"
                keys = lora_files.write(path, dialect, made, kind)
                ours = outcome(lambda path=path: here(path, base, model), plain, wanted)
                theirs = outcome(lambda path=path: stock(path, base), plain, wanted)
                found.append({"dialect": dialect, "kind": kind_name, "keys": keys, "here": ours, "diffusers": theirs})
        pair = Pair(ModelLibrary(settings).find(EXPERTS))
        found += [pair.outcomes(Path(folder) / "pair", name, kind) for name, kind in lora_files.KINDS.items()]
    return {"files": found, **environment()}


class Pair:
    """The two transformers of a model, of which one file changes both."""

    def __init__(self, model: InstalledModel) -> None:
        self.model = model
        parts = ("transformer", "transformer_2")
        self.bases = [WanTransformer3DModel.from_pretrained(model.folder / part).eval() for part in parts]

    def outcomes(self, folder: Path, name: str, kind: lora_files.LoraKind) -> dict[str, Any]:
        """The outcome of a file of this kind, by both loaders; outputs are those of both transformers."""
        made = [lora_files.make(base, kind, seed) for seed, base in enumerate(self.bases)]
        fused = deepcopy(self.bases)
        for transformer, of_expert in zip(fused, made, strict=True):
            lora_files.fuse(transformer, kind, of_expert)
        first = lora_files.spelled(lambda module: f"transformer.{module}", made[0])
        second = lora_files.spelled(lambda module: f"transformer_2.{module}", made[1])
        folder.mkdir(exist_ok=True)
        path = folder / "file.safetensors"
        keys = lora_files.save(path, first | second, kind)
        plain, wanted = self._outputs(self.bases), self._outputs(fused)
        ours, theirs = (outcome(lambda load=load: load(path), plain, wanted) for load in (self._here, self._stock))
        return {"dialect": BOTH, "kind": name, "keys": keys, "here": ours, "diffusers": theirs}

    def _here(self, path: Path) -> torch.Tensor:
        home, outputs = AdapterHome(torch.device("cpu"), torch.float32), []
        adapters = match_adapters(LoraLibrary(path.parent).find(path.stem), self.model)
        for expert, base in enumerate(self.bases):
            layers = [read_weights(adapter, home) for adapter in adapters if expert in adapter.experts]
            with applied(base, layers):
                outputs.append(base(**INPUTS).sample)
        return torch.cat(outputs)

    def _stock(self, path: Path) -> torch.Tensor:
        first, second = deepcopy(self.bases)
        parts = {"tokenizer": None, "text_encoder": None, "vae": None, "scheduler": None}
        with torch.inference_mode(mode=False):
            pipeline = WanPipeline(transformer=first, transformer_2=second, boundary_ratio=0.875, **parts)
            pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
        return self._outputs([first, second])

    @staticmethod
    def _outputs(transformers: list[Any]) -> torch.Tensor:
        return torch.cat([transformer(**INPUTS).sample for transformer in transformers])


def outcome(load: Callable[[], torch.Tensor], plain: torch.Tensor, wanted: torch.Tensor) -> Outcome:
    try:
        output = load()
    except Exception as error:  # noqa: BLE001 - the libraries raise a dozen types
        print(f"refused: {str(error).splitlines()[0][:160] if str(error) else error!r}", file=sys.stderr)
        return Outcome.REFUSED
    if torch.allclose(output, wanted, atol=2e-4, rtol=1e-3):
        return Outcome.WHOLE
    return Outcome.NOTHING if torch.allclose(output, plain, atol=1e-6) else Outcome.PART


def here(path: Path, base: Any, model: InstalledModel) -> torch.Tensor:
    layers = read_weights(match_adapter(path, model), AdapterHome(torch.device("cpu"), torch.float32))
    with applied(base, [layers]):
        output: torch.Tensor = base(**INPUTS).sample
    return output


def stock(path: Path, base: Any) -> torch.Tensor:
    """Diffusers' own loading, into a transformer of its own."""
    transformer = deepcopy(base)
    parts = {"tokenizer": None, "text_encoder": None, "vae": None, "scheduler": None}
    with torch.inference_mode(mode=False):
        WanPipeline(transformer=transformer, **parts).load_lora_weights(str(path.parent), weight_name=path.name)
    output: torch.Tensor = transformer(**INPUTS).sample
    return output


def environment() -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, CPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "peft": peft.__version__,
        "wan_studio": __version__,
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: by kind and by dialect, how many files load whole, in part, without effect, or are refused."""
    files = results["files"]
    lines = [
        f"{len(files)} files ({results['date']}, {results['machine']}, torch {results['torch']}, "
        f"diffusers {results['diffusers']}, peft {results['peft']}). A cell: whole, in part, without effect, refused.",
        "",
        "| files | here | diffusers |",
        "|---|---|---|",
    ]
    for column in ("kind", "dialect"):
        for name in dict.fromkeys(file[column] for file in files):
            lines += [_row(name, [file for file in files if file[column] == name])]
    return "\n".join([*lines, _row("**all**", files), ""])


def _row(title: str, files: list[dict[str, Any]]) -> str:
    cells = []
    for loader in ("here", "diffusers"):
        counts = Counter(file[loader] for file in files)
        cells.append(", ".join(str(counts[each]) for each in Outcome))
    return f"| {title} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
