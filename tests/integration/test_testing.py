"""What people who build on this test with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from signaling.client import Client, ServerUnreachable, TokenRefused
from signaling.testing import server

A_TEST = """
from signaling.client import Client

async def test_a_bot_of_mine(signaling_server: str) -> None:
    async with Client(signaling_server, room="test", name="Ada") as ada:
        assert ada.relay
"""


async def test_a_server_is_there_for_a_test_and_gone_afterwards() -> None:
    async with server(relay=False) as url, Client(url, room="test", name="Ada") as ada:
        assert ada.connected
    with pytest.raises(ServerUnreachable):
        await Client(url, room="test", name="Ada").start()


async def test_a_server_takes_options_and_its_relay_is_ready() -> None:
    async with server("--api-key", "test:" + 40 * "s") as url:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
            assert answer.status == 200
        with pytest.raises(TokenRefused):
            await Client(url, room="test", name="Ada").start()


async def test_a_server_that_does_not_begin_says_why() -> None:
    with pytest.raises(RuntimeError, match="--no-such-option"):
        async with server("--no-such-option"):
            pass


def test_the_pytest_plugin_brings_a_server(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(A_TEST)
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    options = ["-o", "asyncio_mode=auto", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, *command, *options, str(tmp_path)], capture_output=True, text=True
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr
