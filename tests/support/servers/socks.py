"""A SOCKS5 proxy on loopback (RFC 1928, without authentication) that leads every connection to one server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

from tests.support.servers import running

BY_NAME = 3
"""How a client gives the host: as a name, which the proxy looks up."""


class SocksProxy(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.asked: list[str] = []
        """The hosts that clients asked for."""

    @property
    def url(self) -> str:
        return f"socks5://127.0.0.1:{self.server_address[1]}"


@contextmanager
def socks_proxy(target: tuple[str, int]) -> Iterator[SocksProxy]:
    with running(SocksProxy(target)) as server:
        yield server


class _Handler(BaseRequestHandler):
    server: SocksProxy
    request: socket.socket

    def handle(self) -> None:
        methods = self._read(2)[1]
        self._read(methods)
        self.request.sendall(b"\x05\x00")
        *_, kind, length = self._read(5)
        assert kind == BY_NAME
        self.server.asked.append(self._read(length).decode())
        self._read(2)
        with socket.create_connection(self.server.target) as target:
            self.request.sendall(b"\x05\x00\x00\x01" + bytes(6))
            back = threading.Thread(target=_copy, args=(target, self.request), daemon=True)
            back.start()
            _copy(self.request, target)
            back.join()

    def _read(self, count: int) -> bytes:
        return self.request.recv(count, socket.MSG_WAITALL)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
