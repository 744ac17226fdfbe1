"""A bot's tasks, and how they end."""

from __future__ import annotations

import asyncio

import pytest

from signaling.bot.tasks import Tasks
from signaling.client import NotConnected


async def _fail() -> None:
    raise LookupError("on purpose")


async def _wait() -> None:
    await asyncio.Event().wait()


async def test_work_that_fails_ends_all_and_cancels_the_owner_once() -> None:
    ends: list[int] = []
    tasks = Tasks(lambda: ends.append(1))

    async def own() -> None:
        tasks.owner = asyncio.current_task()
        tasks.start(_fail())
        tasks.start(_fail())
        await asyncio.Event().wait()

    owner = asyncio.create_task(own())
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert isinstance(tasks.failure, LookupError)
    assert ends == [1]
    with pytest.raises(NotConnected):
        tasks.start(_wait())


async def test_the_bots_own_work_that_fails_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks(lambda: None)
    await asyncio.wait([tasks.spawn(_fail())])
    await asyncio.sleep(0)
    assert tasks.failure is None
    assert not tasks.ended.is_set()
    assert "a task of the bot failed" in caplog.text


async def test_closing_spares_the_one_that_closes() -> None:
    tasks = Tasks(lambda: None)
    closed = asyncio.Event()

    async def close() -> None:
        tasks.begin_closing()
        await tasks.cancel_work(asyncio.current_task())
        await tasks.cancel_all(asyncio.current_task())
        closed.set()

    others = [tasks.start(_wait()), tasks.spawn(_wait())]
    await tasks.start(close())
    assert closed.is_set()
    assert all(task.cancelled() for task in others)


async def test_nothing_is_alive_before_joining_and_after_the_end() -> None:
    tasks = Tasks(lambda: None)
    with pytest.raises(NotConnected, match="joined"):
        tasks.check_alive()
    tasks.owner = asyncio.current_task()
    tasks.check_alive()
    tasks.end()
    with pytest.raises(NotConnected, match="ended"):
        tasks.check_alive()
