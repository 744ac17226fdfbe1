"""The programs beside Python that tests stand on: which are here, and how to get the others.

`python -m tests.support.components` says what is missing; in CI that is an error, elsewhere the
tests that need it are left out.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Component:
    """A program on the PATH (or in Debian's directory for servers) and its Debian package."""

    name: str
    commands: tuple[str, ...]
    package: str
    purpose: str

    def find(self) -> str | None:
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
        return next((p for c in self.commands if (p := shutil.which(c, path=path))), None)


# Its parts are packages of their own: ICE, what encodes and decodes, and Python's way to it.
GSTREAMER = (
    "gstreamer1.0-tools gstreamer1.0-nice gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
    " gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav python3-gi"
    " gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0"
)

COMPONENTS = {
    component.name: component
    for component in (
        Component("chromium", ("chromium", "chromium-browser"), "chromium", "browser tests"),
        Component("firefox-esr", ("firefox-esr", "firefox"), "firefox-esr", "tests with Firefox"),
        Component("turnserver", ("turnserver",), "coturn", "TURN tests"),
        Component("nginx", ("nginx",), "nginx-light", "proxy tests"),
        Component("redis-server", ("redis-server",), "redis-server", "tests with several hubs"),
        Component("espeak-ng", ("espeak-ng",), "espeak-ng", "tests of what speaks"),
        Component("node", ("node",), "nodejs", "tests and types of the page"),
        Component("npm", ("npm",), "npm", "types of the page"),
        Component("promtool", ("promtool",), "prometheus", "tests of alerts"),
        Component("gstreamer", ("gst-inspect-1.0",), GSTREAMER, "tests with GStreamer"),
    )
}


def in_ci() -> bool:
    """Whether a missing component is a failure."""
    return bool(os.environ.get("CI"))


def main() -> int:
    missing = [c for c in COMPONENTS.values() if c.find() is None]
    for component in missing:
        print(
            f"missing: {component.name}, so no {component.purpose}"
            f" (apt-get install {component.package})"
        )
    return 1 if missing and in_ci() else 0


if __name__ == "__main__":
    sys.exit(main())
