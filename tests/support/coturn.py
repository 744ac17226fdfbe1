"""A real coturn on loopback, started from the configuration that the project ships."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "turn-config" / "turnserver.conf"
SECRET = "a secret that only tests know"

# What the shipped file must say otherwise for a server on loopback: its ports, its
# certificate, its own addresses allowed as peers, and no system log.
_REPLACED = {
    "realm",
    "static-auth-secret",
    "listening-port",
    "tls-listening-port",
    "cert",
    "pkey",
    "syslog",
    "min-port",
    "max-port",
}


@dataclass(frozen=True)
class Coturn:
    host: str
    port: int
    tls_port: int
    secret: str
    log: Path

    def url(self, transport: str) -> str:
        """`transport`: "udp", "tcp" or "tls"."""
        if transport == "tls":
            return f"turns:{self.host}:{self.tls_port}?transport=tcp"
        return f"turn:{self.host}:{self.port}?transport={transport}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_configuration(
    path: Path, *, port: int, tls_port: int, cert: Path, key: Path, loopback_peers: bool
) -> None:
    """Write the shipped configuration with only its addresses, secret and ports replaced."""
    kept = [
        line for line in SHIPPED.read_text().splitlines() if line.split("=", 1)[0] not in _REPLACED
    ]
    kept += [
        "realm=tandem.test",
        f"static-auth-secret={SECRET}",
        "listening-ip=127.0.0.1",
        "relay-ip=127.0.0.1",
        f"listening-port={port}",
        f"tls-listening-port={tls_port}",
        f"cert={cert}",
        f"pkey={key}",
        "min-port=50000",
        "max-port=59999",
        "log-file=stdout",
        f"pidfile={path.parent / 'turnserver.pid'}",
        f"userdb={path.parent / 'turndb'}",
    ]
    if loopback_peers:
        # coturn wants both: the switch, and an exception from the denied ranges.
        kept += [
            "allow-loopback-peers",
            "cli-password=unused",
            "allowed-peer-ip=127.0.0.1",
        ]
    path.write_text("\n".join(kept) + "\n")


@contextlib.asynccontextmanager
async def running_coturn(
    folder: Path, *, cert: Path, key: Path, loopback_peers: bool = True
) -> AsyncIterator[Coturn]:
    """Run Debian's turnserver until the block ends; it logs to `folder`/turnserver.log."""
    executable = shutil.which("turnserver")
    assert executable is not None, "turnserver is missing: apt-get install coturn"
    port, tls_port = _free_port(), _free_port()
    configuration = folder / "turnserver.conf"
    write_configuration(
        configuration,
        port=port,
        tls_port=tls_port,
        cert=cert,
        key=key,
        loopback_peers=loopback_peers,
    )
    log = folder / "turnserver.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            executable, "-c", str(configuration), stdout=output, stderr=output, cwd=folder
        )
    try:
        for listening in (port, tls_port):
            await _until_listening(listening, process, log)
        yield Coturn("127.0.0.1", port, tls_port, SECRET, log)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_listening(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    for _ in range(600):
        assert process.returncode is None, _said(log)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
    raise AssertionError(f"coturn does not listen on {port}: {_said(log)}")


def _said(log: Path) -> str:
    return log.read_text(errors="replace")
