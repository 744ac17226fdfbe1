"""A real server's life: settings, addresses, TLS, draining, signals, exit codes, its log."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError

from tests.support.processes import ServerProcess, connect, open_session, run_server, spawn


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sends_everyone_elsewhere_and_ends_with_0(number: signal.Signals) -> None:
    async with run_server() as server, open_session() as session:
        async with connect(session, server) as ada, connect(session, server) as bob:
            await ada.join(name="Ada")
            await bob.join(name="Bob")
            server.send_signal(number)
            for client in (ada, bob):
                assert (await client.receive_type("error"))["code"] == "draining"
                assert await client.receive_close() == 1001
        assert await server.wait() == 0
        with pytest.raises(ClientConnectorError):
            await session.get(server.url + "/healthz")


async def test_clients_that_do_not_go_are_cut_after_the_drain_time() -> None:
    async with run_server("--drain-timeout", "0.2") as server, open_session() as session:
        # It neither answers the close nor goes away.
        stalled = await session.ws_connect(server.ws_url, autoclose=False)
        server.send_signal()
        assert await server.wait() == 0
        await stalled.close()


async def test_while_it_drains_it_is_alive_not_ready_and_takes_nobody() -> None:
    async with run_server("--drain-timeout", "600") as server, open_session() as session:
        # Holds the drain up: a connection that is open and idle since before.
        async with session.get(server.url + "/readyz") as response:
            assert response.status == 200
        stalled = await session.ws_connect(server.ws_url, autoclose=False)
        reader, writer = await _open_keepalive(server.port)
        server.send_signal()
        await server.wait_log("draining")
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"}")
        assert b"HTTP/1.1 503" in head
        assert b'"status":"draining"' in head
        writer.close()
        # A second signal does not wait.
        server.send_signal()
        assert await server.wait() == 1
        await stalled.close()


async def _open_keepalive(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"}")
    return reader, writer


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--port", "x"], ["--port", "whole number from 0 to 65535"]),
        (["--prot", "1"], ["--prot", "--help"]),
        (["--host", "0.0.0.0"], ["--host 0.0.0.0", "--open"]),
        (["--host", "192.0.2.77", "--open"], ["--host", "192.0.2.77"]),
        (["--host", "no.such.host.invalid", "--open"], ["--host", "no.such.host.invalid"]),
        (["--host", "a..b", "--open"], ["--host", "a..b"]),
        (["--config", "/none.toml"], ["--config", "/none.toml"]),
        (["--tls-cert", "/none.pem", "--tls-key", "/none.pem"], ["--tls-cert", "/none.pem"]),
    ],
)
async def test_a_wrong_setting_is_one_line_and_exit_2(
    arguments: list[str], parts: list[str]
) -> None:
    server = await spawn(*arguments)
    assert await server.wait() == 2
    assert server.output == []
    assert len(server.log) == 1
    assert all(part in server.log[0] for part in parts), server.log


async def test_a_port_in_use_is_one_line_and_exit_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = await spawn("--port", str(port))
        assert await server.wait() == 2
    assert len(server.log) == 1
    assert f"--port: {port} is in use" in server.log[0]


async def test_settings_come_from_flag_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text("[limits]\nheartbeat = 7\nmesh_limit = 2\nresume_within = 5\n")
    environ = {"SIGNALING_RESUME_WITHIN": "9", "SIGNALING_CONFIG": str(file)}
    async with (
        run_server("--max-participants", "1", environ=environ) as server,
        open_session() as session,
        connect(session, server) as ada,
        connect(session, server) as bob,
    ):
        joined = await ada.join()
        assert (joined["heartbeat"], joined["resume_within"]) == (7, 9)
        refused = await bob.ask(type="join", room="demo", name="Bob")
        assert refused["code"] == "room-full"


async def test_a_self_signed_certificate_is_announced_and_served() -> None:
    async with run_server("--tls", "self-signed") as server, open_session() as session:
        assert server.url.startswith("https://localhost")
        await server.wait_output("SHA-256")
        text = "\n".join(server.output)
        der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", server.port)))
        assert hashlib.sha256(der).hexdigest().upper() in text.replace(":", "")
        async with connect(session, server) as client:
            await client.join()
            await client.ask(type="leave")
            assert await client.receive_close() == 1000


async def test_open_to_all_it_says_so_and_where_a_camera_will_not_work() -> None:
    async with run_server("--host", "0.0.0.0", "--open") as server:
        await server.wait_output("Anyone who reaches these addresses may join")
        await server.wait_output("only over HTTPS")


async def test_on_this_machine_alone_no_camera_is_warned_of() -> None:
    async with run_server() as server:
        server.send_signal()
        assert await server.wait() == 0
        assert "HTTPS" not in "\n".join(server.output)


async def _send(server: ServerProcess, request: bytes, *, end: bool = False) -> bytes:
    """Send what may be no request, and that there is no more; what comes back first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        if end:
            writer.write_eof()
        return await reader.read(4096)
    finally:
        writer.close()


async def test_a_request_that_is_none_is_refused_and_quoted_in_no_log() -> None:
    requests = [
        b"GET /api/rooms HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer hush\x01\r\n\r\n",
        b"GET /api/rooms HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + b"hush" * 3000,
        b"GET /?token=hush\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HUSH! hush\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 4"
        b"\r\n\r\nhush",
    ]
    async with run_server("--log-format", "json", "--log-level", "debug") as server:
        for request in requests:
            assert (await _send(server, request)).split()[1] == b"400"
        half = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhush"
        await _send(server, half, end=True)
        server.send_signal()
        assert await server.wait() == 0
    lines = [json.loads(line) for line in server.log]
    assert "hush" not in "\n".join(server.log)
    assert not [line for line in lines if line["level"] == "error" or "exception" in line]


async def test_no_description_token_or_secret_reaches_the_log() -> None:
    arguments = ["--log-format", "json", "--log-level", "debug"]
    async with run_server(*arguments) as server, open_session() as session:
        async with connect(session, server) as ada, connect(session, server) as bob:
            await ada.ask(type="join", room="!", name="Ada", token="hush-token")
            await ada.ask(type="join", room="demo", name="Ada", token="hush-token")
            secrets = []
            await bob.join(name="Bob")
            secrets.append(bob.session)
            await ada.ask(type="offer", to=bob.participant, sdp="v=0 hush-sdp")
            await bob.receive_type("offer")
            candidate = {"candidate": "hush-candidate", "sdpMid": "0"}
            await ada.ask(type="candidate", to=bob.participant, candidate=candidate)
            await ada.ask(type="chat", content="hush-chat")
            await ada.ask(type="update", metadata={"key": "hush-metadata"})
            await ada.socket.send_str('{"type":"resume","session":"hush-session"}')
            await bob.ask(type="leave")
        async with connect(session, server) as again:
            await again.ask(type="resume", session="s_hush-resume", seq=0)
        server.send_signal()
        assert await server.wait() == 0
    lines = [json.loads(line) for line in server.log]
    text = "\n".join(server.log)
    assert "hush" not in text
    assert not [secret for secret in secrets if secret in text]
    joined = [line for line in lines if line["message"] == "participant joined"]
    assert [line["room"] for line in joined] == ["demo", "demo"]
    assert {line["participant"] for line in joined} >= {bob.participant}
    assert not [line for line in lines if line["level"] == "error"]
