"""Data from outside, parsed at the border: JSON that somebody else may have written, checked once and for all.

JSON text becomes plain values by `parse_json` (size, depth, finite numbers, well-formed text), and plain values become
typed ones by `parse`, through pydantic. Whatever is wrong is an OutsideDataError; past this border nothing raises for
a bad value.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

MAX_BYTES = 2**20
"""Of one document. A receipt that lists a hundred weight files has 20 KB."""
MAX_DEPTH = 32
"""Of nested lists and tables. A receipt has three levels."""

T = TypeVar("T")


class OutsideDataError(ValueError):
    """Outside data that cannot be used; the text says why, as the end of a sentence."""


def parse_json(text: str | bytes, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a JSON document of at most `max_bytes` bytes. Raises OutsideDataError.

    Unlike `json.loads` it refuses NaN and infinity, also as 1e400, half a surrogate pair, and deep nesting.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise OutsideDataError(f"it has {size:,} bytes, more than the {max_bytes:,} allowed")
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise OutsideDataError("it is nested too deeply") from None
    except OutsideDataError:
        raise
    except ValueError as error:  # UnicodeDecodeError too
        raise OutsideDataError(f"it is not JSON ({str(error)[:200]})") from error
    _check_value(value, MAX_DEPTH)
    return value


def parse(kind: type[T], value: object) -> T:
    """`value` as a `kind`: a dataclass, a pydantic model or any annotation. Raises OutsideDataError naming the key.

    Values are taken as they are and not converted: no number out of a text, no truth out of a number. Enum members are
    given by their value, tuples as lists, dataclasses as tables. A class refuses unknown keys by its own
    `__pydantic_config__ = ConfigDict(extra="forbid")`, and sets ranges with `Annotated[..., pydantic.Field(...)]`.
    """
    adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]  # classes are hashable
    try:
        return adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        raise OutsideDataError(_first_problem(error)) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise OutsideDataError(f"it is no JSON value ({str(error)[:200]})") from error


def read_json_file(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a JSON file. Raises OutsideDataError, and OSError if the file cannot be read."""
    with path.open("rb") as file:
        return parse_json(file.read(max_bytes + 1), max_bytes)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise OutsideDataError(f"it holds the number {text[:40]}, which is not finite")
    return value


def _check_value(value: object, depth: int) -> None:
    match value:
        case str():
            _check_text(value)
        case dict() | list() if depth == 0:
            raise OutsideDataError("it is nested too deeply")
        case dict():
            for key, item in value.items():
                _check_text(key)
                _check_value(item, depth - 1)
        case list():
            for item in value:
                _check_value(item, depth - 1)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise OutsideDataError("it holds half a surrogate pair, which is no text") from None


def _first_problem(error: ValidationError) -> str:
    """For example: seed = -1: Input should be greater than or equal to 0."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    given = first["input"]
    shown = "" if isinstance(given, dict | list) else f" = {given!r:.60}"
    return f"'{where}'{shown}: {first['msg']}" if where else str(first["msg"])
