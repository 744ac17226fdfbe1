"""A queue that drops its oldest rather than make its writer wait."""

from __future__ import annotations

import asyncio

import pytest

from signaling.bot.backlog import Backlog, Ended


async def test_items_come_in_order() -> None:
    backlog: Backlog[int] = Backlog(3)
    for n in range(3):
        backlog.put(n)
    assert [await backlog.get() for _ in range(3)] == [0, 1, 2]


async def test_a_full_one_drops_its_oldest_and_counts_it() -> None:
    dropped: list[int] = []
    backlog: Backlog[int] = Backlog(2, on_drop=dropped.append)
    for n in range(5):
        backlog.put(n)
    assert [await backlog.get(), await backlog.get()] == [3, 4]
    assert (backlog.dropped, dropped) == (3, [0, 1, 2])


async def test_a_reader_waits_for_the_next() -> None:
    backlog: Backlog[int] = Backlog(2)
    reading = asyncio.create_task(backlog.get())
    await asyncio.sleep(0)
    backlog.put(7)
    assert await reading == 7


async def test_closed_it_is_read_to_its_end_and_takes_no_more() -> None:
    backlog: Backlog[int] = Backlog(2)
    backlog.put(1)
    backlog.close()
    backlog.put(2)
    assert await backlog.get() == 1
    with pytest.raises(Ended):
        await backlog.get()


async def test_closing_wakes_the_reader_and_a_cancelled_one_loses_nothing() -> None:
    backlog: Backlog[int] = Backlog(2)
    reading = asyncio.create_task(backlog.get())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    backlog.put(1)
    assert await backlog.get() == 1
    last = asyncio.create_task(backlog.get())
    await asyncio.sleep(0)
    backlog.close()
    with pytest.raises(Ended):
        await last
