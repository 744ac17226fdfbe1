"""What must not be left half done."""

from __future__ import annotations

import asyncio
import threading

import pytest

from signaling.bot.threads import finish, finish_in_thread, run_apart, run_codec


async def test_what_is_cancelled_is_finished_first() -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append(1)

    task = asyncio.create_task(finish(work()))
    await asyncio.sleep(0.01)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]


async def test_codecs_and_files_have_threads_that_a_program_cannot_use_up() -> None:
    release = threading.Event()
    loop = asyncio.get_running_loop()
    slow = [loop.run_in_executor(None, release.wait) for _ in range(64)]
    names: list[str] = []

    def tell() -> None:
        names.append(threading.current_thread().name)

    await run_codec(tell)
    await finish_in_thread(tell)
    release.set()
    await asyncio.gather(*slow)
    assert names[0].startswith("bot codecs")
    assert names[1].startswith("bot files")


async def test_what_reads_apart_hands_on_its_result_or_its_error() -> None:
    assert await run_apart(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await run_apart(lambda: 1 // 0)
