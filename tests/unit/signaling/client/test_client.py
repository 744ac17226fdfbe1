"""The client against a real hub, in virtual time."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from signaling.access.tokens import Access
from signaling.client import (
    Client,
    ClientError,
    Disconnected,
    Event,
    FellBehind,
    Kicked,
    NotConnected,
    Reconnected,
    Refused,
    Rejoined,
    Replaced,
    RoomFull,
    RoomLocked,
    RoomUnknown,
    ServerUnreachable,
    SessionLost,
    TokenRefused,
)
from signaling.client.session import CONNECT_TIMEOUT
from signaling.client.socket import BACKOFF_MAX, backoff, websocket_url
from signaling.protocol import messages
from signaling.protocol.errors import ProtocolError
from tests.support.virtual_loop import VirtualHub, run_virtually, until

Scenario = Callable[[VirtualHub], Coroutine[Any, Any, None]]


def play(scenario: Scenario, **options: Any) -> None:
    async def run() -> None:
        await scenario(VirtualHub(**options))

    run_virtually(run())


def collect(client: Client) -> list[Event]:
    events: list[Event] = []
    client.on_any(events.append)
    return events


def of_type(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# -- Joining ----------------------------------------------------------------------------


def test_a_client_joins_and_learns_who_is_there() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada", metadata={"mood": "fine"}), hub.client("Bob") as bob:
            (ada,) = bob.participants.values()
            assert (ada.name, ada.metadata, ada.elder) == ("Ada", {"mood": "fine"}, True)
            assert bob.id.startswith("p_")
            assert bob.connected

    play(scenario)


def test_participants_come_change_and_go() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada:
            async with hub.client("Bob") as bob:
                await until(lambda: ada.participants)
                assert ada.participants[bob.id].elder is False
                await bob.update(name="Robert", metadata={"x": 1})
                await until(lambda: ada.participants[bob.id].name == "Robert")
                assert ada.participants[bob.id].metadata == {"x": 1}
            await until(lambda: not ada.participants)

    play(scenario)


def test_a_lobby_is_waited_in_for_as_long_as_it_takes() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada:
            await ada.request(messages.SetLobby(enabled=True))
            knocks: list[messages.KnockInfo] = []
            ada.on(messages.KnockInfo, knocks.append)
            bob, eve = hub.client("Bob"), hub.client("Eve")
            joining = [asyncio.create_task(one.start()) for one in (bob, eve)]
            await until(lambda: len(knocks) == 2)
            await asyncio.sleep(150)
            assert not any(task.done() for task in joining)
            named = {knock.name: knock.knock for knock in knocks}
            await ada.request(messages.Admit(knock=named["Bob"]))
            await joining[0]
            assert bob.connected
            await ada.request(messages.Decline(knock=named["Eve"]))
            with pytest.raises(Refused, match="forbidden"):
                await joining[1]
            await bob.close()

    play(scenario)


@pytest.mark.parametrize("name", ["", "no spaces", "a" * 65, "käse", "line\n"])
def test_a_room_that_cannot_be_is_refused_before_connecting(name: str) -> None:
    async def scenario(hub: VirtualHub) -> None:
        with pytest.raises(RoomUnknown):
            await hub.client(room=name).start()
        assert hub.attempts == []

    play(scenario)


def test_nobody_at_the_address_is_told_at_once() -> None:
    async def scenario(hub: VirtualHub) -> None:
        hub.down = True
        with pytest.raises(ServerUnreachable, match="refused"):
            await hub.client().start()
        assert len(hub.attempts) == 1

    play(scenario)


def test_a_refused_token_has_its_own_error() -> None:
    def authorize(token: str | None, room: str) -> Access:
        raise ProtocolError("unauthorized", f"{token} is not for {room}.")

    async def scenario(hub: VirtualHub) -> None:
        with pytest.raises(TokenRefused, match="not for demo"):
            await hub.client(token="x").start()

    play(scenario, authorize=authorize)


def test_a_full_room_has_its_own_error() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client():
            with pytest.raises(RoomFull):
                await hub.client().start()

    play(scenario, max_participants=1)


def test_a_locked_room_has_its_own_error() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as first:
            await first.request(messages.Lock(locked=True))
            with pytest.raises(RoomLocked):
                await hub.client().start()

    play(scenario)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("http://localhost:8443", "ws://localhost:8443/ws"),
        ("https://call.example/", "wss://call.example/ws"),
        ("wss://call.example/ws", "wss://call.example/ws"),
        ("http://call.example/sub", "ws://call.example/sub/ws"),
    ],
)
def test_the_websocket_is_found_from_the_server_s_address(server: str, url: str) -> None:
    assert websocket_url(server) == url


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ServerUnreachable, match="localhost"):
        websocket_url("localhost:8443")


# -- Requests and events ----------------------------------------------------------------


def test_a_request_gets_its_reply_and_a_refusal_its_code() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            assert isinstance(await client.request(messages.Chat(content="hi")), messages.Ok)
            with pytest.raises(Refused) as caught:
                await client.request(messages.Chat(content="hi", to="p_nobody"))
            assert caught.value.code == "unknown-participant"

    play(scenario)


def test_a_request_over_the_rate_is_sent_again_when_it_may_be() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            await asyncio.gather(*(client.chat(str(n)) for n in range(8)))

    play(scenario, message_rate=2, message_burst=4)


def test_events_come_typed_and_in_order_to_every_reader() -> None:
    async def read(client: Client) -> list[str]:
        said: list[str] = []
        async for event in client.events():
            if isinstance(event, messages.ChatFrom):
                said.append(event.content)
                if event.content == "9":
                    break
        return said

    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as ada, hub.client() as bob:
            readers = [asyncio.create_task(read(bob)) for _ in range(2)]
            heard: list[str] = []
            remove = bob.on(messages.ChatFrom, lambda event: heard.append(event.content))
            await asyncio.sleep(0)
            for n in range(10):
                await ada.chat(str(n))
            expected = [str(n) for n in range(10)]
            assert await asyncio.gather(*readers) == [expected, expected]
            assert heard == expected
            remove()
            await ada.chat("more")
            await asyncio.sleep(1)
            assert heard == expected

    play(scenario)


def test_a_reader_that_falls_behind_is_told_and_the_others_go_on() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            slow = client.events()
            waiting = asyncio.ensure_future(anext(slow))
            await asyncio.sleep(0)
            for n in range(2100):
                await client.chat(str(n))
            await waiting
            with pytest.raises(FellBehind):
                async for _ in slow:
                    pass
            await client.chat("still here")

    play(scenario, message_burst=100_000, broadcast_burst=100_000)


def test_events_are_kept_from_when_they_are_asked_for() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            events = client.events()
            client.events()  # Nobody reads these, and nothing keeps them.
            await client.chat("hi")
            said = [event async for event in _only(messages.ChatFrom, events, count=1)]
            assert [chat.content for chat in said] == ["hi"]
            assert len(client._events._readers) == 1
            await events.aclose()

    play(scenario)


async def _only(kind: type, events: AsyncIterator[Event], *, count: int) -> AsyncIterator[Any]:
    async for event in events:
        if isinstance(event, kind):
            yield event
            count -= 1
        if not count:
            return


def test_what_an_update_was_refused_for_is_not_said_again_when_joining_anew() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada", metadata={"mood": "fine"}) as client:
            with pytest.raises(Refused, match="metadata"):
                await client.update(name="Eve", metadata={"mood": "x" * 4000})
            assert (client.name, client.metadata) == ("Ada", {"mood": "fine"})
            events = collect(client)
            hub.restart()
            await until(lambda: of_type(events, Rejoined))

    play(scenario)


def test_a_handler_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            heard: list[str] = []
            client.on(messages.ChatFrom, lambda event: int(event.content))
            client.on(messages.ChatFrom, lambda event: heard.append(event.content))
            await client.chat("hi")
            await until(lambda: heard)

    play(scenario)
    assert "a handler of ChatFrom failed" in caplog.text


def test_what_a_newer_server_says_is_passed_over_and_counted() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            socket = hub.sockets[0]
            seq = client._session.seq
            socket.deliver(b'{"type":"from-the-future","seq":%d,"x":[]}' % (seq + 1))
            socket.deliver(b"no JSON at all")
            socket.deliver(b'{"type":"speakers","seq":%d,"speakers":[]}' % (seq + 2))
            await until(lambda: client._session.seq == seq + 2)
            assert client.connected

    play(scenario)


# -- Losing the connection --------------------------------------------------------------


def test_after_a_cut_the_session_goes_on_and_nothing_is_lost_or_doubled() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:
            events = collect(bob)
            id = bob.id
            await ada.chat("before")
            hub.sockets[1].break_off()
            await ada.chat("meanwhile")
            await until(lambda: of_type(events, Reconnected))
            await ada.chat("after")
            await until(lambda: len(of_type(events, messages.ChatFrom)) == 3)
            said = [event.content for event in of_type(events, messages.ChatFrom)]
            assert said == ["before", "meanwhile", "after"]
            assert of_type(events, Disconnected) == [Disconnected(1006)]
            assert bob.id == id

    play(scenario)


def test_a_request_whose_reply_was_lost_is_repeated_and_carried_out_once() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:
            events = collect(bob)
            hub.sockets[0].lossy = True
            saying = asyncio.create_task(ada.chat("once"))
            await until(lambda: of_type(events, messages.ChatFrom))
            assert not saying.done()
            hub.sockets[0].break_off()
            await saying
            await asyncio.sleep(5)
            assert len(of_type(events, messages.ChatFrom)) == 1

    play(scenario)


def test_a_request_made_without_a_connection_waits_for_it() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            hub.down = True
            hub.sockets[0].break_off()
            await until(lambda: not client.connected)
            saying = asyncio.create_task(client.chat("late"))
            await asyncio.sleep(5)
            assert not saying.done()
            hub.down = False
            await saying

    play(scenario)


def test_attempts_come_ever_slower_and_start_afresh_after_a_success() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            hub.down = True
            hub.sockets[0].break_off()
            await asyncio.sleep(20)
            gaps = [b - a for a, b in zip(hub.attempts[1:], hub.attempts[2:], strict=False)]
            assert gaps[:4] == pytest.approx([0.301, 0.601, 1.201, 2.401], abs=0.01)
            assert max(gaps) <= BACKOFF_MAX
            hub.down = False
            await until(lambda: client.connected)
            tried = len(hub.attempts)
            hub.sockets[-1].break_off()
            await until(lambda: len(hub.attempts) > tried and client.connected)
            assert len(hub.attempts) == tried + 1

    play(scenario)


def test_backoff_has_jitter_of_half_and_a_ceiling() -> None:
    assert backoff(0, lambda: 0.0) == pytest.approx(0.1)
    assert backoff(0, lambda: 1.0) == pytest.approx(0.2)
    assert backoff(10_000, lambda: 1.0) == BACKOFF_MAX


def test_a_client_that_waited_too_long_gives_up() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client(patience=30.0) as client:
            hub.down = True
            hub.sockets[0].break_off()
            with pytest.raises(ServerUnreachable):
                async for _ in client.events():
                    pass
            with pytest.raises(ServerUnreachable):
                await client.chat("anyone?")

    play(scenario)


def test_a_server_that_answers_only_to_refuse_is_asked_ever_slower_and_given_up() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client(patience=30.0) as client:
            events = collect(client)
            hub.sockets[0].break_off()
            client._session.connect = refuse
            with pytest.raises(ServerUnreachable, match="draining"):
                async for _ in client.events():
                    pass
            assert 5 < attempts < 15
            assert len(of_type(events, Disconnected)) == 1

    attempts = 0

    async def refuse(_: str) -> _Refusing:
        nonlocal attempts
        attempts += 1
        return _Refusing()

    play(scenario)


class _Refusing:
    """A server that goes away, for every client that comes."""

    async def send(self, frame: bytes) -> None:
        """Nothing is made of it."""

    async def receive(self) -> bytes:
        await asyncio.sleep(0.001)
        return b'{"type":"error","code":"draining","message":"The server is going away."}'

    async def close(self) -> None:
        """Nothing to close."""


def test_a_server_that_never_answers_is_left_in_time() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async def connect(url: str) -> Any:
            socket = await hub.connect(url)
            socket.lossy = True
            return socket

        begun = asyncio.get_running_loop().time()
        with pytest.raises(ServerUnreachable, match="silent"):
            await hub.client(connect=connect).start()
        assert asyncio.get_running_loop().time() - begun == pytest.approx(CONNECT_TIMEOUT, abs=0.1)

    play(scenario)


def test_a_fault_of_the_client_itself_ends_it_with_a_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(hub: VirtualHub) -> None:
        async def connect(url: str) -> Any:
            if hub.attempts:
                raise LookupError("on purpose")
            return await hub.connect(url)

        async with hub.client(connect=connect) as client:
            hub.sockets[0].break_off()
            with pytest.raises(ClientError, match="LookupError: on purpose"):
                await _read_to_the_end(client)
            with pytest.raises(ClientError, match="on purpose"):
                await client.chat("too late")

    play(scenario)
    assert "the client failed" in caplog.text


def test_a_server_that_restarted_is_joined_anew_and_the_loss_is_told() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:
            events = collect(bob)
            old = ada.id, bob.id
            hub.restart()
            await until(lambda: len(of_type(events, Rejoined)) == 1)
            await until(lambda: bob.participants)
            (rejoined,) = of_type(events, Rejoined)
            assert [one.id for one in rejoined.gone] == [old[0]]
            assert bob.id != old[1]
            assert {one.name for one in bob.participants.values()} == {"Ada"}
            await bob.chat("hello again")

    play(scenario)


def test_requests_of_a_lost_session_are_not_repeated_in_the_next() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            hub.sockets[0].lossy = True
            saying = asyncio.create_task(client.chat("lost"))
            await asyncio.sleep(1)
            hub.restart()
            with pytest.raises(SessionLost):
                await saying

    play(scenario)


def test_a_server_that_drains_is_resumed_at() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            events = collect(client)
            id = client.id
            hub.sockets[0].break_off(1001, "draining")
            await until(lambda: of_type(events, Reconnected))
            assert client.id == id

    play(scenario)


def test_a_server_that_went_away_is_asked_often_for_a_minute() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client(patience=300.0) as client:
            hub.sockets[0].break_off(1001, "draining")
            client._session.connect = refuse
            await asyncio.sleep(50)
            pauses = [b - a for a, b in itertools.pairwise(attempts)]
            assert max(pauses) <= 0.5
            # One that has not come back by then may be gone for long.
            await asyncio.sleep(100)
            assert 4.0 < attempts[-1] - attempts[-2] <= 8.0

    attempts: list[float] = []

    async def refuse(_: str) -> _Refusing:
        attempts.append(asyncio.get_running_loop().time())
        raise ConnectionRefusedError

    play(scenario)


def test_a_silent_server_is_left_after_two_heartbeats() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            events = collect(client)
            begun = asyncio.get_running_loop().time()
            hub.sockets[0].lossy = True
            await until(lambda: of_type(events, Reconnected), within=300)
            assert asyncio.get_running_loop().time() - begun < 4 * 25

    play(scenario)


def test_heartbeats_measure_the_way_and_confirm_what_has_come() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            await client.chat("hi")
            await asyncio.sleep(26)
            sent = [json.loads(frame) for frame in hub.sockets[0].sent]
            (beat,) = (message for message in sent if message["type"] == "heartbeat")
            assert beat["seq"] == client._session.seq
            assert client.round_trip == pytest.approx(0, abs=0.01)

    play(scenario)


def test_a_burst_right_behind_joined_reaches_handlers_set_in_the_body() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async def connect(url: str) -> Any:
            socket = await hub.connect(url)
            deliver = socket.deliver

            def deliver_more(data: bytes) -> None:
                deliver(data)
                if b'"joined"' in data:
                    for n in range(1, 17):
                        knock = b'{"type":"knock","seq":%d,"knock":"k_%d","name":"Eve"}'
                        deliver(knock % (json.loads(data)["seq"] + n, n))

            socket.deliver = deliver_more  # type: ignore[method-assign]  # A hub in a hurry.
            return socket

        async with hub.client(connect=connect) as client:
            knocks: list[messages.KnockInfo] = []
            client.on(messages.KnockInfo, knocks.append)
            await until(lambda: len(knocks) == 16)

    play(scenario)


def test_a_coroutine_handler_runs_to_its_end_or_to_the_client_s(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(hub: VirtualHub) -> None:
        done: list[str] = []

        async def handle(event: messages.ChatFrom) -> None:
            await asyncio.sleep(100 if event.content == "slow" else 1)
            done.append(event.content)
            raise LookupError("on purpose")

        async with hub.client() as client:
            client.on(messages.ChatFrom, handle)
            await client.chat("hi")
            await client.chat("slow")
            await asyncio.sleep(2)
        assert done == ["hi"]

    play(scenario)
    assert "a handler of ChatFrom failed" in caplog.text


def test_a_coroutine_handler_may_close_the_client() -> None:
    async def scenario(hub: VirtualHub) -> None:
        client = hub.client()
        closed = asyncio.Event()

        async def leave(_: messages.ChatFrom) -> None:
            await client.close()
            closed.set()

        await client.start()
        client.on(messages.ChatFrom, leave)
        client.tell(messages.Chat(content="go"))
        await closed.wait()
        assert client.closed

    play(scenario)


@pytest.mark.parametrize("patience", [0.5, 7.0, 30.0])
def test_patience_is_kept_to_the_second(patience: float) -> None:
    async def scenario(hub: VirtualHub) -> None:
        loop = asyncio.get_running_loop()
        async with hub.client(patience=patience) as client:
            hub.down = True
            hub.sockets[0].break_off()
            lost = loop.time()
            await until(lambda: client.closed)
            assert loop.time() - lost == pytest.approx(patience, abs=0.02)

    play(scenario)


def test_patience_holds_for_a_server_that_takes_connections_and_says_nothing() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async def connect(url: str) -> Any:
            socket = await hub.connect(url)
            socket.lossy = True
            return socket

        begun = asyncio.get_running_loop().time()
        client = hub.client(connect=connect, patience=14.0, wait_for_server=True)
        with pytest.raises(ServerUnreachable):
            await client.start()
        assert asyncio.get_running_loop().time() - begun == pytest.approx(14.0, abs=0.02)

    play(scenario)


def test_a_server_that_comes_later_is_waited_for_when_asked() -> None:
    async def scenario(hub: VirtualHub) -> None:
        hub.down = True
        client = hub.client(wait_for_server=True)
        joining = asyncio.create_task(client.start())
        await asyncio.sleep(20)
        hub.down = False
        await joining
        assert client.connected
        await client.close()

    play(scenario)


def test_metadata_that_is_not_json_is_refused_before_connecting() -> None:
    async def scenario(hub: VirtualHub) -> None:
        with pytest.raises(ClientError, match="JSON"):
            await hub.client(metadata={"x": object()}).start()
        assert hub.attempts == []
        async with hub.client() as client:
            with pytest.raises(ClientError, match="JSON"):
                await client.update(name="Eve", metadata={"x": object()})
            assert (client.name, client.metadata) == ("Ada", {})

    play(scenario)


def test_a_client_joins_once() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            with pytest.raises(ClientError, match="once"):
                await client.start()
            assert client.connected

    play(scenario)


def test_a_moderator_kicks_locks_admits_declines_and_mutes() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:
            silenced = collect(bob)
            await ada.mute(bob.id)
            await until(lambda: of_type(silenced, messages.Silenced))
            with pytest.raises(Refused, match="forbidden"):
                await bob.kick(ada.id)
            await ada.lock()
            with pytest.raises(RoomLocked):
                await hub.client("Eve").start()
            await ada.lock(False)
            await ada.kick(bob.id, ban=True)
            await until(lambda: bob.closed)

    play(scenario)


# -- Networks that go and come -----------------------------------------------------------


def test_a_probe_finds_a_dead_connection_in_two_seconds_and_leaves_a_live_one() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            events = collect(client)
            await asyncio.sleep(5)
            client.probe()
            await asyncio.sleep(5)
            assert not of_type(events, Disconnected)
            hub.sockets[0].lossy = True
            client.probe()
            await asyncio.sleep(2)
            assert of_type(events, Reconnected)

    play(scenario)


def test_a_probe_ends_the_wait_for_the_next_attempt() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            hub.down = True
            hub.sockets[0].break_off()
            await asyncio.sleep(30)
            hub.down = False
            client.probe()
            await asyncio.sleep(0.1)
            assert client.connected

    play(scenario)


def test_a_network_that_is_gone_is_tried_twice_a_second() -> None:
    async def scenario(hub: VirtualHub) -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def connect(url: str) -> Any:
            times.append(loop.time())
            if 1 < len(times) < 60:
                raise OSError(errno.ENETUNREACH, "no route")
            return await hub.connect(url)

        async with hub.client(connect=connect) as client:
            hub.sockets[0].break_off()
            await until(lambda: len(times) == 60 and client.connected)
            assert max(b - a for a, b in itertools.pairwise(times)) <= 0.51

    play(scenario)


def test_an_attempt_that_nobody_answers_is_joined_by_another_after_a_second() -> None:
    async def scenario(hub: VirtualHub) -> None:
        loop = asyncio.get_running_loop()
        begun: list[float] = []
        back_at = loop.time() + 7.3

        async def connect(url: str) -> Any:
            """A first packet that is lost is sent again after 1, 2 and 4 seconds."""
            begun.append(loop.time())
            if len(begun) > 1:
                for wait in (0, 1, 2, 4):
                    await asyncio.sleep(wait)
                    if loop.time() > back_at:
                        break
                else:
                    raise TimeoutError
            return await hub.connect(url)

        async with hub.client(connect=connect) as client:
            hub.sockets[0].break_off()
            await until(lambda: client.connected and loop.time() > back_at)
            assert loop.time() < back_at + 2
            assert sum(socket.open for socket in hub.sockets) == 1

    play(scenario)


# -- The end ----------------------------------------------------------------------------


def test_a_client_that_was_kicked_is_told_so_and_stays_away() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as moderator, hub.client() as client:
            reader = asyncio.create_task(_read_to_the_end(client))
            await asyncio.sleep(0)
            await moderator.request(messages.Kick(participant=client.id))
            with pytest.raises(Kicked):
                await reader
            attempts = len(hub.attempts)
            await asyncio.sleep(60)
            assert len(hub.attempts) == attempts

    play(scenario)


def test_a_room_that_is_closed_ends_everyone_in_it() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as moderator, hub.client() as client:
            await moderator.request(messages.CloseRoom())
            await until(lambda: client.closed)
            assert isinstance(client.error, Kicked)

    play(scenario)


def test_a_session_that_was_taken_over_ends_here() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            thief = await hub.connect("ws://hub/ws")
            await thief.send(
                messages.encode(
                    messages.Resume(session=client._session.key or "", seq=client._session.seq)
                )
            )
            await until(lambda: client.closed)
            assert isinstance(client.error, Replaced)

    play(scenario)


def test_leaving_ends_events_without_an_error_and_tells_the_room() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as stays:
            events = collect(stays)
            async with hub.client() as leaves:
                reader = asyncio.create_task(_read_to_the_end(leaves))
                await asyncio.sleep(0)
            await reader
            await until(lambda: of_type(events, messages.ParticipantLeft))
            assert of_type(events, messages.ParticipantLeft)[0].reason == "left"
            with pytest.raises(NotConnected):
                await leaves.chat("too late")

    play(scenario)


def test_leaving_a_server_that_is_gone_does_not_wait_for_it() -> None:
    async def scenario(hub: VirtualHub) -> None:
        client = hub.client()
        await client.start()
        hub.sockets[0].lossy = True
        begun = asyncio.get_running_loop().time()
        await client.close()
        assert asyncio.get_running_loop().time() - begun < 5
        await client.close()

    play(scenario)


def test_being_cancelled_while_leaving_leaves_nothing_behind() -> None:
    async def scenario(hub: VirtualHub) -> None:
        client = hub.client()
        await client.start()
        hub.sockets[0].send = _swallow  # type: ignore[method-assign]
        await client.chat("the last that arrives")
        leaving = asyncio.create_task(client.close())
        await asyncio.sleep(1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert client.closed

    play(scenario)


async def _swallow(_: bytes) -> None:
    """What is sent never arrives."""


def test_being_cancelled_while_joining_leaves_nothing_behind() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async def connect(_: str) -> Any:
            await asyncio.Event().wait()

        joining = asyncio.create_task(hub.client(connect=connect).start())
        await asyncio.sleep(1)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining

    play(scenario)


def test_a_connection_that_is_never_made_times_out() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async def connect(_: str) -> Any:
            await asyncio.Event().wait()

        with pytest.raises(ServerUnreachable, match="timeout"):
            await hub.client(connect=connect).start()

    play(scenario)


def test_too_many_unanswered_requests_are_refused() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client() as client:
            hub.down = True
            hub.sockets[0].break_off()
            await until(lambda: not client.connected)
            for _ in range(512):
                client.tell(messages.Chat(content="x"))
            with pytest.raises(ClientError, match="512"):
                await client.chat("one more")

    play(scenario)


async def _read_to_the_end(client: Client) -> None:
    async for _ in client.events():
        pass
