"""TLS in a running server: renewed certificates, and clients that have to show one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession, TCPConnector
from cryptography import x509

from signaling.app import Server
from signaling.settings.config import Config
from tests.support.authority import Authority
from tests.support.processes import PATIENCE, connect, run_server


def trust(authority: Authority, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if shown is not None:
        context.load_cert_chain(*shown)
    return context


async def read_serial(port: int) -> int:
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
    return x509.load_der_x509_certificate(certificate).serial_number


def install(folder: Path, issued: tuple[Path, Path]) -> int:
    """Put a certificate where the server looks; its serial number."""
    for path, name in zip(issued, ("chain.pem", "key.pem"), strict=True):
        shutil.copy(path, folder / name)
    return x509.load_pem_x509_certificate(issued[0].read_bytes()).serial_number


async def test_a_renewed_certificate_is_loaded_on_a_signal_with_a_connection_open(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    first = install(tmp_path, authority.issue("first"))
    files = ["--tls-cert", str(tmp_path / "chain.pem"), "--tls-key", str(tmp_path / "key.pem")]
    connector = TCPConnector(ssl=trust(authority))
    async with (
        run_server(*files) as server,
        ClientSession(connector=connector) as session,
        connect(session, server) as client,
    ):
        await client.join()
        assert await read_serial(server.port) == first
        second = install(tmp_path, authority.issue("second"))
        server.send_signal(signal.SIGHUP)
        await server.wait_log("certificate loaded")
        assert await read_serial(server.port) == second
        assert (await client.ask(type="chat", content="still here"))["type"] == "ok"
        # Half a renewal: the key of another one.
        (tmp_path / "key.pem").write_bytes((tmp_path / "first.key").read_bytes())
        server.send_signal(signal.SIGHUP)
        await server.wait_log("certificate not reloaded")
        assert await read_serial(server.port) == second
        assert (await client.ask(type="chat", content="still here"))["type"] == "ok"


async def test_a_renewed_certificate_is_found_without_a_signal(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = install(tmp_path, authority.issue("first"))
    config = Config(
        host=("127.0.0.1",),
        port=0,
        relay_workers=0,
        tls_cert=str(tmp_path / "chain.pem"),
        tls_key=str(tmp_path / "key.pem"),
    )
    server = Server(config, certificate_check=0.05)
    await server.start()
    try:
        url = f"wss://127.0.0.1:{server.port}/ws"
        connector = TCPConnector(ssl=trust(authority))
        async with ClientSession(connector=connector) as session, session.ws_connect(url) as socket:
            assert await read_serial(server.port) == first
            second = install(tmp_path, authority.issue("second"))
            async with asyncio.timeout(PATIENCE):
                while await read_serial(server.port) != second:
                    pass
            await socket.send_str('{"type":"heartbeat","timestamp":1}')
            assert json.loads(await socket.receive_str())["type"] == "heartbeat"
    finally:
        await server.stop()


async def test_with_an_authority_for_clients_only_those_with_its_certificate_get_in(
    tmp_path: Path,
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "Another authority")
    chain, key = authority.issue("server")
    arguments = ["--tls-cert", str(chain), "--tls-key", str(key)]
    arguments += ["--tls-client-ca", str(authority.path)]
    async with run_server(*arguments) as server:
        for shown in (None, other.issue("stranger", ("bot",))):
            connector = TCPConnector(ssl=trust(authority, shown))
            async with ClientSession(connector=connector) as session:
                with pytest.raises(ClientConnectionError):
                    await session.get(server.url + "/healthz")
        connector = TCPConnector(ssl=trust(authority, authority.issue("bot", ("bot",))))
        async with (
            ClientSession(connector=connector) as session,
            connect(session, server) as client,
        ):
            await client.join()


async def test_a_tls_handshake_that_does_not_go_on_is_cut(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("server")
    arguments = ["--tls-cert", str(chain), "--tls-key", str(key), "--handshake-timeout", "1"]
    connector = TCPConnector(ssl=trust(authority))
    async with (
        run_server(*arguments) as server,
        ClientSession(connector=connector) as session,
        connect(session, server) as client,
    ):
        await client.join()
        pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
        for number, (_, writer) in enumerate(pairs):
            writer.write(b"\x16\x03\x01\x02\x00"[: number % 6])  # a ClientHello's first bytes
        async with asyncio.timeout(PATIENCE):
            for reader, writer in pairs:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.transport.abort()
        assert (await client.ask(type="chat", content="still here"))["type"] == "ok"


async def test_plain_http_at_the_tls_port_gets_an_answer_that_people_can_read(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("server")
    connector = TCPConnector(ssl=trust(authority))
    async with (
        run_server("--tls-cert", str(chain), "--tls-key", str(key)) as server,
        ClientSession(connector=connector) as session,
    ):
        for request in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"P", b"POST / HTTP/1.1\r\n" * 999):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request)
            async with asyncio.timeout(PATIENCE):
                answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            body = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert body["code"] == "https-needed"
            assert "https://" in body["message"]
        async with session.get(server.url + "/metrics") as response:
            text = await response.text()
        assert 'signaling_connections_refused_total{reason="plain-http"} 3.0' in text


async def test_the_authority_for_clients_is_read_again_on_a_signal(tmp_path: Path) -> None:
    """Who was signed by the old one only, gets in no more: it was replaced, not added to."""
    old, new = Authority(tmp_path), Authority(tmp_path, "Another authority")
    chain, key = old.issue("server")
    accepted = tmp_path / "clients.pem"
    shutil.copy(old.path, accepted)
    arguments = ["--tls-cert", str(chain), "--tls-key", str(key), "--tls-client-ca", str(accepted)]
    shown = {old: old.issue("before", ("bot",)), new: new.issue("after", ("bot",))}

    async def gets_in(authority: Authority, url: str) -> bool:
        connector = TCPConnector(ssl=trust(old, shown[authority]))
        try:
            async with ClientSession(connector=connector) as session, session.get(url):
                return True
        except ClientConnectionError:
            return False

    async with run_server(*arguments) as server:
        url = server.url + "/healthz"
        assert [await gets_in(one, url) for one in (old, new)] == [True, False]
        shutil.copy(new.path, accepted)
        server.send_signal(signal.SIGHUP)
        await server.wait_log("certificate loaded")
        assert [await gets_in(one, url) for one in (old, new)] == [False, True]
