"""`models`: which there are, and which of them are here."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wan_pipeline.cli.common import EXIT_FAILED, Commands, add_folders, settings
from wan_pipeline.errors import ModelError
from wan_pipeline.wording import duration

if TYPE_CHECKING:
    from wan_pipeline.models.download import DownloadPlan, TransferProgress
    from wan_pipeline.models.manage import Entry, Models

MODELS = "Models: which there are, which of them are here, and how to get others."
NAME = "a model's id, or any repository of the Hugging Face Hub, as owner/name"
LOG_SECONDS = 5.0


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("models", help="list, download, import, verify, remove", description=MODELS)
    parser.add_argument("--json", action="store_true", help="print one JSON object a model, one a line")
    parser.set_defaults(run=_list)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", metavar="action")
    _action(actions, "list", _list, "show all models that are known; this is what `models` alone does")
    fetch = _action(actions, "download", _download, "fetch a model, or what is missing of it")
    fetch.add_argument("model", metavar="MODEL", help=NAME)
    fetch.add_argument("--revision", metavar="REV", help="a branch, tag or commit (the one it is pinned to, else main)")
    fetch.add_argument("--dry-run", action="store_true", help="only say how much there is to fetch")
    fetch.set_defaults(stopped="stopped; what has come is kept, and the next download goes on from there.")
    add = _action(actions, "import", _import, "take up a model in diffusers layout, or a transformer in one file")
    add.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, a repository of the Hugging Face Hub (owner/name), or a .safetensors",
    )
    add.add_argument(
        "--config", metavar="MODEL", help="of a file: the model here that it was made from, by id or folder"
    )
    add.add_argument(
        "--low-noise", type=Path, metavar="FILE", help="of a file: the second expert's, for the last steps"
    )
    add.add_argument("--id", metavar="ID", help="what to call it (made of its name)")
    add.add_argument("--title", metavar="TEXT", help="what the page calls it (its name)")
    add.set_defaults(stopped="stopped; nothing was imported.")
    verify = _action(actions, "verify", _verify, "read all of a model's files and compare their hashes")
    verify.add_argument("model", metavar="ID")
    remove = _action(actions, "remove", _remove, "free the disk of a model; an imported folder is only forgotten")
    remove.add_argument("model", metavar="ID")


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.", allow_abbrev=False)
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object a model, one a line"
    )
    parser.set_defaults(run=run)
    add_folders(parser)
    return parser


def _models(options: argparse.Namespace) -> Models:
    from wan_pipeline.models.manage import Models  # here: --help needs none of it

    return Models(settings(options))


def _list(options: argparse.Namespace) -> int:
    for entry in _models(options).entries():
        print(json.dumps(entry.to_dict() | _memory(entry)) if options.json else _line(entry))
    return 0


def _memory(entry: Entry) -> dict[str, object]:
    """What it takes of a device at least, by plan; nothing for what cannot be run."""
    from wan_pipeline.planning.selection import least_memory

    return {"minimum_vram_gib": None if entry.spec.missing else least_memory(entry.spec)}


def _download(options: argparse.Namespace) -> int:
    models = _models(options)
    if options.revision is None and (here := _whole(models, options.model)):
        return _tell(here, options)  # asks no network
    order = models.plan(options.model, options.revision)
    print(_order(order), file=sys.stderr)
    if options.dry_run:
        if options.json:
            print(json.dumps(_report(order)))
        return 0
    with _TransferLine(sys.stderr) as observer:
        entry = models.fetch(options.model, order, observer)
    return _tell(entry, options)


def _whole(models: Models, name: str) -> Entry | None:
    """The model, if it is here and whole."""
    from wan_pipeline.models.manage import Status

    entries = [entry for entry in models.entries() if name in (entry.spec.id, entry.spec.repo)]
    return next((entry for entry in entries if entry.status is Status.INSTALLED), None)


def _import(options: argparse.Namespace) -> int:
    models = _models(options)
    folder = Path(options.source).expanduser()
    if folder.is_file() or options.config:
        return _import_file(models, folder, options)
    if folder.is_dir() or options.source.count("/") != 1:
        entry = models.import_folder(folder, options.id, options.title)
    else:
        entry = models.import_repository(options.source, options.id, options.title)
    return _tell(entry, options)


def _import_file(models: Models, file: Path, options: argparse.Namespace) -> int:
    if not options.config:
        raise ModelError(f"{file.name} is a transformer alone; name the model that it was made from with --config ID.")
    files = [file] if options.low_noise is None else [file, options.low_noise]
    with _TransferLine(sys.stderr, "copied") as observer:
        entry = models.import_files(files, options.config, observer, options.id, options.title)
    return _tell(entry, options)


def _verify(options: argparse.Namespace) -> int:
    models = _models(options)
    with _TransferLine(sys.stderr, "checked") as observer:
        problems = models.verify(options.model, observer)
    if options.json:
        print(json.dumps({"id": options.model, "whole": not problems, "problems": problems}))
    else:
        print("\n".join(problems) or f"{options.model} is whole.")
    return EXIT_FAILED if problems else 0


def _remove(options: argparse.Namespace) -> int:
    freed = _models(options).remove(options.model) / 1e9
    print(json.dumps({"id": options.model, "freed_gb": round(freed, 3)}) if options.json else f"{freed:,.1f} GB freed")
    return 0


def _tell(entry: Entry, options: argparse.Namespace) -> int:
    print(json.dumps(entry.to_dict()) if options.json else _line(entry))
    return 0


def _line(entry: Entry) -> str:
    """For a person: `wan2.2-t2v-a14b  available  126.0 GB  text-to-video  Wan-AI/…`."""
    size = f"{entry.gigabytes:.1f} GB" if entry.gigabytes else ""
    modes = ", ".join(entry.spec.abilities)
    end = " ".join((entry.problem or str(entry.folder or entry.spec.repo or "")).split())
    return f"{entry.spec.id:<20}  {entry.status:<11}  {size:>8}  {modes:<31}  {end}".rstrip()


def _order(order: DownloadPlan) -> str:
    name, needed, total = order.repository.name, order.needed_bytes / 1e9, order.total_bytes / 1e9
    return f"{name} at {order.repository.commit[:12]}: {needed:,.2f} of {total:,.2f} GB to fetch"


def _report(order: DownloadPlan) -> dict[str, object]:
    return {
        "repo": order.repository.name,
        "revision": order.repository.commit,
        "total_bytes": order.total_bytes,
        "needed_bytes": order.needed_bytes,
    }


class _TransferLine:
    """One line that is written over; in a log file one every few seconds."""

    def __init__(self, stream: TextIO, verb: str = "fetched") -> None:
        self._stream, self._verb = stream, verb
        self._is_terminal = stream.isatty()
        self._told_at = time.monotonic()
        self._is_open = False

    def transferred(self, transfer: TransferProgress) -> None:
        now = time.monotonic()
        is_end = transfer.done_bytes == transfer.total_bytes and self._is_open
        if now - self._told_at < (0.2 if self._is_terminal else LOG_SECONDS) and not is_end:
            return
        self._told_at, self._is_open = now, True
        self._stream.write(f"\r\x1b[2K{self._line(transfer)}" if self._is_terminal else f"{self._line(transfer)}\n")
        self._stream.flush()

    def cancelled(self) -> bool:
        return False

    def __enter__(self) -> _TransferLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_open and self._is_terminal:
            self._stream.write("\n")

    def _line(self, transfer: TransferProgress) -> str:
        speed = f", {transfer.bytes_per_second / 1e6:,.1f} MB/s" if transfer.bytes_per_second else ""
        left = f", {duration(transfer.eta_seconds)} left" if transfer.eta_seconds else ""
        done, total = transfer.done_bytes / 1e9, transfer.total_bytes / 1e9
        return f"{done:,.2f} of {total:,.2f} GB {self._verb}{speed}{left}  {transfer.file}"
