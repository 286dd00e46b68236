"""A transformer in one safetensors file becomes a model in diffusers layout, with the other parts of a named model.

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
from wan_pipeline.models.cache import INDEX
from wan_pipeline.models.download import READ_BYTES, Meter, TransferObserver
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.weights import DamagedFileError, Header, TensorInfo, aligned_layout, read_header
from wan_pipeline.storage.files import RESERVE_BYTES, check_writable, storage_error

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
FLOATS = frozenset({"F16", "BF16", "F32"})
SHARD_BYTES = 5 * 10**9
STEM = "diffusion_pytorch_model"


@dataclass(frozen=True)
class Source:
    """A file, and what its tensors are called in diffusers."""

    path: Path
    header: Header
    names: dict[str, str]
    """Diffusers' name -> the file's."""

    @property
    def bytes(self) -> int:
        return sum(end - start for start, end in self.header.spans.values())

    def size(self, name: str) -> int:
        start, end = self.header.spans[self.names[name]]
        return end - start


def read_source(path: Path, base: InstalledModel, component: str = "transformer") -> Source:
    """What is in the file, if it is all that this transformer of `base` is made of. Raises ModelError."""
    try:
        header = read_header(path)
    except (DamagedFileError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}; download it again.") from error
    source = Source(path, header, _names(path, header))
    _check_kinds(source)
    _check_all_there(source, base, base.tensors(component))
    return source


def convert(sources: dict[str, Source], base: InstalledModel, target: Path, observer: TransferObserver) -> None:
    """Make the folder `target` of the sources, by component, and of all other parts of `base`.

    It appears whole or not at all. Raises ModelError, StorageError, Cancelled.
    """
    check_writable(target.parent)
    rest = [path for path in _files(base.folder) if path.relative_to(base.folder).parts[0] not in sources]
    configs = [base.folder / name / "config.json" for name in sources]
    copies = [path for path in (*rest, *configs) if not _can_link(path, target.parent)]
    copied = sum(path.stat().st_size for path in copies)
    needed = sum(source.bytes for source in sources.values())
    with _half_made(target, needed + copied) as folder:
        try:
            for path in (*rest, *configs):
                _take(path, folder / path.relative_to(base.folder), link=path not in copies)
            meter = Meter(observer, needed)
            for component, source in sources.items():
                _write_shards(source, folder / component, meter)
            folder.rename(target)
        except OSError as error:
            raise storage_error(target.parent, error) from error


def _names(path: Path, header: Header) -> dict[str, str]:
    """Diffusers' names, by its own conversion where the file has the authors'."""
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers  # here: it brings in torch

    bare = {_bare(name): name for name in header.tensors}
    if any(".attn1." in name for name in bare):
        return bare
    if any("motion_encoder." in name or "face_adapter." in name for name in bare):
        raise ModelError(f"{path.name} is a Wan Animate transformer, which cannot be used yet; choose another file.")
    renamed: dict[str, str] = convert_wan_transformer_to_diffusers(dict(bare))  # it moves values and looks at none
    return {
        name.replace("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"): old
        for name, old in renamed.items()
    }


def _bare(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _check_kinds(source: Source) -> None:
    scaled = any("scale_weight" in name or "weight_scale" in name or "scaled_fp8" in name for name in source.names)
    kinds = {info.dtype for info in source.header.tensors.values()} - FLOATS
    if scaled or kinds:
        raise ModelError(
            f"{source.path.name} was quantized for another program ({', '.join(sorted(kinds)) or 'scaled weights'}); "
            "choose the BF16 or FP16 file, and the studio quantizes it itself."
        )


def _check_all_there(source: Source, base: InstalledModel, wanted: dict[str, TensorInfo]) -> None:
    file, title = source.path.name, base.spec.title
    missing, foreign = sorted(wanted.keys() - source.names.keys()), sorted(source.names.keys() - wanted.keys())
    if len(missing) == len(wanted):
        raise ModelError(f"{file} is no Wan transformer: none of its {len(source.names):,} tensors is one of {title}.")
    if missing:
        raise ModelError(
            f"{file} lacks {len(missing)} tensors of {title}, as {missing[0]}; "
            "name the model that it was made from with --config."
        )
    if foreign:
        raise ModelError(
            f"{file} has {len(foreign)} tensors that {title} has not, as {source.names[foreign[0]][:80]}; "
            "name the model that it was made from with --config."
        )
    for name, info in wanted.items():
        shape = source.header.tensors[source.names[name]].shape
        if shape != info.shape:
            raise ModelError(
                f"{file} was made for a model of another size: {name} is {shape} in it and {info.shape} in {title}; "
                "name the model that it was made from with --config."
            )


@contextmanager
def _half_made(target: Path, needed: int) -> Iterator[Path]:
    """A folder beside `target` that is gone afterwards, unless it got the target's name."""
    folder, lock = (target.with_name(f".importing-{target.name}{ending}") for ending in ("", ".lock"))
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)  # of an import that was killed
            free = shutil.disk_usage(target.parent).free
            if free < needed + RESERVE_BYTES:
                raise ModelError(
                    f"{target.name} needs {needed / 1e9:,.1f} GB and the disk of {target.parent} has {free / 1e9:,.1f} "
                    "GB free; free some space, or put --models-folder on another disk."
                )
            try:
                folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
    except Timeout:
        raise ModelError(f"{target.name} is being imported by another program; wait for it to end.") from None


def _files(folder: Path) -> list[Path]:
    """Of the model index and of the components that it names."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    components = [name for name, entry in index.items() if isinstance(entry, list) and entry[0] is not None]
    return [folder / INDEX, *(path for name in components for path in sorted((folder / name).glob("*")))]


def _can_link(path: Path, beside: Path) -> bool:
    """Large files lie on the disk once, and stay if the other model is removed."""
    return path.suffix == ".safetensors" and path.stat().st_dev == beside.stat().st_dev


def _take(path: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(exist_ok=True)
    if link:
        try:
            os.link(path.resolve(), target)
            return
        except OSError:
            pass  # a file system without links: then it is copied, and if there is no room for that, it is said
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
    """Names by file, in the order of the model, none larger than SHARD_BYTES but for a single tensor's sake."""
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
    infos = {name: source.header.tensors[source.names[name]] for name in names}
    header, order = aligned_layout(infos, {"format": "pt"})
    with source.path.open("rb") as content, target.open("wb") as out:
        out.write(header)
        for name in order:
            start, stop = source.header.spans[source.names[name]]
            content.seek(start)
            while start < stop:
                chunk = content.read(min(READ_BYTES, stop - start))
                if not chunk:
                    raise ModelError(f"{source.path} became shorter while it was read; download it again.")
                start += len(chunk)
                out.write(chunk)
                meter.add(len(chunk))
        out.flush()
        os.fsync(out.fileno())
