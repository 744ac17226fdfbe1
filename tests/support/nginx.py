"""A real nginx on loopback with the configuration that the project ships."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.support.components import COMPONENTS

SHIPPED = Path(__file__).parents[2] / "signaling" / "deploy" / "nginx.conf"


def write_configuration(
    folder: Path,
    *,
    port: int,
    hubs: Sequence[int],
    cert: Path,
    key: Path,
    balancer: str | None = None,
    below: bool = False,
) -> Path:
    """Write the shipped configuration with only ports, hubs and certificate replaced, and how
    clients are spread over hubs where `balancer` is given; `below`: at /tandem/ alone."""
    site = SHIPPED.read_text()
    site, listeners = re.subn(r"listen \[::\]:443 ssl;\n", "", site)
    assert listeners == 1
    for pattern, text in (
        (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (
            r"    server 127\.0\.0\.1:8443 max_fails=0;",
            "\n".join(f"    server 127.0.0.1:{h} max_fails=0;" for h in hubs),
        ),
        (r"(ssl_certificate +)\S+;", rf"\g<1>{cert};"),
        (r"(ssl_certificate_key +)\S+;", rf"\g<1>{key};"),
        (r"server_name call\.example\.org;", "server_name localhost;"),
    ):
        site, replaced = re.subn(pattern, text, site)
        assert replaced == 1, pattern
    if below:
        site, replaced = re.subn(r"    location / \{.*?    \}\n", "", site, flags=re.DOTALL)
        assert replaced == 1
        site, replaced = re.subn(r"(?m)^    #(?=location /tandem|    proxy_pass|\})", "    ", site)
        assert replaced == 3
    if balancer is not None:
        site, replaced = re.subn(r"hash \$tandem_room consistent;", balancer, site)
        assert replaced == 1
        # As the comments say where hubs are one server.
        site, replaced = re.subn(
            r" max_fails=0|.*X-Tandem-Room.*\n|.*next_upstream off;\n", "", site
        )
        assert replaced >= 3
    (folder / "tandem.conf").write_text(site)
    main = folder / "nginx.conf"
    main.write_text(
        f"""
        daemon off;
        worker_processes 1;
        pid {folder}/nginx.pid;
        error_log stderr warn;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            include {folder}/tandem.conf;
        }}
        """
    )
    return main


@contextlib.asynccontextmanager
async def running_nginx(
    folder: Path,
    *,
    hubs: Sequence[int],
    cert: Path,
    key: Path,
    balancer: str | None = None,
    below: bool = False,
) -> AsyncIterator[int]:
    """Run nginx before hubs on these ports of loopback; yields its own port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    configuration = write_configuration(
        folder, port=port, hubs=hubs, cert=cert, key=key, balancer=balancer, below=below
    )
    executable = COMPONENTS["nginx"].find()
    assert executable is not None, "nginx is missing: apt-get install nginx-light"
    process = await asyncio.create_subprocess_exec(
        executable, "-p", str(folder), "-c", str(configuration), stderr=asyncio.subprocess.PIPE
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            assert process.returncode is None, await _said(process)
            await asyncio.sleep(0.05)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _said(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode(errors="replace")
