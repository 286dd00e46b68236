"""JSON that somebody made to break a reader."""

from __future__ import annotations

BAD_JSON = {
    "nothing": b"",
    "half": b'{"a": ',
    "deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep enough": b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}",
    "not a number": b'{"a": NaN}',
    "infinite": b'{"a": 1e400}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "not UTF-8": b'{"a": "\xff"}',
    "endless digits": b'{"a": ' + b"9" * 10_000 + b"}",
    "list": b"[1, 2]",
    "text": b'"text"',
    "null": b"null",
    "zeros": bytes(1000),
}
"""By what is wrong with it."""

BAD_VALUES = [None, True, -1, 0, 1.5, 1e300, 10**400, "text", "", [], [[]], {}, {"a": 1}, [None], ["a", "b", "c"]]
"""One of each kind; most are wrong wherever a certain kind is needed."""


def short(value: object) -> str:
    """The name of a test's parameter."""
    return ascii(value)[:20]
