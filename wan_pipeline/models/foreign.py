"""Files and folders that are mistaken for weights: recognised by their first bytes, never opened further.

Nothing is unpickled: a pickle is a program.
"""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.errors import ModelError
from wan_pipeline.models.reading.configs import DamagedModelError, read_config

HEAD_BYTES = 512
"""Bytes at the beginning of a file that identify its format."""
PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
ARCHIVES = (b"PK\x03\x04", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"\xfd7zXZ")

GGUF_FILE = "it is a GGUF file, packed for other programs; choose the .safetensors file of the same model"
PYTORCH_FILE = (
    "it is a PyTorch file (.pth), a program that is not run here; choose the .safetensors file of the same model"
)
ARCHIVE = "it is an archive; unpack it first"
LFS_POINTER = "it is a Git LFS pointer, not the file itself; run `git lfs pull` beside it, or download the file itself"
WEB_PAGE = (
    "it is a web page, saved in the place of the file; download the file itself, logged in where the site asks for it"
)
TEXT = "it is a text, such as a server's error message; download the file itself"

AUTHORS_FILES = ("Wan2.1_VAE.pth", "Wan2.2_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth", "high_noise_model")
"""What the Wan authors' own repositories hold; one of them is enough."""
AUTHORS_CLASSES = ("WanModel", "VaceWanModel")
"""The transformer's class in the configuration beside its shards."""


def what_it_is(head: bytes) -> str:
    """What a file that begins with `head` is, and the way out, as the end of a sentence; empty if it is unknown."""
    if head.startswith(b"GGUF"):
        return GGUF_FILE
    if head.startswith(PICKLE) or (head.startswith(b"PK\x03\x04") and b"data.pkl" in head):
        return PYTORCH_FILE
    if head.startswith(ARCHIVES):
        return ARCHIVE
    if head.startswith(b"version https://git-lfs"):
        return LFS_POINTER
    return _text(head)


def check_not_authors(folder: Path) -> None:
    """Raise ModelError for a folder in the layout of the Wan authors' own repositories."""
    if _is_authors(folder):
        raise ModelError(
            f"{folder.name} has the layout of the Wan authors' own repositories: name the installed model in diffusers "
            "layout that it was made from with --config ID; `models list` names them."
        )


def _is_authors(folder: Path) -> bool:
    if any((folder / name).exists() for name in AUTHORS_FILES):
        return True
    try:
        config = read_config(folder / "config.json")
    except DamagedModelError:
        return False
    return config.get("_class_name") in AUTHORS_CLASSES


def _text(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<")):
        return WEB_PAGE
    printable = bool(head) and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
    return TEXT if printable else ""
