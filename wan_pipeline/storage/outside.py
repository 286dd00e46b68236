"""Data from outside: JSON and TOML that anybody may have written, checked once, where it comes in.

`parse_json`, `read_json_file` and `read_toml_file` give plain values: bounded in size and depth, with finite numbers
and well-formed text. `parse` turns plain values into typed ones, by pydantic. Every fault is an OutsideDataError.
"""

from __future__ import annotations

import json
import math
import stat
import tomllib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError

MAX_BYTES = 2**20
"""Size of one document. A receipt that lists a hundred weight files has 20 KB."""
MAX_DEPTH = 32
"""Levels of nested lists and tables. A receipt has four."""
FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(2999, 12, 31, tzinfo=UTC)
"""Between these two, `datetime.astimezone` works on every system; Windows has the narrowest range."""

T = TypeVar("T")
Keys = tuple[str | int, ...]


class OutsideDataError(ValueError):
    """Data from outside that cannot be used. `path` leads to the value at fault, such as ("loras", 0, "name")."""

    def __init__(self, reason: str, path: Keys = ()) -> None:
        """`reason` completes a sentence: "The file cannot be read: <reason>."."""
        super().__init__(reason)
        self.path = path


def parse_json(text: str | bytes, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Parse a JSON document of at most `max_bytes` bytes and `max_depth` levels. Raises OutsideDataError.

    Unlike `json.loads` it refuses NaN, infinity (also written 1e400), lone surrogates and deep nesting.
    """
    _check_size(len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass")), max_bytes)
    try:
        value = json.loads(text)
    except RecursionError:
        raise OutsideDataError("it is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError too
        raise OutsideDataError(f"it is not JSON ({str(error)[:200]})") from error
    _check_value(value, (), max_depth)
    return value


def read_json_file(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Parse a JSON file. Raises OutsideDataError, and OSError if the file cannot be read."""
    return parse_json(_read(path, max_bytes), max_bytes)


def read_toml_file(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Parse a TOML file, with the limits of `parse_json`. Raises OutsideDataError, and OSError likewise."""
    try:
        table = tomllib.loads(_read(path, max_bytes).decode("utf-8"))
    except RecursionError:
        raise OutsideDataError("it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        if isinstance(error, OutsideDataError):
            raise
        raise OutsideDataError(f"it is not TOML ({str(error)[:200]})") from error
    _check_value(table, (), MAX_DEPTH)
    return table


def parse(kind: type[T], value: object) -> T:
    """Turn a plain value into a `kind`: a dataclass, a pydantic model or any annotation. Raises OutsideDataError.

    Nothing is converted: "3" is not a number and 1 is not true. Enum members are given by their value, tuples as lists,
    dataclasses as tables. A class refuses unknown keys by `__pydantic_config__ = ConfigDict(extra="forbid")`, and sets
    ranges by `Annotated[..., pydantic.Field(...)]`.
    """
    adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]  # classes are hashable
    try:
        return adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        raise _first_error(error) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise OutsideDataError(f"it is no JSON value ({str(error)[:200]})") from error


def read_time(text: object) -> datetime:
    """Parse an ISO 8601 time, taken as UTC if it names no zone. Raises OutsideDataError, also when out of range."""
    if not isinstance(text, str):
        raise OutsideDataError("it is not text")
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise OutsideDataError(f"it is not an ISO 8601 time ({str(error)[:80]})") from error
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    if not FIRST_TIME <= aware <= LAST_TIME:
        raise OutsideDataError(f"its year is not within {FIRST_TIME.year} to {LAST_TIME.year}")
    return aware


Time = Annotated[datetime, BeforeValidator(read_time)]
"""An aware time that can be converted to local time, for the fields of parsed classes."""


# Values of a database that an older version, which checked less, may have written


def stored_json(kind: type[T], text: str, default: T) -> T:
    """Parse stored JSON as a `kind`, or return `default` if it is invalid."""
    try:
        return parse(kind, parse_json(text))
    except OutsideDataError:
        return default


def stored_time(text: str) -> datetime:
    """Parse a stored time, or return FIRST_TIME if it is invalid."""
    try:
        return read_time(text)
    except OutsideDataError:
        return FIRST_TIME


def printable(text: str) -> str:
    """Replace lone surrogates by "?": they stand for the bytes of file names that are not UTF-8."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _read(path: Path, max_bytes: int) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
        raise OutsideDataError("it is not a regular file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    _check_size(len(content), max_bytes)
    return content


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise OutsideDataError(f"it is larger than {max_bytes / 2**20:g} MB")


def _check_value(value: object, path: Keys, depth: int) -> None:
    match value:
        case None | bool() | int():
            pass
        case float():
            if not math.isfinite(value):
                raise OutsideDataError(f"{_name(path)}is {value}, which is not a finite number", path)
        case str():
            _check_text(value, path)
        case dict() | list() if depth == 0:
            raise OutsideDataError("it is nested too deeply", path)
        case dict():
            for key, item in value.items():
                _check_text(key, path)
                _check_value(item, (*path, key), depth - 1)
        case list():
            for number, item in enumerate(value):
                _check_value(item, (*path, number), depth - 1)
        case _:
            raise OutsideDataError(f"{_name(path)}is a {type(value).__name__}; write it as text", path)


def _check_text(text: str, path: Keys) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise OutsideDataError(f"{_name(path)}holds a lone surrogate, which is not text", path) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _first_error(error: ValidationError) -> OutsideDataError:
    """The first fault as one phrase, for example: 'seed' = -1: Input should be greater than or equal to 0."""
    first = error.errors(include_url=False, include_context=False)[0]
    path, value = first["loc"], first["input"]
    shown = "" if isinstance(value, dict | list) or not path else f" = {value!r:.60}"
    match first["type"]:
        case "json_invalid":  # the only way in which `json.dumps` writes invalid JSON
            return OutsideDataError("it holds a lone surrogate, which is not text")
        case "missing" | "missing_argument":
            return OutsideDataError(f"{_name(path)}is missing", path)
        case "extra_forbidden" | "unexpected_keyword_argument":
            return OutsideDataError(f"{_name(path)}is not a known key", path)
        case _:
            reason = first["msg"].removeprefix("Value error, ")
            return OutsideDataError(f"{_name(path).rstrip()}{shown}: {reason}" if path else reason, path)


def _name(path: Keys) -> str:
    """The key in quotes and a space, such as 'loras.0.name' ; "it " for the whole."""
    return f"'{'.'.join(map(str, path))[:80]}' " if path else "it "
