"""A planned restart under a call that goes through the relay."""

from __future__ import annotations

import contextlib

from tests.support.processes import run_server
from tests.support.restarting import hear_more, talking


async def test_media_go_on_while_a_server_drains_and_come_back_with_the_next_one() -> None:
    async with (
        contextlib.AsyncExitStack() as stack,
        run_server("--drain-timeout", "3", relay=True) as server,
        talking(server) as listener,
    ):
        server.send_signal()
        await server.wait_log("draining")
        # The WebSockets are closed by now, and the sound goes on.
        await hear_more(listener)
        assert server.process.returncode is None
        await server.wait()
        options = ("--port", str(server.port), "--drain-timeout", "3")
        await stack.enter_async_context(run_server(*options, relay=True))
        await hear_more(listener)


async def test_a_server_without_media_does_not_wait_for_any() -> None:
    async with run_server("--drain-timeout", "600", relay=True) as server:
        server.send_signal()
        assert await server.wait() == 0
