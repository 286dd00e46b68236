"""Makes a model in diffusers layout of a transformer in one safetensors file and the other components of another model.

Only names change, so bytes are copied from file to file: no torch, and never more than a few megabytes in memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from wan_pipeline.errors import ModelError
from wan_pipeline.models.configs import INDEX, components
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.transfer import READ_BYTES, Meter, TransferObserver, check_free_space
from wan_pipeline.models.weights import DamagedFileError, Header, TensorInfo, aligned_layout, read_header
from wan_pipeline.storage.files import check_writable, storage_error

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
FLOATS = frozenset({"F16", "BF16", "F32"})
SHARD_BYTES = 5 * 10**9
STEM = "diffusion_pytorch_model"


@dataclass(frozen=True)
class Source:
    """A file with the weights of one transformer."""

    path: Path
    header: Header
    names: dict[str, str]
    """The file's name of each tensor, by diffusers' name."""

    @property
    def bytes(self) -> int:
        return sum(self.size(name) for name in self.names)

    def info(self, name: str) -> TensorInfo:
        return self.header.tensors[self.names[name]]

    def size(self, name: str) -> int:
        """Bytes of a tensor."""
        start, end = self.header.spans[self.names[name]]
        return end - start


def read_source(path: Path, base: InstalledModel, component: str = "transformer") -> Source:
    """The file, if it holds the same tensors as the transformer `component` of `base`. Raises ModelError."""
    base.config(component)  # it is copied later, so it has to be there
    try:
        header = read_header(path)
    except (DamagedFileError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}; download it again.") from error
    source = Source(path, header, _names(path, header))
    _check_not_quantized(source)
    _check_same_tensors(source, base, base.tensors(component))
    return source


def convert(sources: dict[str, Source], base: InstalledModel, target: Path, observer: TransferObserver) -> None:
    """Write the model folder `target`: the sources, by component, and the other components of `base`.

    It appears complete or not at all. Raises ModelError, StorageError, Cancelled.
    """
    check_writable(target.parent)
    rest = [path for path in _files(base) if path.relative_to(base.folder).parts[0] not in sources]
    configs = [base.folder / name / "config.json" for name in sources]
    copies = [path for path in (*rest, *configs) if not _can_link(path, target.parent)]
    copied = sum(path.stat().st_size for path in copies)
    needed = sum(source.bytes for source in sources.values())
    with _temporary_folder(target, needed + copied) as folder:
        try:
            for path in (*rest, *configs):
                _copy(path, folder / path.relative_to(base.folder), link=path not in copies)
            meter = Meter(observer, needed)
            for component, source in sources.items():
                _write_shards(source, folder / component, meter)
            folder.rename(target)
        except OSError as error:
            raise storage_error(target.parent, error) from error


def _names(path: Path, header: Header) -> dict[str, str]:
    """The file's name of each tensor, by diffusers' name. Diffusers itself converts the names of the Wan authors.

    Raises ModelError.
    """
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers  # here: it imports torch

    bare = {_bare(name): name for name in header.tensors}
    if any(".attn1." in name for name in bare):
        return bare
    if any("motion_encoder" in name or "face_adapter" in name for name in bare):
        raise ModelError(f"{path.name} is a Wan Animate transformer, which cannot be used yet; choose another file.")
    renamed: dict[str, str] = convert_wan_transformer_to_diffusers(dict(bare))  # it only moves values
    return {
        name.replace("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"): old
        for name, old in renamed.items()
    }


def _bare(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _check_not_quantized(source: Source) -> None:
    scaled = any("scale_weight" in name or "weight_scale" in name or "scaled_fp8" in name for name in source.names)
    kinds = {info.dtype for info in source.header.tensors.values()} - FLOATS
    if scaled or kinds:
        raise ModelError(
            f"{source.path.name} was quantized for another program ({', '.join(sorted(kinds)) or 'scaled weights'}); "
            "choose the BF16 or FP16 file, and the studio quantizes it itself."
        )


def _check_same_tensors(source: Source, base: InstalledModel, wanted: dict[str, TensorInfo]) -> None:
    file, title = source.path.name, base.spec.title
    missing, foreign = sorted(wanted.keys() - source.names.keys()), sorted(source.names.keys() - wanted.keys())
    if len(missing) == len(wanted):
        raise ModelError(
            f"{file} is not a Wan transformer: none of its {len(source.names):,} tensors match {title}; "
            "choose another file."
        )
    if missing:
        raise ModelError(
            f"{file} lacks {len(missing)} tensors of {title}, such as {missing[0]}; "
            "name the model that it was made from with --config."
        )
    if foreign:
        raise ModelError(
            f"{file} has {len(foreign)} tensors that {title} does not have, such as {source.names[foreign[0]][:80]}; "
            "name the model that it was made from with --config."
        )
    for name, info in wanted.items():
        shape = source.info(name).shape
        if shape != info.shape:
            raise ModelError(
                f"{file} was made for a model of another size: {name} is {shape} in it and {info.shape} in {title}; "
                "name the model that it was made from with --config."
            )


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
            pass  # the file system has no links; a copy tells if it has no room either
    shutil.copyfile(path, target)


def _write_shards(source: Source, folder: Path, meter: Meter) -> None:
    shards = _shards(source)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        part = "" if len(shards) == 1 else f"-{number:05}-of-{len(shards):05}"
        meter.file = f"{folder.name}/{STEM}{part}.safetensors"
        _write_shard(source, names, folder / f"{STEM}{part}.safetensors", meter)
        weight_map |= dict.fromkeys(names, f"{STEM}{part}.safetensors")
    if len(shards) > 1:
        index = {"metadata": {"total_size": source.bytes}, "weight_map": weight_map}
        (folder / f"{STEM}.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


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
    with source.path.open("rb") as content, target.open("wb") as out:
        out.write(header)
        for name in order:
            start, end = source.header.spans[source.names[name]]
            content.seek(start)
            while start < end:
                chunk = content.read(min(READ_BYTES, end - start))
                if not chunk:
                    raise ModelError(f"{source.path} became shorter while it was read; download it again.")
                start += len(chunk)
                out.write(chunk)
                meter.add(len(chunk))
        out.flush()
        os.fsync(out.fileno())
