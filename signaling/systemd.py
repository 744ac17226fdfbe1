"""What the service manager is told: sd_notify(3), over the socket that it names, if it does."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(environ: Mapping[str, str], *lines: str) -> bool:
    """Send state to the service manager; False where there is none. Never raises."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    # An abstract socket: "@" stands for the NUL byte at its beginning.
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto("\n".join(lines).encode(), address)
        return True
    return False


def describe_reload(monotonic: float) -> str:
    """State of a reload that begins; READY ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1_000_000)}"


def extend_timeout(seconds: float) -> str:
    """A wish for so much time to stop in."""
    return f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}"
