"""A real server's life: settings, addresses, TLS, draining, signals, exit codes, its log."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError

from tests.support.processes import (
    PATIENCE,
    ROOT,
    ServerProcess,
    connect,
    open_session,
    run_server,
    spawn,
)


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


async def test_a_reload_that_comes_before_the_server_is_up_does_not_end_it() -> None:
    """A service manager may send it as soon as there is a process."""
    server = await spawn("--port", "0", "--relay-workers", "0")
    while server.process.returncode is None and not server.output:
        with contextlib.suppress(ProcessLookupError):
            if _runs_python(server.process.pid):
                server.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.02)
    await server.wait_ready()
    server.send_signal()
    assert await server.wait() == 0


def _runs_python(pid: int) -> bool:
    """True once the interpreter has come to our first line: SIGHUP is caught."""
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGHUP - 1) & 1)


async def test_the_service_manager_is_told_of_start_reload_and_stop(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()

        async def receive() -> str:
            async with asyncio.timeout(PATIENCE):
                return (await loop.sock_recv(sock, 4096)).decode()

        async with run_server(environ={"NOTIFY_SOCKET": str(path)}) as server:
            assert await receive() == "READY=1"
            server.send_signal(signal.SIGHUP)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", await receive())
            assert await receive() == "READY=1"
            server.send_signal()
            assert await receive() == "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000"
            assert await server.wait() == 0


async def test_when_files_run_out_it_says_so_and_serves_those_that_are_in() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))"
    code = f"{limit}; import sys; sys.argv = ['tandem', *sys.argv[1:]];"
    code += " from signaling.__main__ import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        "--port",
        "0",
        "--relay-workers",
        "0",
        "--log-format",
        "json",
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    server = ServerProcess(process)
    try:
        await server.wait_ready()
        await server.wait_log("the limit of open files is low")
        async with open_session() as session, connect(session, server) as ada:
            await ada.join(name="Ada")
            pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(60)]
            await server.wait_log("out of files")
            assert (await ada.ask(type="chat", content="still here"))["type"] == "ok"
            for _, writer in pairs:
                writer.transport.abort()
            async with session.get(server.url + "/metrics") as response:
                text = await response.text()
            assert 'signaling_connections_refused_total{reason="files"} 0.0' not in text
        assert len([line for line in server.log if "out of files" in line]) == 1
    finally:
        await server.stop()


async def test_it_says_its_version() -> None:
    server = await spawn("--version")
    assert await server.wait() == 0
    assert re.fullmatch(r"tandem-rtc \d+(\.\d+)*", server.output[0])
