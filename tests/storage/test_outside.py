"""Data from outside: what is wrong is refused in one phrase that names the value, and nothing else is raised."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import ConfigDict, Field

from wan_pipeline.storage.outside import (
    FIRST_TIME,
    MAX_BYTES,
    MAX_DEPTH,
    OutsideDataError,
    Time,
    parse,
    parse_json,
    printable,
    read_json_file,
    read_time,
    read_toml_file,
    stored_json,
    stored_time,
)


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Layer:
    name: str
    weight: Annotated[float, Field(ge=0, le=4)] = 1.0


@dataclass(frozen=True)
class Document:
    width: Annotated[int, Field(ge=1, le=4096)]
    color: Color
    made_at: Time
    layers: tuple[Layer, ...] = ()
    note: Annotated[str, Field(max_length=5)] | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


GOOD: dict[str, Any] = {"width": 320, "color": "red", "made_at": "2026-11-20T10:00:00+00:00"}


@pytest.mark.parametrize(
    ("text", "says", "path"),
    [
        ("", "is not JSON", ()),
        ("{", "is not JSON", ()),
        (b"\xff\xfe\xff", "is not JSON", ()),
        ('{"a": NaN}', "'a' is nan, which is not a finite number", ("a",)),
        ('{"a": [1, -Infinity]}', "'a.1' is -inf, which is not a finite number", ("a", 1)),
        ('{"a": {"b": 1e400}}', "'a.b' is inf, which is not a finite number", ("a", "b")),
        ("9" * 5000, "is not JSON", ()),
        ('{"a": "\\ud800 b"}', "'a' holds a lone surrogate, which is not text", ("a",)),
        ('{"\\ud800": 1}', "it holds a lone surrogate", ()),
        ('"\\udfff"', "it holds a lone surrogate", ()),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested too deeply", (0,) * MAX_DEPTH),
        ("[" * 100_000, "nested too deeply", ()),
        ('{"a":' * 100_000, "nested too deeply", ()),
        ('"' + "x" * MAX_BYTES + '"', "larger than 1 MB", ()),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_json_is_refused(text: str | bytes, says: str, path: tuple[str | int, ...], tmp_path: Path) -> None:
    with pytest.raises(OutsideDataError) as caught:
        parse_json(text)
    assert says in str(caught.value)
    assert caught.value.path == path
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OutsideDataError) as caught:
        read_json_file(tmp_path / "a.json")
    assert says in str(caught.value)


def test_good_json_is_read() -> None:
    nested = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for value in (None, True, 3, 1.5, "红 \U0001f388 \x00", [1, "a"], {"a": {"b": []}}, 10**30, nested):
        assert parse_json(json.dumps(value)) == value
    assert parse_json(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("change", "says", "path"),
    [
        ({"width": None}, "'width': Input should be a valid integer", ("width",)),
        ({"width": 0}, "'width' = 0: Input should be greater than or equal to 1", ("width",)),
        ({"width": 10**30}, "less than or equal to 4096", ("width",)),
        ({"width": "320"}, "'width' = '320': Input should be a valid integer", ("width",)),
        ({"width": 320.0}, "'width' = 320.0: Input should be a valid integer", ("width",)),
        ({"width": True}, "'width' = True: Input should be a valid integer", ("width",)),
        ({"color": "green"}, "'color' = 'green': Input should be 'red' or 'blue'", ("color",)),
        ({"layers": [{"name": 1}]}, "'layers.0.name' = 1: Input should be a valid string", ("layers", 0, "name")),
        ({"layers": [{"name": "a", "weight": 1e308}]}, "'layers.0.weight' = 1e+308", ("layers", 0, "weight")),
        ({"layers": [{"name": "a", "weight": 10**400}]}, "'layers.0.weight' = 1000", ("layers", 0, "weight")),
        ({"layers": {"name": "a"}}, "'layers': Input should be a valid array", ("layers",)),
        ({"note": "too long"}, "'note' = 'too long': String should have at most 5 characters", ("note",)),
        ({"note": 3}, "'note' = 3", ("note",)),
        ({"pace": 1}, "'pace' is not a known key", ("pace",)),
        ({"made_at": 3}, "'made_at' = 3: it is not text", ("made_at",)),
        ({"made_at": "noon"}, "'made_at' = 'noon': it is not an ISO 8601 time", ("made_at",)),
        ({"made_at": "0001-01-01"}, "its year is not within 1970 to 2999", ("made_at",)),
        ({"x" * 5000: 1}, "is not a known key", ("x" * 5000,)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_of_another_kind_is_named(change: dict[str, Any], says: str, path: tuple[str | int, ...]) -> None:
    with pytest.raises(OutsideDataError) as caught:
        parse(Document, GOOD | change)
    assert says.replace("'width':", "'width' = None:") in str(caught.value)
    assert caught.value.path == path
    assert len(str(caught.value)) < 250


def test_what_is_missing_is_named() -> None:
    with pytest.raises(OutsideDataError, match="'width' is missing"):
        parse(Document, {key: GOOD[key] for key in ("color", "made_at")})
    with pytest.raises(OutsideDataError, match="Input should be an object"):
        parse(Document, [])


def test_the_bytes_of_a_file_name_become_printable() -> None:
    assert printable("b\udcff 红.toml") == "b? 红.toml"


@pytest.mark.parametrize(
    "value", [{"a": float("nan")}, {"a": object()}, {"a": "\ud800"}], ids=("nan", "object", "surrogate")
)
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(OutsideDataError):
        parse(dict[str, Any], value)


def test_good_values_become_what_they_stand_for() -> None:
    document = parse(Document, {**GOOD, "layers": [{"name": "a", "weight": 2}], "note": None})
    assert document == Document(320, Color.RED, datetime(2026, 11, 20, 10, tzinfo=UTC), (Layer("a", 2.0),))
    assert isinstance(document.color, Color) and isinstance(document.layers[0].weight, float)


def test_times() -> None:
    east = timezone(timedelta(hours=14))
    assert read_time("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read_time("2026-01-02T03:04:05+14:00") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=east)
    for text in ("1970-01-01", "1970-01-01T00:00:00+00:00", "2999-12-30T23:59:59"):
        read_time(text).astimezone()
    for text in (
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1969-12-31",
        "3000-01-01",
        "2026-02-30",
        "",
    ):
        with pytest.raises(OutsideDataError):
            read_time(text)


def test_stored_values_have_a_default() -> None:
    assert stored_json(dict[str, int], '{"a": 1}', {}) == {"a": 1}
    for text in ("", "[]", '{"a": NaN}', '{"a": "1"}', "[" * 100_000):
        assert stored_json(dict[str, int], text, {"b": 2}) == {"b": 2}
    assert stored_time("2026-01-02") == datetime(2026, 1, 2, tzinfo=UTC)
    assert stored_time("0001-01-01") == stored_time("") == FIRST_TIME


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"title = ", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b'title = "\\ud800"', "is not TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "nested too deeply"),
        (b"a = nan", "'a' is nan, which is not a finite number"),
        (b"a = [1e400]", "'a.0' is inf, which is not a finite number"),
        (b"a = 2026-01-01", "'a' is a date; write it as text"),
        (b"#" * (MAX_BYTES + 1), "larger than"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_toml_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(OutsideDataError, match=says):
        read_toml_file(tmp_path / "a.toml")


def test_good_toml_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('a = 1\nb = ["红", 2.5, true]\n[c]\nd = "x"\n', encoding="utf-8")
    assert read_toml_file(tmp_path / "a.toml") == {"a": 1, "b": ["红", 2.5, True], "c": {"d": "x"}}


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a\.json"):
        read_json_file(tmp_path / "a.json")
    with pytest.raises(OutsideDataError, match="not a regular file"):
        read_json_file(tmp_path)
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.json")
        with pytest.raises(OutsideDataError, match="not a regular file"):
            read_json_file(tmp_path / "pipe.json")
