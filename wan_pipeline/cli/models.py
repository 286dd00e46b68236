"""`models`: list, download, import, verify and remove models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wan_pipeline.cli.common import EXIT_FAILED, Commands, add_action, add_folders, settings, warn
from wan_pipeline.errors import ModelError
from wan_pipeline.progress import Throttle
from wan_pipeline.wording import data_size, duration

if TYPE_CHECKING:
    from wan_pipeline.models.entries import Entry
    from wan_pipeline.models.hub.download import DownloadPlan
    from wan_pipeline.models.manager import ModelManager
    from wan_pipeline.models.transfer import TransferProgress

DESCRIPTION = "List, download, import, verify and remove models."
JSON_HELP = "print one JSON object per model, one per line"
LOG_SECONDS = 5.0


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("models", help="list, download, import, verify, remove", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.set_defaults(run=_list)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", metavar="action")
    _action(actions, "list", _list, "list all known models; `models` alone does the same")
    _add_download(actions)
    _add_import(actions)
    verify = _action(actions, "verify", _verify, "read a model's files and compare them with their published hashes")
    verify.add_argument("model", metavar="ID")
    remove = _action(actions, "remove", _remove, "delete a model's files; an imported folder is only forgotten")
    remove.add_argument("model", metavar="ID")


def _add_download(actions: Commands[argparse.ArgumentParser]) -> None:
    parser = _action(actions, "download", _download, "download a model, or what is missing of it")
    parser.add_argument("model", metavar="MODEL", help="an id, or a repository of the Hugging Face Hub as owner/name")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit (default: the pinned commit, or main)")
    parser.add_argument("--dry-run", action="store_true", help="only print how much there is to download")
    parser.set_defaults(stopped="stopped; what has been downloaded is kept, and the next download resumes.")


def _add_import(actions: Commands[argparse.ArgumentParser]) -> None:
    parser = _action(actions, "import", _import, "add a model in diffusers layout, or a transformer in one file")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, a repository of the Hugging Face Hub (owner/name), or a .safetensors file",
    )
    parser.add_argument(
        "--config",
        metavar="MODEL",
        help="for a file or the authors' shards: the installed model that it was made from, by id or folder",
    )
    parser.add_argument(
        "--low-noise", type=Path, metavar="FILE", help="for a file: the file of the second, low-noise expert"
    )
    parser.add_argument("--id", metavar="ID", help="the model's id (default: made from its name)")
    parser.add_argument("--title", metavar="TEXT", help="the model's name on the page (default: its name)")
    parser.set_defaults(stopped="stopped; nothing was imported.")


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, run, text)
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=JSON_HELP)
    return parser


def _manager(options: argparse.Namespace) -> ModelManager:
    from wan_pipeline.models.library import ModelLibrary  # here: --help needs none of it
    from wan_pipeline.models.manager import ModelManager

    chosen = settings(options)
    return ModelManager(chosen, ModelLibrary(chosen))


def _list(options: argparse.Namespace) -> int:
    for entry in _manager(options).all_entries():
        print(json.dumps({**entry.to_dict(), **_memory(entry)}) if options.json else _line(entry))
    return 0


def _memory(entry: Entry) -> dict[str, object]:
    """The least device memory that it runs in, by plan; None for a model that this version cannot run."""
    from wan_pipeline.planning.selection import least_memory

    is_judged = not entry.spec.missing and not entry.spec.sound
    return {"minimum_vram_gib": least_memory(entry.spec) if is_judged else None}


def _download(options: argparse.Namespace) -> int:
    manager = _manager(options)
    if options.revision is None and (installed := _installed(manager, options.model)):
        return _print(installed, options)  # needs no network
    plan = manager.download_plan(options.model, options.revision)
    print(_plan_line(plan), file=sys.stderr)
    print(f"licence: {plan.repository.licence or 'unknown; see the model card'}", file=sys.stderr)
    if options.dry_run:
        if options.json:
            print(json.dumps(_plan_facts(plan)))
        return 0
    with _TransferLine(sys.stderr, "downloaded") as observer:
        entry = manager.download(options.model, plan, observer)
    return _print(entry, options)


def _installed(manager: ModelManager, name: str) -> Entry | None:
    """The model, if it is complete."""
    from wan_pipeline.models.entries import Status

    entries = [entry for entry in manager.all_entries() if name in (entry.spec.id, entry.spec.repo)]
    return next((entry for entry in entries if entry.status is Status.INSTALLED), None)


def _import(options: argparse.Namespace) -> int:
    manager = _manager(options)
    source = Path(options.source).expanduser()
    if source.is_file() or options.config:
        entry = _import_file(manager, source, options)
    elif source.is_dir() or options.source.count("/") != 1:
        entry = manager.import_folder(source, options.id, options.title)
    else:
        entry = manager.import_repository(options.source, options.id, options.title)
    return _print(entry, options)


def _import_file(manager: ModelManager, file: Path, options: argparse.Namespace) -> Entry:
    from wan_pipeline.models.importing.source import check_weights

    if not options.config:
        check_weights(file)
        raise ModelError(f"{file.name} is a transformer alone; name the model that it was made from with --config ID.")
    files = [file] if options.low_noise is None else [file, options.low_noise]
    with _TransferLine(sys.stderr, "copied") as observer:
        return manager.import_files(files, options.config, observer, options.id, options.title, warn)


def _verify(options: argparse.Namespace) -> int:
    with _TransferLine(sys.stderr, "verified") as observer:
        problems = _manager(options).verify(options.model, observer)
    if options.json:
        print(json.dumps({"id": options.model, "whole": not problems, "problems": problems}))
    else:
        print("\n".join(problems) or f"{options.model} is complete and undamaged.")
    return EXIT_FAILED if problems else 0


def _remove(options: argparse.Namespace) -> int:
    freed = _manager(options).remove(options.model)
    facts = {"id": options.model, "freed_gb": round(freed / 1e9, 3)}
    print(json.dumps(facts) if options.json else f"{data_size(freed)} freed")
    return 0


def _print(entry: Entry, options: argparse.Namespace) -> int:
    print(json.dumps(entry.to_dict()) if options.json else _line(entry))
    return 0


def _line(entry: Entry) -> str:
    """For example: wan2.2-t2v-a14b  available  126.0 GB  text-to-video  Wan-AI/…"""
    size = data_size(entry.gigabytes * 1e9) if entry.gigabytes else ""
    modes = ", ".join(entry.spec.abilities)
    end = " ".join((entry.problem or str(entry.folder or entry.spec.repo or "")).split())
    return f"{entry.spec.id:<20}  {entry.status:<11}  {size:>8}  {modes:<31}  {end}".rstrip()


def _plan_line(plan: DownloadPlan) -> str:
    needed, total = data_size(plan.needed_bytes), data_size(plan.total_bytes)
    return f"{plan.repository.name} at {plan.repository.commit[:12]}: {needed} of {total} to download"


def _plan_facts(plan: DownloadPlan) -> dict[str, object]:
    return {
        "repo": plan.repository.name,
        "revision": plan.repository.commit,
        "total_bytes": plan.total_bytes,
        "needed_bytes": plan.needed_bytes,
        "licence": plan.repository.licence,
    }


class _TransferLine:
    """Prints progress: on a terminal one line that is overwritten, in a log file a line every few seconds."""

    def __init__(self, stream: TextIO, verb: str) -> None:
        self._stream, self._verb = stream, verb
        self._is_terminal = stream.isatty()
        self._throttle = Throttle(0.2 if self._is_terminal else LOG_SECONDS, is_due_at_first=False)
        self._has_printed = False

    def transferred(self, progress: TransferProgress) -> None:
        is_end = progress.done_bytes == progress.total_bytes and self._has_printed
        if not self._throttle.is_due() and not is_end:
            return
        self._has_printed = True
        line = self._line(progress)
        self._stream.write(f"\r\x1b[2K{line}" if self._is_terminal else f"{line}\n")
        self._stream.flush()

    def cancelled(self) -> bool:
        return False

    def __enter__(self) -> _TransferLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_printed and self._is_terminal:
            self._stream.write("\n")

    def _line(self, progress: TransferProgress) -> str:
        speed = f", {progress.bytes_per_second / 1e6:,.1f} MB/s" if progress.bytes_per_second else ""
        left = f", {duration(progress.eta_seconds)} left" if progress.eta_seconds else ""
        done, total = progress.done_bytes / 1e9, progress.total_bytes / 1e9
        return f"{done:,.2f} of {total:,.2f} GB {self._verb}{speed}{left}  {progress.file}"
