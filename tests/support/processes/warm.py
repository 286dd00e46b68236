"""A process that has imported torch and splits off real processes in milliseconds, so that a test can kill hundreds.

It forks before it has used torch or begun a thread. POSIX only, as are the signals that such tests send.
`python -m tests.support.processes.warm SOCKET` serves; `Warm` is its client.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wan_pipeline.settings import REPOSITORY

VARIABLE = "WAN_STUDIO_TESTS_WARM"
"""Holds the path of the warm process's socket."""
START_SECONDS = 240.0
"""It takes five on an idle machine."""


@dataclass(frozen=True)
class WarmProcess:
    """As much of `subprocess.Popen` as the supervisor needs."""

    warm: Warm
    pid: int

    def poll(self) -> int | None:
        return self.warm.ask(poll=self.pid)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = 60.0) -> int:
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"process {self.pid} still runs after {seconds:.0f} s"
            time.sleep(0.01)
        return code


@dataclass(frozen=True)
class Warm:
    """A client of the warm process that listens at `path`."""

    path: str

    def start(
        self, function: str, *arguments: str, log: Path, errors: Path | None = None, **environment: str
    ) -> WarmProcess:
        """Call `module:function` with the arguments in a process of its own.

        What it prints is appended to `log`; its stderr goes to `errors` where that is given.
        """
        streams = [str(log), str(errors or log)]
        answer = self.ask(start=function, arguments=arguments, streams=streams, environment=environment)
        return WarmProcess(self, answer)

    def answers(self) -> bool:
        """False while it imports."""
        try:
            self.ask(poll=0)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def ask(self, **question: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            client.sendall(json.dumps(question).encode() + b"\n")
            return json.loads(client.makefile().readline())


def serve_warm() -> None:
    """Start the warm process of a test run, for this process and those that it starts. It ends when this one does."""
    stack = ExitStack()
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="warm-")))
    atexit.register(stack.close)  # after the folder, whose own way out at the exit would come first
    path = str(folder / "wan_pipeline.socket")  # by this name in its arguments a process is known for a worker
    command = [sys.executable, "-m", "tests.support.processes.warm", path]
    stack.enter_context(subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE))
    os.environ[VARIABLE] = path


@cache
def shared_warm() -> Warm:
    """The one warm process of a test run, once it answers."""
    if VARIABLE not in os.environ:
        serve_warm()
    warm = Warm(os.environ[VARIABLE])
    deadline = time.monotonic() + START_SECONDS
    while not warm.answers():
        assert time.monotonic() < deadline, f"the warm process does not answer after {START_SECONDS:.0f} s"
        time.sleep(0.05)
    return warm


class Server:
    """Answers one question at a time: start a process, and how one has ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: set[int] = set()
        self._ended: dict[int, int] = {}

    def serve(self) -> None:
        """Until the tests have ended, however they did: then their end of this process's input is closed."""
        while 0 not in select.select([self._listener, 0], [], [])[0]:
            client, _ = self._listener.accept()
            with client, suppress(ConnectionError):  # who asked may have been killed since
                if question := client.makefile().readline():
                    client.sendall(json.dumps(self._answer(json.loads(question))).encode() + b"\n")

    def _answer(self, question: dict[str, Any]) -> Any:
        match question:
            case {"start": _}:
                pid = os.fork()
                if pid == 0:
                    self._listener.close()
                    os._exit(_run(question))
                self._running.add(pid)
                return pid
            case {"poll": pid}:
                self._reap()
                return self._ended.get(pid)
        raise ValueError(question)

    def end_all(self) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _reap(self) -> None:
        for pid in tuple(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._running.remove(pid)
                self._ended[pid] = os.waitstatus_to_exitcode(status)


def _run(call: dict[str, Any]) -> int:
    """The life of a process that was split off. Its exit status."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(call["streams"], 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        os.environ.update(call["environment"])
        module, _, name = call["start"].partition(":")
        result = getattr(importlib.import_module(module), name)(*call["arguments"])
        sys.stdout.flush()
        return int(result or 0)
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except BaseException:  # noqa: BLE001 (the last one to see it)
        traceback.print_exc()
        return 1


def main() -> None:
    import wan_pipeline.cli
    import wan_pipeline.clips.encode
    import wan_pipeline.clips.read
    import wan_pipeline.engine.engine
    import wan_pipeline.jobs.worker.process
    import wan_pipeline.studio  # noqa: F401

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    server = Server(listener)
    try:
        server.serve()
    finally:
        server.end_all()


if __name__ == "__main__":
    main()
