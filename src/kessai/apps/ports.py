"""The addresses that the platform listens on, taken before anything else is begun."""

from __future__ import annotations

import socket

from kessai.foundation.errors import OperatorError


def bound_socket(host: str, port: int, *, reuse_port: bool = False, way: str = "REST") -> socket.socket:
    """A socket at the address, not yet listening; OperatorError when somebody else is there or may not be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise OperatorError(f"{way} cannot listen on {host}:{port}: {error.strerror}.") from error
    return made
