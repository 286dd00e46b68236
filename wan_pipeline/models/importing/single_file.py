"""Makes a model in diffusers layout of components in safetensors files and the other components of another model.

Bytes are copied from file to file, under other names; weights in 8 bits become BF16 on the way. No torch, and never
more than a few megabytes in memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wan_pipeline.errors import ModelError
from wan_pipeline.models.configs import INDEX, components
from wan_pipeline.models.importing.source import Source
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.transfer import Meter, TransferObserver, check_free_space
from wan_pipeline.models.weights import aligned_layout
from wan_pipeline.storage.files import check_writable, storage_error

SHARD_BYTES = 5 * 10**9
STEM = "diffusion_pytorch_model"


def convert(sources: dict[str, Source], base: InstalledModel, target: Path, observer: TransferObserver) -> None:
    """Write the model folder `target`: the sources, by component, and the other components of `base`.

    It appears complete or not at all. Raises ModelError, StorageError, Cancelled.
    """
    check_writable(target.parent)
    rest = [path for path in _files(base) if path.relative_to(base.folder).parts[0] not in sources]
    configs = [base.folder / name / "config.json" for name in sources]
    copies = [path for path in (*rest, *configs) if not _can_link(path, target.parent)]
    copied = sum(path.stat().st_size for path in copies)
    needed = sum(source.total_bytes for source in sources.values())
    with _temporary_folder(target, needed + copied) as folder:
        try:
            for path in (*rest, *configs):
                _copy(path, folder / path.relative_to(base.folder), link=path not in copies)
            meter = Meter(observer, needed)
            for component, source in sources.items():
                _write_shards(source, folder / component, _stem(base, component), meter)
            folder.rename(target)
        except OSError as error:
            raise storage_error(target.parent, error) from error


@contextmanager
def _temporary_folder(target: Path, needed_bytes: int) -> Iterator[Path]:
    """A folder beside `target` that is deleted afterwards, unless it was renamed.

    Raises ModelError if the disk is too full, or another process is making the same model.
    """
    folder, lock = (target.with_name(f".importing-{target.name}{ending}") for ending in ("", ".lock"))
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)  # of an import that was killed
            check_free_space(target.parent, needed_bytes, target.name, "set --models-folder to one on another disk")
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


def _can_link(path: Path, folder: Path) -> bool:
    """A hard link keeps a large file on the disk once, and alive when the other model is removed."""
    return path.suffix == ".safetensors" and path.stat().st_dev == folder.stat().st_dev


def _copy(path: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(exist_ok=True)
    if link:
        try:
            os.link(path.resolve(), target)
            return
        except OSError:
            pass  # the file system has no links; copying fails if it has no room either
    shutil.copyfile(path, target)


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
