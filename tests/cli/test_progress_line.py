"""The line of progress, and what it does with Ctrl+C."""

from __future__ import annotations

import io
import signal

import pytest

from wan_pipeline.cli.progress_line import ProgressLine


def test_a_ctrl_c_that_a_library_loses_still_cancels() -> None:
    before = signal.getsignal(signal.SIGINT)
    with ProgressLine(io.StringIO()) as observer:
        assert not observer.cancelled()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert observer.cancelled()
    assert signal.getsignal(signal.SIGINT) is before


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ProgressLine(io.StringIO()) as observer:
            signal.raise_signal(signal.SIGINT)
            assert not observer.cancelled()
    finally:
        signal.signal(signal.SIGINT, before)
