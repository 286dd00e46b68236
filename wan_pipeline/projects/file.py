"""`project.toml`, read and written. Faults name file, line and key; what people wrote around the values stays."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import Table

from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.project import OWN_KEYS, SETUP_KEYS, Project
from wan_pipeline.requests.layers import PROFILES
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import Keys, OutsideDataError, parse, printable, read_toml_file

FILE = "project.toml"
TABLES = (*PROFILES, "characters")
LORA_DEPTH = len(("characters", "anna", "lora"))


def read_project(path: Path) -> Project:
    """The project of a file, whose folder's name is its id. Raises ProjectError with file, line and key."""
    shown = f"{printable(path.parent.name)}/{FILE}"
    try:
        return parse_project(path.parent.name, read_toml_file(path))
    except OutsideDataError as error:
        where = f", line {line}" if (line := line_of(path, error.path)) else ""
        raise ProjectError(f"Project file {shown}{where}: {printable(str(error))}.") from error
    except OSError as error:
        raise ProjectError(f"Project file {shown} cannot be read ({error.strerror}).") from error


def parse_project(project_id: str, table: Mapping[str, Any]) -> Project:
    """The project of a file's values. Raises OutsideDataError, whose path is that of the key in the file."""
    unknown = next((key for key in table if key not in (*OWN_KEYS, *SETUP_KEYS)), None)
    if unknown is not None:
        known = ", ".join(sorted((*OWN_KEYS, *SETUP_KEYS)))
        raise OutsideDataError(f"'{unknown[:80]}' is not a known key; known keys: {known}", (unknown,))
    own = {key: value for key, value in table.items() if key in OWN_KEYS}
    setup = {key: value for key, value in table.items() if key in SETUP_KEYS}
    try:
        return parse(Project, {"id": project_id, "title": project_id, **own, "setup": setup})
    except OutsideDataError as error:
        raise OutsideDataError(str(error).replace("'setup.", "'"), _in_file(error.path)) from error


def checked(project: Project) -> Project:
    """The project, if its file could hold it. Raises ProjectError with the key."""
    try:
        return parse_project(project.id, project_values(project))
    except OutsideDataError as error:
        raise ProjectError(f"The project '{project.title[:80]}' is not valid: {error}.") from error


def project_values(project: Project) -> dict[str, Any]:
    """The inverse of `parse_project`: what differs from an empty project, in the order of the file."""
    plain = asdict(project)
    own = {key: plain[key] for key in OWN_KEYS if key not in TABLES and (key == "title" or plain[key])}
    if project.setup.loras is not None:
        plain["setup"]["loras"] = [lora.to_dict() for lora in project.setup.loras]
    if project.setup.guidance_interval is not None:
        plain["setup"]["guidance_interval"] = list(project.setup.guidance_interval)
    tables = {key: given for key in PROFILES if (given := given_values(plain[key]))}
    if project.characters:
        tables["characters"] = {name: each.to_dict() for name, each in project.characters.items()}
    return own | given_values(plain["setup"]) | tables


def write_project(project: Project, path: Path) -> None:
    """Write the file, or change what differs in the one that is there: comments stay. Raises StorageError."""
    document = _document(path)
    _update(document, project_values(project))
    with whole_file(path) as part:
        part.write_text(tomlkit.dumps(document), encoding="utf-8", newline="\n")


def line_of(path: Path, keys: Keys) -> int:
    """The line of a key in a TOML file, from 1; 0 if it is unknown.

    The first line by which the key is there: the beginning of a file is TOML wherever a value ends.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError):
        return 0
    before = 0
    for end in range(1, len(lines) + 1):
        try:
            table = tomllib.loads("".join(lines[:end]))
        except (ValueError, RecursionError):
            continue
        if keys and _holds(table, keys):
            return next(number for number in range(before + 1, end + 1) if _is_written(lines[number - 1]))
        before = end
    return 0


def _holds(table: Any, keys: Keys) -> bool:
    """Whether the path leads to a value. A key that is missing stands where its table is."""
    for key in keys:
        try:
            table = table[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _is_written(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _in_file(path: Keys) -> Keys:
    return path[1:] if path[:1] == ("setup",) else path


def given_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a setup or a profile that differ from its defaults: None, and False of the one switch.

    An empty text or list is a value, and so is 0.
    """
    return {name: value for name, value in values.items() if value is not None and value is not False}


def _update(table: TOMLDocument | Table, wanted: Mapping[str, Any], at: Keys = ()) -> None:
    """Change what differs, in the tables within it too. `at` is where the table stands in the file."""
    for key in [key for key in table if key not in wanted]:
        del table[key]
    now = table.unwrap()
    for key, value in wanted.items():
        inner = table.get(key)
        if isinstance(value, dict) and isinstance(inner, Table):
            _update(inner, value, (*at, key))
        elif now.get(key) != value:
            table[key] = _item((*at, key), value)


def _document(path: Path) -> TOMLDocument:
    """Empty for a file that is not there, or that is no TOML."""
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # tomlkit's errors are ValueErrors
        return tomlkit.document()


def _item(at: Keys, value: Any) -> Any:
    """A value as it is written at a place of the file. A LoRA, of a setup or of a character, takes no table of its own.

    The place decides, not the last key: characters may be named `lora` and `loras`.
    """
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        loras = tomlkit.array()
        for lora in value:
            loras.append(_inline(lora))
        return loras
    if isinstance(value, dict):
        if len(at) == LORA_DEPTH:
            return _inline(value)
        table = tomlkit.table()
        for name, each in value.items():
            table[name] = _item((*at, name), each)
        return table
    if isinstance(value, str) and "\n" in value:
        return tomlkit.string(value, multiline=True)
    return tomlkit.item(value)


def _inline(value: Mapping[str, Any]) -> Any:
    inline = tomlkit.inline_table()
    inline.update(value)
    return inline
