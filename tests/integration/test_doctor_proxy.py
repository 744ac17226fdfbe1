"""The doctor before real hubs and a real nginx in which one thing is not as it should be."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer

from signaling.doctor import proxy
from signaling.doctor import server as checks
from signaling.doctor.report import Finding, Status
from tests.support.authority import Authority
from tests.support.nginx import running_nginx
from tests.support.processes import run_server

BEHIND = ("--trusted-proxy", "127.0.0.1")


@contextlib.asynccontextmanager
async def behind_nginx(
    folder: Path, *arguments: str, hubs: int = 1, **options: Any
) -> AsyncIterator[tuple[checks.Server, ClientSession]]:
    """Hubs with these arguments behind the shipped configuration."""
    authority = Authority(folder)
    cert, key = authority.issue("call", ["localhost"])
    trust = ssl.create_default_context(cafile=str(authority.path))
    async with contextlib.AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(run_server("--host", "127.0.0.1", *arguments))
            for _ in range(hubs)
        ]
        ports = [hub.port for hub in running]
        port = await stack.enter_async_context(
            running_nginx(folder, hubs=ports, cert=cert, key=key, **options)
        )
        connector = TCPConnector(ssl=trust)
        session = await stack.enter_async_context(ClientSession(connector=connector))
        path = "/tandem/" if options.get("below") else ""
        yield checks.Server(f"https://localhost:{port}{path}"), session


async def examine(server: checks.Server, session: ClientSession) -> dict[str, Finding]:
    found = [
        *await checks.check_http(server, session, wall=time.time()),
        await checks.check_websocket(server, session),
        await proxy.check_forwarding(server, session),
        await proxy.check_hubs(server, session),
        await proxy.check_body_limit(server, session),
        await proxy.check_idle(server, session, 0.3),
    ]
    return {finding.check: finding for finding in found}


def complaints(found: dict[str, Finding]) -> list[str]:
    return [check for check, finding in found.items() if finding.status is not Status.OK]


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("below", [False, True])
async def test_the_shipped_configuration_has_no_findings_also_below_a_path(
    tmp_path: Path, below: bool
) -> None:
    async with behind_nginx(tmp_path, *BEHIND, hubs=2, below=below) as (server, session):
        assert complaints(await examine(server, session)) == []


@pytest.mark.needs("nginx")
async def test_a_proxy_that_is_not_believed_is_found_alone(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path, "--open") as (server, session):
        found = await examine(server, session)
    assert complaints(found) == ["proxy"]
    assert "--trusted-proxy" in found["proxy"].advice


@pytest.mark.needs("nginx")
async def test_two_hubs_that_take_turns_are_found_alone(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path, *BEHIND, hubs=2, balancer="") as (server, session):
        found = await examine(server, session)
    assert complaints(found) == ["hubs"]
    assert "--redis-url" in found["hubs"].advice


async def test_a_limit_of_bodies_and_a_short_idle_time_are_found() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    app = web.Application(client_max_size=1000)

    async def read(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    app.router.add_post("/whip/doctor", read)
    app.router.add_get("/ws", hang_up)
    async with TestServer(app) as site, ClientSession() as session:
        server = checks.Server(str(site.make_url("/")))
        body = await proxy.check_body_limit(server, session)
        idle = await proxy.check_idle(server, session, 30.0)
    assert (body.status, idle.status) == (Status.FAILURE, Status.FAILURE)
    assert "client_max_body_size" in body.advice
    assert "proxy_read_timeout" in idle.advice


async def test_an_http_address_of_a_tls_port_is_one_finding(tmp_path: Path) -> None:
    chain, key = Authority(tmp_path).issue("server")
    async with (
        run_server("--tls-cert", str(chain), "--tls-key", str(key)) as running,
        ClientSession() as session,
    ):
        server = checks.Server(f"http://localhost:{running.port}")
        found = await checks.check_http(server, session, wall=time.time())
    assert [finding.check for finding in found] == ["server"]
    assert f"https://localhost:{running.port}" in found[0].advice


async def test_a_server_that_wants_a_certificate_is_found_and_satisfied(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("server")
    arguments = ["--tls-cert", str(chain), "--tls-key", str(key)]
    now = datetime.datetime.now(datetime.UTC)
    async with run_server(*arguments, "--tls-client-ca", str(authority.path)) as running:
        server = checks.Server(f"https://localhost:{running.port}")
        ours = str(authority.path)
        without = await checks.check_certificate(server, now=now, authority=ours)
        shown = tuple(map(str, authority.issue("doctor", ("doctor",))))
        having = await checks.check_certificate(
            server, now=now, authority=ours, shown=(shown[0], shown[1])
        )
    assert without.status is Status.FAILURE
    assert "--cert" in without.advice
    assert having.status is Status.OK


def test_no_keys_and_no_turn_at_an_open_address_are_warnings() -> None:
    far, near = checks.Server("https://call.example.org"), checks.Server("http://localhost:8443")
    assert proxy.check_keys(far, anyone=True).status is Status.WARNING
    assert proxy.check_keys(far, anyone=False).status is Status.OK
    assert proxy.check_keys(near, anyone=True).status is Status.OK
    assert proxy.check_turn_offered(far, offered=False).status is Status.WARNING
    assert proxy.check_turn_offered(far, offered=True).status is Status.OK
    assert proxy.check_turn_offered(near, offered=False).status is Status.OK
