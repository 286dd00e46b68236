"""Writes the folder that is pushed to the Hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from space.hardware import PYTHON, Hardware

CHECKOUT = Path(__file__).resolve().parent.parent
COPIED = ("app.py", "wan_pipeline", "presets", "loras", "LICENSE")
LEFT_OUT = ("__pycache__", "*.pyc", "*.part", ".*", "*.safetensors")
"""Also a person's own LoRAs; the demo model's weights and its LoRAs are added again."""
DEMO = "wan_pipeline/demo/checkpoint"
DEMO_LORAS = "loras/demo-*.safetensors"
KEPT = (".git",)
"""Of a folder that is there already: it may be a clone of the Space."""
LARGE_BYTES = 10 * 2**20
"""The Hub takes files that are larger, and those that are no text, only by LFS or Xet."""
DESCRIPTION = "Text and images into video with Alibaba's Wan models"
BODY = """
# Wan Studio

Turns text and images into video with Alibaba's open Wan models. No other visitor sees what you make here, only the
Space's owner can, and it is deleted after a day. The owner logs in at `/login/huggingface`.

This folder was made by `make space` from the checkout of Wan Studio; change it there.
"""


def write(folder: Path, hardware: Hardware) -> None:
    """Write the whole folder again. Raises OSError."""
    _clear(folder)
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copy(source, folder / name)
    shutil.copytree(CHECKOUT / DEMO, folder / DEMO, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "*.part"))
    for lora in sorted(CHECKOUT.glob(DEMO_LORAS)):
        shutil.copy(lora, folder / "loras")
    (folder / "requirements.txt").write_text("\n".join(requirements(hardware)) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(hardware), encoding="utf-8")
    (folder / ".gitattributes").write_text(_attributes(folder), encoding="utf-8")


def requirements(hardware: Hardware) -> list[str]:
    """The checkout's pins, with the torch that this hardware has."""
    pins = pinned()
    torch = hardware.torch.format(pinned=pins["torch"])
    lines = [f"{name}=={torch if name == 'torch' else version}" for name, version in pins.items()]
    return [*hardware.options, *lines, *hardware.added]


def pinned() -> dict[str, str]:
    """The versions in requirements.txt, by package."""
    lines = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {requirement.name: str(requirement.specifier).removeprefix("==") for requirement in found}


def front_matter(readme: str) -> dict[str, Any]:
    """The YAML at the top of a README. Raises ValueError if there is none, or if it is no mapping."""
    parts = readme.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise ValueError("README.md does not begin with a block of YAML between two lines of ---.")
    try:
        found = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise ValueError(f"The YAML at the top of README.md cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("The YAML at the top of README.md is no mapping of names to values.")
    return found


def needs_lfs(path: Path) -> bool:
    """Whether the Hub takes the file only by LFS or Xet."""
    if path.stat().st_size > LARGE_BYTES:
        return True
    with path.open("rb") as file:
        return b"\0" in file.read(8192)


def files_of(folder: Path) -> list[Path]:
    """All files to be pushed, sorted."""
    inside = (path for path in folder.rglob("*") if path.relative_to(folder).parts[0] not in KEPT)
    return sorted(path for path in inside if path.is_file() or path.is_symlink())


def _readme(hardware: Hardware) -> str:
    matter = front_matter((CHECKOUT / "README.md").read_text(encoding="utf-8"))
    matter |= {
        "sdk": "gradio",
        "sdk_version": pinned()["gradio"],
        "python_version": PYTHON,
        "app_file": "app.py",
        "short_description": DESCRIPTION,
        "suggested_hardware": hardware.flavor,
        "hf_oauth": True,
        "hf_oauth_expiration_minutes": 480,
    }
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---\n{BODY}"


def _attributes(folder: Path) -> str:
    names = (path.relative_to(folder).as_posix() for path in files_of(folder) if needs_lfs(path))
    return "".join(f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in names)


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
