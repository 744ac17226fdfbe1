"""Links between hubs: one from each hub to each other that owns rooms it needs.

A link is opened by the hub that has clients for the other's rooms (`relay.process.links`).
"""

from __future__ import annotations

import asyncio
import ssl

from relay.process import links as pairs
from relay.process.links import Incoming, Link, LinkDown, Outgoing, Receiver

from . import wire

__all__ = ["Link", "LinkDown", "Links", "Outgoing", "Receiver"]


class Links:
    """All links of one hub. `clients` gets what comes on those that it has accepted, `owners`
    what comes on those that it has opened."""

    def __init__(self, own: str, secret: str, *, clients: Receiver, owners: Receiver) -> None:
        self._own = own
        self._secret = secret
        self._clients = clients
        self._owners = owners
        self._outgoing: dict[str, Outgoing] = {}
        self._opening: dict[str, asyncio.Task[Outgoing]] = {}
        self._server: asyncio.AbstractServer | None = None
        self._accepted: set[Incoming] = set()
        self._certificate = b""
        self.refused = 0
        """Connections from outside that did not prove the secret."""

    async def listen(
        self, host: str, port: int, context: ssl.SSLContext, certificate: bytes
    ) -> int:
        """Accept links under a context and its certificate, DER; returns the port. Raises
        OSError."""
        self._certificate = certificate
        self._server = await asyncio.get_running_loop().create_server(
            self._accept, host, port, ssl=context
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def _accept(self) -> asyncio.Protocol:
        link = Incoming(
            wire.ToAccepting,
            self._own,
            self._secret,
            self._certificate,
            self._clients,
            self._count_refused,
        )
        self._accepted.add(link)
        return link.stream

    def _count_refused(self) -> None:
        self.refused += 1

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._opening.values()):
            task.cancel()
        for link in [*self._outgoing.values(), *self._accepted]:
            link.close()

    def list_outgoing(self) -> list[Outgoing]:
        return list(self._outgoing.values())

    def discard(self, link: Link) -> None:
        """A link is gone."""
        if self._outgoing.get(link.peer) is link:
            del self._outgoing[link.peer]
        if isinstance(link, Incoming):
            self._accepted.discard(link)

    async def get(self, hub: str, address: str) -> Outgoing:
        """The link to a hub, made where there is none. Raises LinkDown."""
        link = self._outgoing.get(hub)
        if link is not None:
            return link
        task = self._opening.get(hub)
        if task is None:
            task = self._opening[hub] = asyncio.create_task(self._connect(hub, address))
            task.add_done_callback(lambda _: self._opening.pop(hub, None))
        return await asyncio.shield(task)

    async def _connect(self, hub: str, address: str) -> Outgoing:
        link = Outgoing(wire.ToConnecting, self._own, self._secret, hub, self._owners)
        await pairs.connect(link, address)
        self._outgoing[hub] = link
        return link
