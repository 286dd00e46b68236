"""Hosts of their own on this machine: namespaces of Linux for network, processes, names and mounts, joined by a switch.

A host has an address, processes that see no other's, and a `/tmp/ray` and shared memory of its own. The rest of the
file system is shared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

BOOT = 'hostname "$0" && mount --bind "$1" /tmp/ray && mount -t tmpfs tmpfs /dev/shm && shift && exec "$@"'
"""What a host's first process does: it takes a name, its own folders, and becomes the command."""


class Host:
    """A host at the switch. Nothing runs on it until `boot`."""

    def __init__(self, namespace: str, switch: str, number: int, folder: Path) -> None:
        self.name = f"host{number}"
        self.address = f"10.98.0.{number}"
        self.log = folder / f"{self.name}.log"
        self._namespace = namespace
        self._switch = switch
        self._port = f"port{number}"
        self._folder = folder / self.name
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        _ip("-n", switch, "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("-n", switch, "link", "set", self._port, "master", "bridge", "up")
        _ip("-n", namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", device, "up")

    def boot(self, command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Run a command; when it ends, or `lose` is called, every process of the host ends."""
        spaces = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts"]
        boot = ["sh", "-c", BOOT, self.name, str(self._folder), *command]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self._namespace, *spaces, *boot], env=environment, stdout=output, stderr=output
            )
        return self._process

    def lose(self) -> None:
        """Pull its cable, and end all that runs on it: nobody hears of that, as when a machine loses its power."""
        _ip("-n", self._switch, "link", "set", self._port, "down")
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def hosts(folder: Path, count: int) -> Iterator[list[Host]]:
    """Context manager: so many hosts in one network. Skips the test where there are no such namespaces."""
    if not sys.platform.startswith("linux") or os.geteuid() or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs Linux, root, iproute2 and util-linux for hosts of their own")
    Path("/tmp/ray").mkdir(exist_ok=True)  # noqa: S108 (Ray's own place, over which each host mounts its own)
    with ExitStack() as stack:
        switch, *namespaces = (stack.enter_context(_namespace()) for _ in range(count + 1))
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        made = [Host(namespace, switch, number, folder) for number, namespace in enumerate(namespaces, 1)]
        for host in made:
            stack.callback(host.stop)
        yield made


@contextmanager
def _namespace() -> Iterator[str]:
    name = f"wan-{uuid4().hex[:8]}"
    added = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if added.returncode != 0:
        pytest.skip(f"needs the right to make network namespaces ({added.stderr.strip()})")
    try:
        yield name
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
