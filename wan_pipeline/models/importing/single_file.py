"""Makes a model in diffusers layout of components in safetensors files and the other components of another model.

Bytes are copied from file to file, under other names; weights in 8 bits become BF16 on the way. No torch, and never
more than a few megabytes in memory.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wan_pipeline.errors import ModelError
from wan_pipeline.models.importing.source import Source
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.configs import INDEX, components
from wan_pipeline.models.transfer import Meter, TransferObserver, check_free_space
from wan_pipeline.models.weights import aligned_layout
from wan_pipeline.storage.files import check_writable, storage_error

SHARD_BYTES = 5 * 10**9
STEM = "diffusion_pytorch_model"

logger = logging.getLogger(__name__)


def convert(sources: dict[str, Source], base: InstalledModel, target: Path, observer: TransferObserver) -> None:
    """Write the model folder `target`: the sources, by component, and the other components of `base`.

    It appears complete or not at all. Raises ModelError, StorageError, Cancelled.
    """
    check_writable(target.parent)
    rest = [path for path in _files(base) if path.relative_to(base.folder).parts[0] not in sources]
    configs = [base.folder / name / "config.json" for name in sources]
    needed = sum(source.total_bytes for source in sources.values())
    with _temporary_folder(target) as folder:
        try:
            places = {path: folder / path.relative_to(base.folder) for path in (*rest, *configs)}
            copies = [path for path, place in places.items() if not _linked(path, place)]
            copied = sum(path.stat().st_size for path in copies)
            check_free_space(target.parent, needed + copied, target.name, "set --models-folder to one on another disk")
            for path in copies:
                shutil.copyfile(path, places[path])
            meter = Meter(observer, needed)
            for component, source in sources.items():
                _write_shards(source, folder / component, _stem(base, component), meter)
            folder.rename(target)
        except OSError as error:
            raise storage_error(target.parent, error) from error


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that is deleted afterwards, unless it was renamed.

    Raises ModelError if another process is making the same model.
    """
    folder, lock = (target.with_name(f".importing-{target.name}{ending}") for ending in ("", ".lock"))
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)  # of an import that was killed
            try:
                folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
    except Timeout:
        raise ModelError(f"{target.name} is being imported by another program; wait until it is done.") from None


def _files(model: InstalledModel) -> list[Path]:
    """The model index, and the files of the components in it."""
    folders = (model.folder / name for name in components(model.index()))
    return [model.folder / INDEX, *(path for folder in folders for path in sorted(folder.glob("*")) if path.is_file())]


def _linked(path: Path, target: Path) -> bool:
    """Make a hard link to large files, which keeps one on the disk once, and alive when the other model is removed.

    False for small files, for other disks, and where the file system has no links, as exFAT and many network shares.
    """
    target.parent.mkdir(exist_ok=True)
    if path.suffix != ".safetensors":
        return False
    try:
        os.link(path.resolve(), target)
    except OSError as error:
        logger.info("%s is copied, because it cannot be linked: %s", path, error)
        return False
    return True


def _stem(base: InstalledModel, component: str) -> str:
    """What the library that loads the component calls its files: transformers says `model`."""
    return "model" if base.component_files(component)[0].name.startswith("model") else STEM


def _write_shards(source: Source, folder: Path, stem: str, meter: Meter) -> None:
    shards = _shards(source)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        part = "" if len(shards) == 1 else f"-{number:05}-of-{len(shards):05}"
        meter.file = f"{folder.name}/{stem}{part}.safetensors"
        _write_shard(source, names, folder / f"{stem}{part}.safetensors", meter)
        weight_map |= dict.fromkeys(names, f"{stem}{part}.safetensors")
    if len(shards) > 1:
        index = {"metadata": {"total_size": source.total_bytes}, "weight_map": weight_map}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _shards(source: Source) -> list[list[str]]:
    """Sorted names, by file; a file has at most SHARD_BYTES, or a single larger tensor."""
    shards: list[list[str]] = [[]]
    room = SHARD_BYTES
    for name in sorted(source.names):
        size = source.size(name)
        if size > room and shards[-1]:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(name)
        room -= size
    return shards


def _write_shard(source: Source, names: list[str], target: Path, meter: Meter) -> None:
    """A safetensors file whose tensors are aligned when it is mapped."""
    infos = {name: source.info(name) for name in names}
    header, order = aligned_layout(infos, {"format": "pt"})
    with target.open("wb") as out:
        out.write(header)
        for name in order:
            for chunk in source.read(name):
                out.write(chunk)
                meter.add(len(chunk))
        out.flush()
        os.fsync(out.fileno())
