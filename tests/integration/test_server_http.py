"""Pages, health, metrics and the operations API of a real server."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from signaling.access import tokens
from signaling.protocol.messages import Grant
from tests.support.processes import PATIENCE, ServerProcess, connect, open_session, run_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with run_server() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/?room=demo", "/static/example/", "/static/index.html"])
async def test_the_page_is_there_under_a_strict_policy(
    server: ServerProcess, session: ClientSession, path: str
) -> None:
    async with session.get(server.url + path) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert f"ws://localhost:{server.port}" in policy
        assert "frame-ancestors 'self'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "camera=(self)" in response.headers["Permissions-Policy"]
        assert response.headers["Cache-Control"] == "no-cache"


async def test_modules_have_the_type_that_browsers_insist_on(
    server: ServerProcess, session: ClientSession
) -> None:
    async with session.get(server.url + "/static/js/main.js") as response:
        assert (response.status, response.content_type) == (200, "text/javascript")


async def test_a_file_that_has_not_changed_is_not_sent_again(
    server: ServerProcess, session: ClientSession
) -> None:
    async with session.get(server.url + "/") as response:
        tag = response.headers["ETag"]
    async with session.get(server.url + "/", headers={"If-None-Match": tag}) as response:
        assert response.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/js/",
        "/static/js",
        "/static/none.js",
        "/static/../pyproject.toml",
        "/static/%2e%2e/pyproject.toml",
        "/static/..%2fpyproject.toml",
        "/static//etc/passwd",
        "/static/%00",
        "/static/" + "x" * 300,
        "/none",
        "/api/none",
    ],
)
async def test_what_is_not_there_is_a_404_in_json(server: ServerProcess, path: str) -> None:
    # By hand, for a client library would tidy the path.
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404")
    assert b'"code":"not-found"' in answer
    assert b"nosniff" in answer


async def test_a_wrong_method_is_a_405_that_says_which_are_right(
    server: ServerProcess, session: ClientSession
) -> None:
    async with session.post(server.url + "/healthz") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert (await response.json())["code"] == "method-not-allowed"


async def test_it_is_alive_and_ready(server: ServerProcess, session: ClientSession) -> None:
    async with session.get(server.url + "/healthz") as response:
        assert await response.json() == {"status": "ok"}
    async with session.get(server.url + "/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready", "reasons": []})


async def test_metrics_count_what_happens(server: ServerProcess, session: ClientSession) -> None:
    async def read() -> dict[str, float]:
        async with session.get(server.url + "/metrics") as response:
            assert response.content_type == "text/plain"
            text = await response.text()
        return {
            s.name + "".join(f" {v}" for v in s.labels.values()): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
        }

    async with connect(session, server) as client:
        await client.join("counted")
        await client.socket.send_str("nonsense")
        await client.receive_type("error")
        seen = await read()
        assert seen["signaling_connections"] == 1
        assert seen["signaling_rooms"] == 1
        assert seen["signaling_participants"] == 1
        assert seen["signaling_messages_received_total join"] == 1
        assert seen["signaling_errors_total bad-request"] == 1
        assert "signaling_relay_latency_seconds_count" in seen
        await client.ask(type="leave")
        await client.receive_close()
    async with asyncio.timeout(PATIENCE):
        while (await read())["signaling_connections"]:
            pass
    assert (await read())["signaling_closes_total 1000"] == 1


async def test_rooms_are_listed_shown_and_closed(
    server: ServerProcess, session: ClientSession
) -> None:
    async with connect(session, server) as ada, connect(session, server) as bob:
        await ada.join("ops", "Ada")
        await bob.join("ops", "Bob")
        async with session.get(server.url + "/api/rooms") as response:
            rooms = (await response.json())["rooms"]
        assert [room["name"] for room in rooms if room["name"] == "ops"] == ["ops"]
        async with session.get(server.url + "/api/rooms/ops") as response:
            shown = await response.json()
        assert [p["name"] for p in shown["participants"]] == ["Ada", "Bob"]
        assert ada.session not in str(shown)
        url = f"{server.url}/api/rooms/ops/participants/{bob.participant}"
        async with session.delete(url) as response:
            assert response.status == 204
        assert await bob.receive_close() == 4403
        async with session.delete(url) as response:
            assert (response.status, (await response.json())["code"]) == (
                404,
                "unknown-participant",
            )
        async with session.delete(server.url + "/api/rooms/ops") as response:
            assert response.status == 204
        left = await ada.receive_type("participant-left")
        assert left["reason"] == "kicked"
        await ada.receive_close()
        async with session.get(server.url + "/api/rooms/ops") as response:
            assert response.status == 404


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"X-Forwarded-For": "203.0.113.7"}, {"Forwarded": "for=1.2.3.4"}],
)
async def test_without_a_key_only_this_machine_may_operate(
    server: ServerProcess, session: ClientSession, headers: dict[str, str]
) -> None:
    async with session.get(server.url + "/api/rooms", headers=headers) as response:
        assert (response.status, (await response.json())["code"]) == (403, "forbidden")


async def test_only_a_get_opens_a_websocket(server: ServerProcess, session: ClientSession) -> None:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with session.head(server.url + "/ws", headers=headers) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")


async def test_a_host_that_is_none_gets_into_no_header(
    server: ServerProcess, session: ClientSession
) -> None:
    headers = {"Host": "a; script-src *"}
    async with session.get(server.url + "/", headers=headers) as response:
        assert "script-src" not in response.headers["Content-Security-Policy"]


async def test_metrics_are_made_once_a_second_and_have_every_label_from_the_start(
    session: ClientSession,
) -> None:
    """So that the first time that something happens is an increase, too."""
    async with run_server() as server:
        async with session.get(server.url + "/metrics") as response:
            first = await response.text()
        async with session.get(server.url + "/none") as response:
            assert response.status == 404
        async with session.get(server.url + "/metrics") as response:
            assert await response.text() == first
    for line in (
        'signaling_errors_total{code="unauthorized"} 0.0',
        'signaling_closes_total{code="4429"} 0.0',
        'signaling_connections_refused_total{reason="files"} 0.0',
        'signaling_limited_total{reason="banned"} 0.0',
        'signaling_messages_received_total{type="join"} 0.0',
        'signaling_dropped_total{reason="outbox"} 0.0',
    ):
        assert line in first
    assert "signaling_build_info{" in first
    assert "signaling_loop_lag_seconds_bucket" in first
    assert "signaling_loop_longest_lag_seconds" in first


async def test_metrics_may_have_a_port_of_their_own_and_a_token(
    session: ClientSession, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("let-me-see\n")
    arguments = ["--metrics-port", "0", "--metrics-token-file", str(token)]
    async with run_server(*arguments, "--log-format", "json") as server:
        async with session.get(server.url + "/metrics") as response:
            assert response.status == 404
        await server.wait_log("metrics served")
        line = next(json.loads(line) for line in server.log if "metrics served" in line)
        url = f"http://127.0.0.1:{line['port']}/metrics"
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer nonsense"}, 401),
            ({"Authorization": "Bearer let-me-see"}, 200),
        ):
            async with session.get(url, headers=headers) as response:
                assert response.status == status
        token.write_text("another")
        server.send_signal(signal.SIGHUP)
        await server.wait_log("secrets reloaded")
        async with session.get(url, headers={"Authorization": "Bearer another"}) as response:
            assert response.status == 200
        async with session.get(f"http://127.0.0.1:{line['port']}/api/rooms") as response:
            assert response.status == 404


async def test_a_page_whose_name_was_made_to_point_here_opens_no_websocket(
    server: ServerProcess, session: ClientSession
) -> None:
    """DNS rebinding: its Origin is its Host, and neither is ours."""
    headers = {"Host": "rebound.example", "Origin": "http://rebound.example"}
    with pytest.raises(WSServerHandshakeError) as caught:
        await session.ws_connect(server.ws_url, headers=headers)
    assert caught.value.status == 403
    for host in ("localhost", "127.0.0.1:1", "call.localhost:8443"):
        async with session.ws_connect(server.ws_url, headers={"Host": host}) as socket:
            assert not socket.closed


async def test_rooms_show_identity_and_metadata_and_one_may_be_removed_by_identity(
    session: ClientSession,
) -> None:
    secret = "a secret of more than thirty-two characters"
    key = ("key", secret)

    def mint(identity: str, *, moderate: bool = False, room: str = "ops") -> str:
        grant = Grant(moderate=moderate)
        return tokens.mint(
            key, room=room, identity=identity, wall=time.time(), ttl=600, grant=grant
        )

    environ = {"SIGNALING_API_KEY": f"key:{secret}"}
    admin = {"Authorization": f"Bearer {mint('root', moderate=True)}"}
    async with (
        run_server(environ=environ) as server,
        connect(session, server) as ada,
        connect(session, server) as bob,
    ):
        await ada.join("ops", "Ada", token=mint("ada@example.org"), metadata={"seat": 7})
        await bob.join("ops", "Bob", token=mint("bob"))
        url = f"{server.url}/api/rooms/ops"
        async with session.get(url, headers=admin) as response:
            people = (await response.json())["participants"]
        assert [(p["identity"], p["metadata"]) for p in people] == [
            ("ada@example.org", {"seat": 7}),
            ("bob", {}),
        ]
        for identity, status in (("nobody", 404), ("ada%40example.org", 204), ("ada", 404)):
            target = URL(f"{url}/identities/{identity}", encoded=True)
            async with session.delete(target, headers=admin) as response:
                assert response.status == status
        assert await ada.receive_close() == 4403
        # Administering one room is no right in another.
        other = {"Authorization": f"Bearer {mint('root', moderate=True, room='other')}"}
        async with session.delete(f"{url}/identities/bob", headers=other) as response:
            assert response.status == 403
