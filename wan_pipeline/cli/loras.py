"""`loras`: list the LoRAs of the folders, and check a file against a model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import EXIT_FAILED, Commands, add_action, settings, warn
from wan_pipeline.models import registry
from wan_pipeline.wording import data_size

if TYPE_CHECKING:
    from wan_pipeline.lora.facts import LoraCatalog, LoraFacts
    from wan_pipeline.lora.library import LoraLibrary
    from wan_pipeline.lora.pairs import Lora
    from wan_pipeline.models.library import InstalledModel
    from wan_pipeline.settings import Settings

DESCRIPTION = "List LoRAs, and check what of a file a model takes."
JSON_HELP = "print one JSON object per LoRA, one per line"


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("loras", help="list, check", description=DESCRIPTION, allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    listing = _action(actions, "list", _list, "list the LoRAs of the folders")
    listing.add_argument("--model", metavar="ID", help="also count the keys that this model takes")
    check = _action(actions, "check", _check, "check a file, or a LoRA of the folders by name, against a model")
    check.add_argument("file", metavar="FILE")
    check.add_argument("--model", metavar="ID", default=registry.DEFAULT_MODEL, help="(%(default)s)")


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, run, text)
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    return parser


def _list(options: argparse.Namespace) -> int:
    folders = settings(options)
    model, library = _model(folders, options.model), _library(folders)
    catalog = _catalog(folders, library)
    for notice in library.notices:
        warn(notice)
    for lora in library.all():
        _print(catalog.facts(lora, model), options)
    return 0


def _check(options: argparse.Namespace) -> int:
    folders = settings(options)
    model, library = _model(folders, options.model), _library(folders)
    facts = _catalog(folders, library).facts(_lora(options.file, library), model, library.values)
    _print(facts, options)
    if not options.json:
        for sentence in (*facts.warnings, *([facts.problem] if facts.problem else [])):
            print(f"  {sentence}")
    return EXIT_FAILED if facts.problem else 0


def _model(folders: Settings, model_id: str | None) -> InstalledModel | None:
    from wan_pipeline.models.library import ModelLibrary  # here and below: --help needs none of it

    return ModelLibrary(folders).find(model_id) if model_id else None


def _library(folders: Settings) -> LoraLibrary:
    from wan_pipeline.lora.library import LoraLibrary

    return LoraLibrary.of(folders)


def _catalog(folders: Settings, library: LoraLibrary) -> LoraCatalog:
    from wan_pipeline.lora.facts import LoraCatalog

    return LoraCatalog.of(folders, library)


def _lora(name: str, library: LoraLibrary) -> Lora:
    """A file by its path, else a LoRA by its name. Raises LoraError."""
    from wan_pipeline.lora.pairs import alone

    path = Path(name).expanduser()
    return alone(path, path.stem, ()) if path.is_file() else library.find(name)


def _print(facts: LoraFacts, options: argparse.Namespace) -> None:
    print(json.dumps(facts.to_dict()) if options.json else _line(facts))


def _line(facts: LoraFacts) -> str:
    """For example: ink  LoRA, rank 16  Wan 14B  400 of 400 keys  92.1 MB  high and low noise."""
    kind = f"{facts.kind}, rank {facts.rank}" if facts.rank else facts.kind
    keys = f"{facts.keys} keys" if facts.applied is None else f"{facts.applied} of {facts.keys} keys"
    experts = f"{' and '.join(facts.experts)} noise" if facts.experts else ""
    parts = (f"{facts.name:<32}", kind, facts.base, keys, data_size(facts.bytes), experts)
    return "  ".join(part for part in parts if part) + ("" if facts.problem is None else "  cannot be used")
