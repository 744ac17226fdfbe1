"""Checks of the machine that the doctor runs on: limits and buffers. No network."""

from __future__ import annotations

import resource
from pathlib import Path

from . import report
from .report import Finding

# What a process needs besides one descriptor per connection: libraries, logs, workers.
SPARE_FILES = 256
# A key frame to a hundred subscribers is some 10 MB in one burst at the worker's socket;
# 2 MiB hold what comes during the few milliseconds in which Python is busy otherwise.
UDP_BUFFER = 2 * 1024 * 1024


def check_open_files(max_connections: int, limits: tuple[int, int] | None = None) -> Finding:
    """`limits`: soft and hard RLIMIT_NOFILE, by default this process's own."""
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max_connections + SPARE_FILES
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= needed:
        return report.ok("open-files", f"{_number(soft)} files may be open; {needed} are needed.")
    says = f"Only {soft} files may be open, but --max-connections {max_connections} needs {needed}."
    if hard == unlimited or hard >= needed:
        return report.warning(
            "open-files",
            says,
            f"Run `ulimit -n {needed}` before, or LimitNOFILE={needed} in the systemd unit.",
        )
    return report.warning(
        "open-files",
        says,
        f"Set LimitNOFILE={needed} in the systemd unit (the hard limit is {hard} here), or lower"
        " --max-connections.",
    )


def check_udp_buffers(folder: Path = Path("/proc/sys/net/core")) -> Finding:
    """`folder`: where the kernel's limits are; elsewhere than on Linux there is none."""
    names = ("rmem_max", "wmem_max")
    try:
        sizes = {name: int((folder / name).read_text()) for name in names}
    except (OSError, ValueError):
        return report.skipped("udp-buffers", "This system does not tell its UDP buffer limits.")
    small = [name for name in names if sizes[name] < UDP_BUFFER]
    if not small:
        return report.ok("udp-buffers", f"UDP buffers may be {sizes['rmem_max'] >> 10} KiB.")
    return report.warning(
        "udp-buffers",
        f"UDP buffers may only be {min(sizes.values()) >> 10} KiB: bursts of video may be dropped.",
        "sysctl -w "
        + " ".join(f"net.core.{name}={UDP_BUFFER}" for name in small)
        + ", and the same in /etc/sysctl.d/.",
    )


def _number(value: int) -> str:
    return "any number of" if value == resource.RLIM_INFINITY else str(value)
