"""Pipes to a process that has ended, as Windows tells of them."""

from __future__ import annotations

import errno
import subprocess
from typing import IO, Any

import pytest


class _Stream:
    """A stream whose writes fail as on Windows: with EINVAL, not with a BrokenPipeError."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        try:
            written = self._stream.write(data)
            self._stream.flush()
        except BrokenPipeError as error:
            raise OSError(errno.EINVAL, "Invalid argument") from error
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Popen(subprocess.Popen):  # type: ignore[type-arg]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.stdin is not None:
            self.stdin = _Stream(self.stdin)  # type: ignore[assignment]


def break_pipes_as_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", _Popen)
