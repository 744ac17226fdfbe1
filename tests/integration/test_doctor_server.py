"""The doctor looks at a server in which one thing is broken, and says which."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from signaling.doctor import server as doctor
from signaling.doctor.report import Finding, Status
from tests.support.authority import DAY, Authority

READY: dict[str, object] = {"status": "ready"}


class Site:
    """A stand-in for the hub (and the proxy before it) whose answers a test breaks."""

    def __init__(self) -> None:
        self.ready: tuple[int, object] = (200, READY)
        self.headers: dict[str, str] = {}
        self.websocket = 101
        self.page = 200

    async def answer_ready(self, _: web.Request) -> web.Response:
        return web.json_response(self.ready[1], status=self.ready[0], headers=self.headers)

    async def answer_page(self, _: web.Request) -> web.Response:
        return web.Response(status=self.page, headers=self.headers)

    async def answer_websocket(self, request: web.Request) -> web.StreamResponse:
        if self.websocket != 101:
            return web.Response(status=self.websocket)
        made = web.WebSocketResponse()
        await made.prepare(request)
        message = await made.receive_json()
        await made.send_json({"type": "error", "id": message["id"], "code": "not-joined"})
        await made.close()
        return made


@asynccontextmanager
async def serving(
    site: Site, tls: tuple[Path, Path] | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[doctor.Server]:
    app = web.Application()
    app.router.add_get("/readyz", site.answer_ready)
    app.router.add_get("/", site.answer_page)
    app.router.add_get("/ws", site.answer_websocket)
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener, ssl_context=context).start()
    try:
        scheme = "https" if tls else "http"
        yield doctor.Server(f"{scheme}://{host}:{listener.getsockname()[1]}")
    finally:
        await runner.cleanup()


async def check_http(server: doctor.Server) -> dict[str, Finding]:
    async with aiohttp.ClientSession() as session:
        found = await doctor.check_http(server, session, wall=time.time())
        found.append(await doctor.check_websocket(server, session))
    return {finding.check: finding for finding in found}


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


async def test_a_server_in_order_has_no_findings() -> None:
    async with serving(Site()) as server:
        assert (await doctor.check_port(server)).status is Status.OK
        assert doctor.check_origin(server).status is Status.OK
        assert (await doctor.check_certificate(server, now=now())).status is Status.SKIPPED
        found = await check_http(server)
    assert {check: finding.status for check, finding in found.items()} == dict.fromkeys(
        ["server", "clock", "page", "websocket"], Status.OK
    )


async def test_a_closed_port_is_found() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = doctor.Server(f"http://127.0.0.1:{probe.getsockname()[1]}")
        finding = await doctor.check_port(server)
    assert finding.status is Status.FAILURE
    assert "refuses connections" in finding.says


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
async def test_a_name_that_does_not_resolve_is_found(host: str) -> None:
    finding = await doctor.check_port(doctor.Server(f"https://{host}"))
    assert finding.status is Status.FAILURE
    assert "does not resolve" in finding.says


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://192.0.2.1:8443", Status.FAILURE),
        ("http://call.example.org", Status.FAILURE),
        ("https://call.example.org", Status.OK),
        ("call.example.org", Status.OK),
        ("http://localhost:8443", Status.OK),
        ("http://[::1]:8443", Status.OK),
    ],
)
def test_an_origin_without_a_camera_is_found(url: str, status: Status) -> None:
    assert doctor.check_origin(doctor.Server(url)).status is status


@pytest.mark.parametrize("url", ["", "https://", "ftp://a", "https:///path"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        doctor.Server(url)


async def test_a_good_certificate_is_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serving(Site(), authority.issue("good")) as server:
        finding = await doctor.check_certificate(server, now=now(), authority=str(authority.path))
    assert finding.status is Status.OK


@pytest.mark.parametrize(
    ("hosts", "begins", "ends", "status", "says"),
    [
        (("127.0.0.1",), -DAY, 10 * DAY, Status.WARNING, "ends in 9 days"),
        (("127.0.0.1",), -9 * DAY, -DAY, Status.FAILURE, "The certificate ended on"),
        (("127.0.0.1",), DAY, 9 * DAY, Status.FAILURE, "does not hold yet"),
        (("call.example.org",), -DAY, 90 * DAY, Status.FAILURE, "but for call.example.org"),
    ],
)
async def test_a_bad_certificate_is_explained(
    tmp_path: Path,
    hosts: tuple[str, ...],
    begins: datetime.timedelta,
    ends: datetime.timedelta,
    status: Status,
    says: str,
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("bad", hosts, begins=begins, ends=ends)
    async with serving(Site(), issued) as server:
        finding = await doctor.check_certificate(server, now=now(), authority=str(authority.path))
    assert finding.status is status
    assert says in finding.says


async def test_a_chain_to_an_unknown_authority_is_found(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "Another")
    async with serving(Site(), theirs.issue("good")) as server:
        finding = await doctor.check_certificate(server, now=now(), authority=str(ours.path))
    assert finding.status is Status.FAILURE
    assert "fullchain.pem" in finding.advice


async def test_plain_http_under_https_is_found() -> None:
    async with serving(Site()) as plain:
        server = doctor.Server(plain.url.replace("http:", "https:"))
        finding = await doctor.check_certificate(server, now=now())
    assert finding.status is Status.FAILURE
    assert "does not speak TLS" in finding.says


async def test_a_server_that_is_not_ready_is_found() -> None:
    site = Site()
    site.ready = (503, {"status": "unavailable", "reasons": ["no relay"]})
    async with serving(site) as server:
        finding = (await check_http(server))["server"]
    assert finding.status is Status.FAILURE
    assert "no relay" in finding.says


async def test_another_server_is_found() -> None:
    site = Site()
    site.ready = (404, "Not Found")
    async with serving(site) as server:
        finding = (await check_http(server))["server"]
    assert finding.status is Status.FAILURE
    assert "not this server" in finding.says


async def test_a_clock_that_is_off_is_found() -> None:
    site = Site()
    site.headers = {"Date": "Tue, 15 Nov 1994 08:12:31 GMT"}
    async with serving(site) as server:
        finding = (await check_http(server))["clock"]
    assert finding.status is Status.WARNING
    assert "behind" in finding.says


async def test_a_proxy_that_forbids_the_camera_is_found() -> None:
    site = Site()
    site.headers = {"Permissions-Policy": "camera=(), microphone=()"}
    async with serving(site) as server:
        assert (await check_http(server))["page"].status is Status.FAILURE


async def test_a_proxy_that_hides_the_page_is_found() -> None:
    site = Site()
    site.page = 502
    async with serving(site) as server:
        assert (await check_http(server))["page"].status is Status.FAILURE


@pytest.mark.parametrize(("status", "advice"), [(400, "Upgrade"), (403, "--allow-origin")])
async def test_a_websocket_that_does_not_get_through_is_found(status: int, advice: str) -> None:
    site = Site()
    site.websocket = status
    async with serving(site) as server:
        finding = (await check_http(server))["websocket"]
    assert finding.status is Status.FAILURE
    assert advice in finding.advice
