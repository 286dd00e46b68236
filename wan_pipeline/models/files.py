"""The files of a model's folder: whether they are whole, what they are known by, how large they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from wan_pipeline.models.reading.configs import (
    CONFIG_SUFFIXES,
    INDEX,
    DamagedModelError,
    ShardIndex,
    components,
    read_config,
)
from wan_pipeline.models.weights import DamagedFileError, Header, read_header
from wan_pipeline.storage.outside import OutsideDataError, parse

SAMPLED_BYTES = 64 * 1024
"""Of each end of a file of weights: so much goes into a fingerprint."""


def revision_of(folder: Path) -> str | None:
    """The commit, if the folder is a snapshot in the Hugging Face cache."""
    is_snapshot = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.name if is_snapshot else None


def has_index(folder: Path) -> bool:
    """Whether a folder has a model index that can be seen: `is_file` raises for a name that is too long, and others."""
    try:
        return (folder / INDEX).is_file()
    except OSError:
        return False


def folder_bytes(folder: Path) -> int:
    """The size of the files in a folder; a link counts as what it leads to."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # just deleted, or not readable
            total += path.stat().st_size if path.is_file() else 0
    return total


def fingerprint(folder: Path) -> str:
    """SHA-256 over configurations, and over names, sizes and both ends of weight files: cheap for a model of any size.

    Raises DamagedModelError.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
                digest.update(_sample(path))
    except OSError as error:
        raise DamagedModelError(f"{folder} cannot be read ({error})") from error
    return digest.hexdigest()


def check_files(folder: Path, title: str) -> None:
    """Raise DamagedModelError for the first component that is missing, cut short or not what its header says."""
    try:
        for component in components(read_config(folder / INDEX)):
            if not (folder / component).is_dir():
                raise _damaged(title, folder / component, "it is missing")
            if (folder / component / "config.json").is_file():  # tokenizers, schedulers and processors hold no weights
                _check_weights(folder / component, title)
    except OSError as error:
        raise _damaged(title, folder, str(error)) from error


def _check_weights(folder: Path, title: str) -> None:
    paths = list(weight_files(folder))
    for path in paths:
        read_weights_header(path, title)
    if not paths:
        raise _damaged(title, folder, "it holds no .safetensors weights")


def read_weights_header(path: Path, title: str) -> Header:
    """The header of a file of a model's weights. Raises DamagedModelError."""
    try:
        return read_header(path)
    except FileNotFoundError:
        raise _damaged(title, path, "it is missing") from None
    except (DamagedFileError, OSError) as error:
        raise _damaged(title, path, str(error)) from error


def weight_files(folder: Path) -> Iterator[Path]:
    """The files of a component's weights, by its index of shards if it has one. Raises DamagedModelError."""
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if not indices:
        yield from sorted(folder.glob("*.safetensors"))
    for path in indices:
        try:
            shards = parse(ShardIndex, read_config(path))
        except OutsideDataError as error:
            raise DamagedModelError(f"{path} cannot be read ({error})") from error
        yield from (folder / name for name in sorted(set(shards.weight_map.values())))


def _damaged(title: str, path: Path, reason: str) -> DamagedModelError:
    return DamagedModelError(f"{title} cannot be used: {path}: {reason}")


def _sample(path: Path) -> bytes:
    if path.suffix in CONFIG_SUFFIXES and path.stat().st_size <= 2 * SAMPLED_BYTES:
        return path.read_bytes()
    with path.open("rb") as file:
        head = file.read(SAMPLED_BYTES)
        file.seek(max(path.stat().st_size - SAMPLED_BYTES, 0))
        return head + file.read(SAMPLED_BYTES)
