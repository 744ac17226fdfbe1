"""The doctor in a room of a real server: the relay, what it advertises, TURN as given out."""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import sys
import time
from pathlib import Path

import pytest

from signaling.access import tokens
from signaling.doctor import command, relay
from signaling.doctor.relay import check_advertised
from signaling.doctor.report import Finding, Status
from signaling.http.tls import make_certificate
from signaling.protocol.messages import Grant
from tests.support.coturn import SECRET, running_coturn
from tests.support.processes import PATIENCE, ROOT, ServerProcess, run_server

KEY = ("doctors", "a secret of more than thirty-two characters")


async def examine(server: ServerProcess, *arguments: str) -> dict[str, Finding]:
    options = ["--url", server.url, "--max-connections", "100", *arguments]
    examination = command.Examination(command.make_parser().parse_args(options))
    return {finding.check: finding async for finding in examination.examine()}


def mint(identity: str = "", **grant: bool) -> str:
    return tokens.mint(
        KEY, room="doctor", identity=identity, wall=time.time(), ttl=600, grant=Grant(**grant)
    )


async def test_a_relay_in_order_is_found_so_and_the_command_says_it() -> None:
    async with run_server(relay=True) as server:
        found = await examine(server)
        wanted = dict.fromkeys(["join", "advertised", "udp", "relay"], Status.OK)
        assert {check: found[check].status for check in wanted} == wanted
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "signaling",
                "doctor",
                "--url",
                server.url,
                "--idle",
                "0.3",
                "--json",
            ),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
        assert process.returncode == 0
        findings = json.loads(output)
        statuses = {finding["check"]: finding["status"] for finding in findings}
        assert (statuses["relay"], statuses["idle"]) == ("ok", "ok")
        assert all(finding["status"] != "failure" for finding in findings)


async def test_a_server_that_is_not_there_is_an_exit_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signaling", "doctor", "--url", f"http://localhost:{port}"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"refuses connections" in output
    assert b"1 to repair" in output


async def test_a_missing_token_is_named() -> None:
    async with run_server(environ={"SIGNALING_API_KEY": ":".join(KEY)}) as server:
        found = await examine(server)
        assert found["join"].status is Status.FAILURE
        assert "--token" in found["join"].advice
        assert "relay" not in found
        assert (await examine(server, "--token", mint()))["join"].status is Status.OK


async def test_a_lobby_in_which_nobody_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 1.0)
    environ = {"SIGNALING_API_KEY": ":".join(KEY), "SIGNALING_LOBBY": "true"}
    async with run_server(environ=environ) as server:
        found = await examine(server, "--token", mint())
        assert found["join"].status is Status.FAILURE
        assert "lobby" in found["join"].advice


async def test_a_server_without_a_relay_is_a_warning() -> None:
    async with run_server() as server:
        assert (await examine(server))["relay"].status is Status.WARNING


async def test_a_relay_that_udp_does_not_reach_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MEDIA_PATIENCE", 3.0)
    # Nobody listens there: as if a firewall were between.
    async with run_server("--public-ip", "127.0.0.9", relay=True) as server:
        found = await examine(server)
        assert found["udp"].status is Status.FAILURE
        assert f"Open {server.port}/udp" in found["udp"].advice
        assert "127.0.0.9" in found["udp"].says
        assert "relay" not in found


async def test_media_that_do_not_come_back_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MEDIA_PATIENCE", 2.0)
    environ = {"SIGNALING_API_KEY": ":".join(KEY)}
    async with run_server(relay=True, environ=environ) as server:
        found = await examine(server, "--token", mint(subscribe=False))
        assert found["udp"].status is Status.OK
        assert found["relay"].status is Status.FAILURE


@pytest.mark.parametrize(
    ("advertised", "addresses", "status", "advice"),
    [
        (["10.0.0.5"], ["198.18.0.1", "1.1.1.1"], Status.FAILURE, "--public-ip 1.1.1.1"),
        (["10.0.0.5", "127.0.0.1"], ["1.1.1.1"], Status.FAILURE, "--public-ip 1.1.1.1"),
        (["127.0.0.1"], ["192.168.1.7"], Status.FAILURE, "--host 0.0.0.0"),
        (["8.8.8.8"], ["1.1.1.1"], Status.WARNING, "correct --public-ip"),
        (["1.1.1.1", "10.0.0.5"], ["1.1.1.1"], Status.OK, ""),
        (["192.168.1.7"], ["192.168.1.7"], Status.OK, ""),
        (["127.0.0.1"], ["127.0.0.1", "::1"], Status.OK, ""),
        (["2606:4700::1"], ["2606:4700::1"], Status.OK, ""),
    ],
)
def test_what_is_advertised_is_compared_with_where_the_server_is(
    advertised: list[str], addresses: list[str], status: Status, advice: str
) -> None:
    finding = check_advertised(advertised, addresses)
    assert finding.status is status
    assert advice in finding.advice


@pytest.mark.needs("turnserver")
@pytest.mark.parametrize("secret", [SECRET, "another secret"])
async def test_turn_is_tried_as_the_server_gives_it_out(tmp_path: Path, secret: str) -> None:
    made = make_certificate([], ["127.0.0.1"], datetime.datetime.now(datetime.UTC))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.chain)
    key.write_bytes(made.key)
    async with running_coturn(tmp_path, cert=cert, key=key) as coturn:
        arguments = ["--turn-url", coturn.url("udp"), "--turn-secret", secret]
        async with run_server(*arguments) as server:
            found = (await examine(server))["turn"]
    assert found.status is (Status.OK if secret == SECRET else Status.FAILURE)
    assert secret not in found.says + found.advice
