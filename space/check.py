"""What would keep a folder from running as a Space, or should not be published: one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from space.folder import CHECKOUT, files_of, front_matter, needs_lfs

REQUIRED = {"title": str, "emoji": str, "sdk": str, "sdk_version": str, "python_version": str, "app_file": str}
MAX_DESCRIPTION = 60
"""Characters; the Hub takes no more."""
MAX_TOTAL_BYTES = 10**9
"""Of a Space's repository."""
SECRETS = re.compile(
    rb"hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
HOMES = re.compile(rb"(?<![\w.])/(?:home|Users|root)/[\w.-]+/")
LFS = "filter=lfs"


def check(folder: Path) -> list[str]:
    """An empty list for a folder that may be pushed."""
    return [*_front_matter(folder), *_requirements(folder), *_files(folder)]


def _front_matter(folder: Path) -> Iterator[str]:
    try:
        matter = front_matter((folder / "README.md").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"README.md: {error}"
        return
    for name, kind in REQUIRED.items():
        if not isinstance(matter.get(name), kind):
            yield f"README.md: {name} is {matter.get(name)!r}, which is no text; a version stands in quotes."
    if matter.get("hf_oauth") is not True:
        yield "README.md: hf_oauth is not true, so the owner could not log in."
    if len(str(matter.get("short_description", ""))) > MAX_DESCRIPTION:
        yield f"README.md: short_description has more than {MAX_DESCRIPTION} characters."
    if not (folder / str(matter.get("app_file"))).is_file():
        yield f"README.md: there is no app_file {matter.get('app_file')}."
    if f"gradio=={matter.get('sdk_version')}" not in _lines(folder):
        yield f"README.md: sdk_version {matter.get('sdk_version')} is not the gradio of requirements.txt."


def _requirements(folder: Path) -> Iterator[str]:
    for line in _lines(folder):
        if line.startswith("--extra-index-url https://"):
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            yield f"requirements.txt: '{line}' cannot be read: {error}"
            continue
        if not str(requirement.specifier):
            yield f"requirements.txt: '{line}' names no version."


def _files(folder: Path) -> Iterator[str]:
    files = files_of(folder)
    total = sum(path.stat().st_size for path in files if path.is_file())
    if total > MAX_TOTAL_BYTES:
        yield f"The folder has {total / 1e6:,.0f} MB, more than the {MAX_TOTAL_BYTES / 1e6:,.0f} MB of a Space."
    by_lfs = _by_lfs(folder)
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            yield f"{name} is a link; the Hub needs the file itself."
            continue
        if needs_lfs(path) and name not in by_lfs:
            yield f"{name} is large or no text, and .gitattributes does not give it to LFS."
        yield from _content(path, name)


def _content(path: Path, name: str) -> Iterator[str]:
    content = path.read_bytes()
    if SECRETS.search(content):
        yield f"{name} seems to hold a key or token; take it out before you push."
    if b"\0" in content[:8192]:
        return  # what looks like a path there is chance
    if str(CHECKOUT).encode() in content or HOMES.search(content):
        yield f"{name} names a folder of this computer."


def _lines(folder: Path) -> list[str]:
    try:
        text = (folder / "requirements.txt").read_text(encoding="utf-8")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _by_lfs(folder: Path) -> set[str]:
    try:
        lines = (folder / ".gitattributes").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {words[0] for line in lines if (words := line.split()) and LFS in words}
