"""Data and calls between two clients of a real hub, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from signaling.client import CallError, Message, NotConnected, ReaderTooSlow, Refused
from signaling.client.data import CALL, CALL_TIMEOUT, MAX_CALLS_OF_ONE, MAX_WAITING, Data
from signaling.protocol import messages
from tests.support.virtual_loop import VirtualHub, run_virtually, until


def play(scenario: Callable[[VirtualHub], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await scenario(VirtualHub())

    run_virtually(run())


def test_messages_come_in_order_by_topic_or_all() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:
            every, some = bob.messages(), bob.messages("b")
            for n in range(4):
                await ada.send({"n": n}, topic="ab"[n % 2])
            await ada.send("you", topic="b", to=[bob.id])
            assert [await anext(some) for _ in range(3)] == [
                Message({"n": 1}, "b", ada.id),
                Message({"n": 3}, "b", ada.id),
                Message("you", "b", ada.id),
            ]
            assert (await anext(every)).payload == {"n": 0}
            await every.aclose()
            await some.aclose()

    play(scenario)


def test_bytes_arrive_as_bytes_and_what_only_looks_like_them_as_it_is() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:
            reader = bob.messages()
            sent: list[Any] = [b"\0\1\xff", b"", {"base64": "!"}, {"base64": "AA==", "more": 1}]
            for payload in sent:
                await ada.send(payload)
            assert [(await anext(reader)).payload for _ in sent] == sent
            await reader.aclose()

    play(scenario)


def test_readers_end_with_the_client_and_a_slow_one_with_an_error() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada:
            async with hub.client("Bob") as bob:
                reader = bob.messages()
                await ada.send(1)
                await until(lambda: reader.ag_frame is not None)
            assert [m.payload async for m in reader] == [1]
            assert [m async for m in bob.messages()] == []

    play(scenario)


def test_a_reader_that_falls_behind_is_told() -> None:
    async def run() -> None:
        data = Data(Refuser())
        reader = data.messages()
        for n in range(MAX_WAITING + 1):
            data.receive(messages.DataFrom(from_="p", topic="t", content=messages.Raw(b"%d" % n)))
        assert (await anext(reader)).payload == 0
        with pytest.raises(ReaderTooSlow):
            await anext(reader)

    run_virtually(run())


class Refuser:
    async def request(self, message: messages.ClientMessage) -> messages.Reply:
        raise Refused("forbidden", "No.")


def test_what_cannot_be_read_is_passed_over() -> None:
    async def run() -> None:
        data = Data(Refuser())
        reader = data.messages()
        for content in (b'"\\ud800"', b"9" * 5000, b"[" * 3000 + b"]" * 3000, b"7"):
            data.receive(messages.DataFrom(from_="p", topic="t", content=messages.Raw(content)))
        got = [(await anext(reader)).payload]
        while got[-1] != 7:
            got.append((await anext(reader)).payload)
        assert got[0] == "\ud800"
        assert got[1] == float("inf")
        await reader.aclose()

    run_virtually(run())


def test_a_method_is_called_and_its_result_comes_back() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:

            @bob.method("add")
            async def add(payload: Any, caller: str) -> Any:
                return {"sum": sum(payload), "caller": caller}

            result = await ada.call(bob.id, "add", [1, 2])
            assert result == {"sum": 3, "caller": ada.id}

    play(scenario)


def test_every_failed_call_says_why() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob, hub.client("Eve") as eve:

            async def fail(payload: Any, caller: str) -> Any:
                raise ZeroDivisionError

            async def refuse(payload: Any, caller: str) -> Any:
                raise CallError("too-hot", "Not above 90.")

            async def big(payload: Any, caller: str) -> Any:
                return "x" * 20_000

            async def hang(payload: Any, caller: str) -> Any:
                await asyncio.sleep(1000)

            for method in (fail, refuse, big, hang):
                bob.method(method.__name__)(method)

            async def code(name: str, to: str = bob.id, **options: Any) -> str:
                with pytest.raises(CallError) as error:
                    await ada.call(to, name, **options)
                return error.value.code

            assert await code("jump") == "unknown-method"
            assert await code("fail") == "failed"
            assert await code("refuse") == "too-hot"
            assert await code("big") == "failed"
            assert await code("hang", timeout=3) == "timeout"
            assert await code("x", to="p_none") == "left"
            assert await code("x", to=eve.id) == "timeout"
            waiting = asyncio.create_task(code("hang"))
            await asyncio.sleep(CALL_TIMEOUT / 2)
            await bob.close()
            assert await waiting == "left"

    play(scenario)


def test_one_caller_cannot_have_a_method_run_without_end() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob:
            running = 0

            @bob.method("hang")
            async def hang(payload: Any, caller: str) -> None:
                nonlocal running
                running += 1
                await asyncio.sleep(1000)

            calls = [asyncio.create_task(ada.call(bob.id, "hang")) for _ in range(100)]
            done, _ = await asyncio.wait(calls)
            codes = [task.exception().code for task in done]  # type: ignore[union-attr]
            assert running == MAX_CALLS_OF_ONE
            assert codes.count("busy") == 100 - MAX_CALLS_OF_ONE

    play(scenario)


def test_only_the_one_who_was_called_can_answer() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada, hub.client("Bob") as bob, hub.client("Eve") as eve:
            asked = bob.messages(CALL)
            call = asyncio.create_task(ada.call(bob.id, "x", timeout=5))
            await asyncio.sleep(1)
            await eve.send({"id": "c1", "payload": "forged"}, topic="rpc.reply", to=[ada.id])
            with pytest.raises(CallError, match="timeout"):
                await call
            await asked.aclose()

    play(scenario)


def test_a_client_that_has_left_sends_nothing() -> None:
    async def scenario(hub: VirtualHub) -> None:
        async with hub.client("Ada") as ada:
            pass
        with pytest.raises(NotConnected):
            await ada.send(1)

    play(scenario)
