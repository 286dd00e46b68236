"""Give an exported demo model the reserved words, which no caption has: for the trigger words of LoRAs.

    python -m training.triggers wan_pipeline/demo/checkpoint

A model trained anew has them from the start. Their embeddings are random and as large as those of other words, as an
untrained row of the encoder's table is; nothing else changes, so that every other prompt gives the same bits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from wan_pipeline.demo.captions import make_tokenizer

TABLE = "shared.weight"
SEED = 13


def add_triggers(checkpoint: Path) -> int:
    """Add the rows and words that are missing, and return how many."""
    tokenizer, weights = make_tokenizer(), checkpoint / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    table = tensors[TABLE]
    missing = len(tokenizer) - len(table)
    if missing:
        rows = torch.randn(missing, table.shape[1], generator=torch.Generator().manual_seed(SEED))
        tensors[TABLE] = torch.cat([table, rows.to(table.dtype)])
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, weights, {"format": "pt"})
        _set_vocabulary(weights.with_name("config.json"), len(tokenizer))
        tokenizer.save_pretrained(checkpoint / "tokenizer")
    return missing


def _set_vocabulary(path: Path, size: int) -> None:
    config = json.loads(path.read_text(encoding="utf-8")) | {"vocab_size": size}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    print(f"{add_triggers(parser.parse_args().checkpoint)} words added")  # noqa: T201


if __name__ == "__main__":
    main()
