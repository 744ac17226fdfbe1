"""Checks of what stands between: a proxy's limits, what it says of clients, how many hubs."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from . import report
from .report import Finding
from .server import Server

OFFER_SIZE: Final = 200 * 1024
"""Bytes: the description of a room of 50 is about 150 KiB."""

IDLE: Final = 30.0
"""Seconds for which a WebSocket is left alone; heartbeats come every 25 s."""

ASKED: Final = 12
"""Requests after which two hubs that take turns have both answered, but for one time in 2000."""

_BROKEN: Final = (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError)


async def check_body_limit(server: Server, session: aiohttp.ClientSession) -> Finding:
    """Does an offer for a large room get through? Nobody joins by this one: it is no offer."""
    body = "v=0\r\n" + "a=x\r\n" * (OFFER_SIZE // 5)
    try:
        async with session.post(
            f"{server.url}/whip/doctor", data=body, headers={"Content-Type": "application/sdp"}
        ) as response:
            status, name = response.status, response.headers.get("Server", "")
    except _BROKEN:
        status, name = 413, ""
    if status == 413:
        return report.failure(
            "body",
            f"A body of {OFFER_SIZE // 1024} KiB is refused{f' by {name}' if name else ''}: WHIP"
            " fails in large rooms.",
            "Raise the proxy's limit (nginx: client_max_body_size 256k).",
        )
    return report.ok("body", "Large descriptions get through.")


async def check_forwarding(server: Server, session: aiohttp.ClientSession) -> Finding:
    """Does the server believe the proxy before it? If so it knows that we came by HTTPS."""
    try:
        async with session.get(f"{server.url}/healthz") as response:
            headers = response.headers
    except _BROKEN:
        return report.skipped("proxy", "No answer: not tried.")
    name = headers.get("Server", "")
    if "tandem" in name and "Via" not in headers:
        return report.ok("proxy", "The server answers by itself, or behind a proxy that is silent.")
    if server.secure and "Strict-Transport-Security" not in headers:
        return report.failure(
            "proxy",
            f"The server does not believe the proxy before it ({name or 'unnamed'}): to it all"
            " clients have one address, and are limited and banned as one.",
            "Start it with --trusted-proxy and the proxy's address, and let the proxy set"
            " X-Forwarded-For and X-Forwarded-Proto.",
        )
    return report.ok("proxy", f"A proxy ({name or 'unnamed'}) is before the server, and believed.")


async def check_hubs(server: Server, session: aiohttp.ClientSession) -> Finding:
    """Do all requests for one room get to one hub?"""
    seen: set[str] = set()
    try:
        for _ in range(ASKED):
            url = f"{server.url}/readyz?room=doctor"
            async with session.get(url, headers={"Connection": "close"}) as response:
                seen.add(response.headers.get("X-Tandem-Hub", ""))
    except _BROKEN:
        return report.skipped("hubs", "No answer: not tried.")
    if len(seen) > 1:
        return report.failure(
            "hubs",
            f"{len(seen)} hubs answer for one room: those who call each other will not meet.",
            "Make them one server with --redis-url, or have the proxy choose the hub by the room"
            " (nginx.conf in signaling/deploy).",
        )
    return report.ok("hubs", "All that concerns a room gets to one hub.")


async def check_idle(server: Server, session: aiohttp.ClientSession, seconds: float) -> Finding:
    """Is a WebSocket cut that is quiet between two heartbeats?"""
    lost = report.failure(
        "idle",
        f"A WebSocket is cut that is quiet for less than {seconds:.0f} s.",
        "Raise the proxy's idle time-out above 30 s (nginx: proxy_read_timeout 90s).",
    )
    try:
        async with session.ws_connect(
            f"{server.url}/ws?room=doctor", origin=server.origin, autoping=False
        ) as socket:
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        message = await socket.receive()
                        if message.type in (
                            aiohttp.WSMsgType.CLOSE,
                            aiohttp.WSMsgType.CLOSED,
                            aiohttp.WSMsgType.ERROR,
                        ):
                            return lost
            except TimeoutError:
                return report.ok("idle", f"A WebSocket may be quiet for {seconds:.0f} s.")
    except _BROKEN:
        return report.skipped("idle", "No WebSocket: not tried.")


def check_keys(server: Server, *, anyone: bool) -> Finding:
    """Is it meant that anyone may join?"""
    if anyone and not server.local:
        return report.warning(
            "keys",
            f"Anyone who reaches {server.url} may join any room, and use its TURN.",
            "Start the server with --api-key-file, unless that is meant.",
        )
    return report.ok("keys", "Joining takes a token." if not anyone else "Local: no keys needed.")


def check_turn_offered(server: Server, *, offered: bool) -> Finding:
    """Is there a way for those whose network lets nothing else through?"""
    if offered or server.local:
        return report.ok("turn-offered", "Clients are told of TURN." if offered else "Local.")
    return report.warning(
        "turn-offered",
        "The server tells clients of no TURN: some company networks let nothing else through.",
        "Set up coturn (turn-config/README.md), and start with --turn-url and --turn-secret-file.",
    )
