"""An offer by WHIP or WHEP that would come to half of itself: refused in words."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.support.processes import ServerProcess, run_server
from tests.unit.relay.sdp.offers import AUDIO, AV1, VIDEO, make_offer

pytestmark = pytest.mark.asyncio(loop_scope="module")

THEORA = ("video", "99", ["rtpmap:99 theora/90000"])
MALFORMED = ("video", "99", ["rtpmap:99 H264/90000", "fmtp:99 profile-level-id=banana"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with run_server(relay=True) as running:
        yield running


async def post(session: ClientSession, url: str, offer: str) -> tuple[int, str]:
    """Status, and code or answer."""
    headers = {"Content-Type": "application/sdp"}
    async with session.post(url, data=offer, headers=headers) as response:
        if response.status == 201:
            return 201, await response.text()
        refusal = await response.json()
        assert refusal["message"]
        return response.status, refusal["code"]


@pytest.mark.parametrize(
    ("offer", "refusal"),
    [
        (make_offer(AUDIO, VIDEO, direction="recvonly"), (422, "no-media")),
        (make_offer(AUDIO, VIDEO, direction="inactive"), (422, "no-media")),
        (make_offer(AUDIO, THEORA), (406, "unsupported-codec")),
        (make_offer(AUDIO, MALFORMED), (400, "bad-sdp")),
    ],
)
async def test_half_an_offer_by_whip_leaves_nobody_behind(
    server: ServerProcess, offer: str, refusal: tuple[int, str]
) -> None:
    room = f"room-{secrets.token_hex(4)}"
    async with ClientSession() as session:
        assert await post(session, f"{server.url}/whip/{room}", offer) == refusal
        async with session.get(f"{server.url}/api/rooms") as response:
            assert room not in await response.text()


@pytest.mark.parametrize(
    ("offer", "refusal"),
    [
        (make_offer(AUDIO, VIDEO, direction="sendonly"), (422, "no-media")),
        (make_offer(AUDIO, THEORA, direction="recvonly"), (406, "unsupported-codec")),
        (make_offer(VIDEO, MALFORMED, direction="recvonly"), (400, "bad-sdp")),
        # It could have what nobody sends here.
        (make_offer(VIDEO, direction="recvonly"), (406, "unsupported-codec")),
    ],
)
async def test_half_an_offer_by_whep_is_refused_or_named_on_its_line(
    server: ServerProcess, offer: str, refusal: tuple[int, str]
) -> None:
    room = f"room-{secrets.token_hex(4)}"
    async with ClientSession() as session:
        status, answer = await post(session, f"{server.url}/whip/{room}", make_offer(AUDIO, AV1))
        assert status == 201, answer
        assert await post(session, f"{server.url}/whep/{room}", offer) == refusal
        # With a line for the sound it is told on the other one.
        both = make_offer(AUDIO, VIDEO, direction="recvonly")
        status, answer = await post(session, f"{server.url}/whep/{room}", both)
        assert status == 201, answer
        assert "i=The offer lacks what is sent here: video in AV1 (0)." in answer
