"""Checks the address before the page is served, for Gradio's own errors name settings that the user never gave."""

from __future__ import annotations

import os
import socket

from wan_pipeline.errors import UserError


def check_address(host: str, port: int | None) -> None:
    """Raise UserError unless this computer can listen at the host and port. Without a port, any free one will do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # on Windows the option lets two programs share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed is free
            probe.bind((address[0], port or 0, *address[2:]))
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        where = f"{host}, port {port}" if port is not None else host
        raise UserError(f"{where} cannot be listened on ({reason}); choose another --host or --port.") from error
