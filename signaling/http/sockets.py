"""The sockets that a server listens on, and why it may not have them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence

from ..logs import Log
from ..settings.setting import ConfigError

BACKLOG = 4096
"""Connections that the kernel may hold before they are accepted; it caps this at somaxconn."""

_log = Log(__name__)

# Errors that mean that this machine has no such address family; ::1 is among the defaults.
_NO_SUCH_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def bind(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets bound to each of `hosts`, all on one port. Raises ConfigError."""
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        for host in hosts:
            for address in _resolve(host, port):
                try:
                    sock = _bind_one(*address)
                except OSError as error:
                    if error.errno in _NO_SUCH_FAMILY and len(hosts) > 1:
                        _log.debug("no such address here", extra={"address": host})
                        continue
                    raise _explain(error, host, port) from None
                stack.callback(sock.close)
                sockets.append(sock)
                port = sock.getsockname()[1]
        if not sockets:
            raise ConfigError(f"--host: none of {', '.join(hosts)} is an address of this machine")
        stack.pop_all()
    return sockets


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):  # the latter for what can be no name, like a..b
        raise ConfigError(
            f"--host: {host!r} is not known, it has to be an address of this machine like 127.0.0.1"
        ) from None
    return [(family, tuple(address)) for family, _, _, _, address in found]


def _bind_one(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Otherwise a restart has to wait until old connections time out.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # So that 0.0.0.0 and :: can be had side by side.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        # Two sockets may share a port with SO_REUSEADDR until one of them listens.
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"--port: {port} is in use on {host}: stop what uses it or take another")
    if error.errno == errno.EACCES:
        return ConfigError(f"--port: {port} is only for root here: take one from 1024 on")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"--host: {host} is not an address of this machine")
    return ConfigError(f"--host: cannot listen on {host}: {os.strerror(error.errno or 0)}")
