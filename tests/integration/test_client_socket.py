"""The client over real sockets, at a real server."""

from __future__ import annotations

import asyncio

import pytest

from signaling.client import (
    Client,
    Disconnected,
    Reconnected,
    Rejoined,
    RoomUnknown,
    ServerUnreachable,
    TokenRefused,
)
from signaling.protocol import messages
from tests.support.bots import Proxy, http_url, serve, until
from tests.support.browser import free_port


async def test_two_clients_talk() -> None:
    async with (
        serve(relay=False) as server,
        Client(http_url(server), room="demo", name="Ada") as ada,
        Client(http_url(server), room="demo", name="Bob") as bob,
    ):
        said: list[str] = []
        bob.on(messages.ChatFrom, lambda chat: said.append(chat.content))
        await ada.chat("hello")
        await until(lambda: said == ["hello"])


async def test_a_cut_connection_is_resumed_with_nothing_lost() -> None:
    async with (
        serve(relay=False) as server,
        Proxy(server.port) as proxy,
        Client(http_url(server), room="demo", name="Ada") as ada,
        Client(proxy.url, room="demo", name="Bob") as bob,
    ):
        said: list[str] = []
        states: list[type] = []
        bob.on(messages.ChatFrom, lambda chat: said.append(chat.content))
        for kind in (Disconnected, Reconnected, Rejoined):
            bob.on(kind, lambda event: states.append(type(event)))
        proxy.cut()
        await until(lambda: not bob.connected)
        for n in range(5):
            await ada.chat(str(n))
        proxy.mend()
        await bob.chat("back")
        await until(lambda: len(said) == 6)
        assert said == ["0", "1", "2", "3", "4", "back"]
        assert states == [Disconnected, Reconnected]


async def test_a_server_that_restarts_is_joined_again() -> None:
    port = str(free_port())
    async with (
        serve("--port", port, relay=False) as server,
        Client(http_url(server), room="demo", name="Ada") as ada,
    ):
        rejoined: list[Rejoined] = []
        ada.on(Rejoined, rejoined.append)
        await server.stop()
        async with serve("--port", port, relay=False):
            await until(lambda: rejoined)
            await ada.chat("hello again")


async def test_what_goes_wrong_has_names_and_leaves_nothing_running() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ServerUnreachable):
        await Client(f"http://127.0.0.1:{free_port()}", room="demo", name="Ada").start()
    with pytest.raises(ServerUnreachable):
        await Client("http://no.such.host.invalid", room="demo", name="Ada").start()
    for impossible in ("http://a..b", f"http://{70 * 'a'}.invalid", "http://[::1", "http://a:x"):
        with pytest.raises(ServerUnreachable):
            await Client(impossible, room="demo", name="Ada").start()
    with pytest.raises(RoomUnknown):
        await Client("http://127.0.0.1:1", room="no room", name="Ada").start()
    assert asyncio.all_tasks() == before


async def test_a_server_that_asks_for_a_token_refuses_a_wrong_one() -> None:
    async with serve("--api-key", "test:" + 40 * "s", relay=False) as server:
        for token in (None, "x.y.z"):
            with pytest.raises(TokenRefused):
                await Client(http_url(server), room="demo", name="Ada", token=token).start()


async def test_certificates_are_checked_unless_told_otherwise() -> None:
    async with serve("--tls", "self-signed", relay=False) as server:
        url = http_url(server).replace("http:", "https:")
        with pytest.raises(ServerUnreachable, match="certificate"):
            await Client(url, room="demo", name="Ada").start()
        async with Client(url, room="demo", name="Ada", ssl=False) as ada:
            await ada.chat("hello")
