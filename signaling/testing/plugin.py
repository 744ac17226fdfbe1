"""The pytest plugin: `signaling_server` is the address of a server, one for the whole session."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from . import server


@pytest.fixture(scope="session")
def signaling_server() -> Iterator[str]:
    """The address of a real server with its media relay, whichever loop a test runs on."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="signaling server", daemon=True)
    thread.start()
    context = server()
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
