"""Calls in which nothing but TURN is allowed, through Debian's coturn as it is configured here."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import datetime
import hashlib
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, Playwright

from signaling.bot import Bot
from signaling.bot.patterns import pictures, tone
from signaling.http.tls import make_certificate
from tests.browser.conftest import Enter
from tests.support.bots import soon
from tests.support.browser import Hub, launch, running_hub, see_and_hear
from tests.support.coturn import SECRET, Coturn, running_coturn

pytestmark = pytest.mark.needs("turnserver")
T = TypeVar("T")

# Kind and transport to the TURN server of what each connection sends through.
PATHS = """async (call) => Promise.all(call.connections().map(async (pc) => {
  const stats = await pc.getStats();
  const entries = [...stats.values()];
  const transport = entries.find((one) => one.type === 'transport' && one.selectedCandidatePairId);
  if (!transport) return 'none';
  const local = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
  return `${local.candidateType} ${local.relayProtocol}`;
}))"""


class Thread:
    """An event loop on a thread: Playwright has this one's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(120)

    def close(self) -> None:
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def thread() -> Iterator[Thread]:
    running = Thread()
    yield running
    running.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    made = make_certificate([], ["127.0.0.1"], datetime.datetime.now(datetime.UTC))
    (folder / "cert.pem").write_bytes(made.chain)
    (folder / "key.pem").write_bytes(made.key)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def coturn(
    thread: Thread, certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Coturn]:
    stack = AsyncExitStack()
    folder = tmp_path_factory.mktemp("coturn")
    server = running_coturn(folder, cert=certificate[0], key=certificate[1])
    yield thread.run(stack.enter_async_context(server))
    thread.run(stack.aclose())


@pytest.fixture(scope="module")
def browser(playwright: Playwright, certificate: tuple[Path, Path]) -> Iterator[Browser]:
    """A Chromium that trusts the TURN server's certificate."""
    key = x509.load_pem_x509_certificate(certificate[0].read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    pin = base64.b64encode(digest.digest()).decode()
    running = launch(playwright, flags=(f"--ignore-certificate-errors-spki-list={pin}",))
    yield running
    running.close()


@pytest.fixture(params=["udp", "tcp", "tls"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def hub(coturn: Coturn, transport: str) -> Iterator[Hub]:
    arguments = ["--turn-url", coturn.url(transport), "--turn-secret", SECRET]
    with running_hub("--relay-workers", "0", *arguments) as running:
        yield running


def test_two_browsers_talk_through_turn_alone(enter: Enter, transport: str) -> None:
    ada, ben = (enter(name, turn=1) for name in ("Ada", "Ben"))
    see_and_hear({"Ada": ada, "Ben": ben})
    for one in (ada, ben):
        assert one.ask(PATHS) == [f"relay {transport}"]


def test_a_bot_and_a_browser_talk_through_turn_alone(
    enter: Enter,
    transport: str,
    hub: Hub,
    room: str,
    thread: Thread,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    ada = enter("Ada", turn=1)

    async def open_bot() -> Bot:
        bot = Bot.join(f"http://127.0.0.1:{hub.port}", room=room, name="Bot")
        await bot.__aenter__()
        await bot.publish(pictures(160, 90), fps=10)
        await bot.publish(tone(), kind="audio")
        return bot

    bot = thread.run(open_bot())
    try:
        ada.wait_for_media({"Bot"})
        assert ada.ask(PATHS) == [f"relay {transport}"]

        async def watch() -> None:
            track = await soon(bot.track("video", name="Ada"))
            frames = track.frames()
            for _ in range(3):
                await soon(anext(frames))

        thread.run(watch())
    finally:
        thread.run(bot.close())
