"""One TURN server tried the way a browser would: allocate, then send a packet through it."""

from __future__ import annotations

import asyncio
import ssl

from aioice.stun import TransactionFailed, TransactionTimeout
from aioice.turn import TurnTransport, create_turn_endpoint

from ..access.turn import TurnUrl

_PROBE = b"tandem doctor: one packet through the relayed address"


class TurnError(Exception):
    """`problem` and `advice` are sentences for the operator."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice


class _Inbox(asyncio.DatagramProtocol):
    """Keeps the first datagram, or what went wrong before it came."""

    def __init__(self) -> None:
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        if not self.first.done():
            self.first.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.first.done():
            self.first.set_exception(exc)


_Allocation = tuple[TurnTransport, _Inbox]


async def try_turn(
    url: TurnUrl,
    username: str,
    credential: str,
    *,
    patience: float = 10.0,
    context: ssl.SSLContext | None = None,
) -> str:
    """Allocate over `url` and echo a packet from one allocation to a second one.

    Returns the relayed address as text. Raises TurnError, at the latest after
    `patience` seconds. `context` is for a server whose certificate a private authority signed.
    """
    secure = url.scheme == "turns"
    tls = (context or ssl.create_default_context()) if secure else None
    transports: list[_Allocation] = []
    try:
        async with asyncio.timeout(patience):
            for _ in range(2):
                transport, inbox = await create_turn_endpoint(
                    _Inbox,
                    (url.host, url.port),
                    username,
                    credential,
                    ssl=tls,
                    transport=url.transport,
                )
                transports.append((transport, inbox))
            return await _echo(*transports)
    except TransactionFailed as error:
        raise _explain(error) from None
    except ssl.SSLCertVerificationError as error:
        raise TurnError(
            f"the certificate does not hold: {error.verify_message}",
            "give coturn (cert=, pkey=) a full chain for the name in the URL",
        ) from None
    except (TransactionTimeout, TimeoutError):
        raise TurnError(
            "no answer",
            f"open {url.port}/{url.transport} in the firewall, and check that coturn listens there",
        ) from None
    except (OSError, UnicodeError) as error:  # the latter for what can be no name, like a..b
        raise TurnError(
            f"no connection ({getattr(error, 'strerror', '') or 'the name does not resolve'})",
            f"check the host name, that coturn runs, and that {url.port}/{url.transport} is open",
        ) from None
    finally:
        for transport, _ in transports:
            transport.close()
        if transports:
            # Deleting an allocation takes a round trip; without it the quota fills up.
            await asyncio.sleep(0.2)


async def _echo(first: _Allocation, second: _Allocation) -> str:
    """Send from each allocation to the other: a permission is made by sending (RFC 8656, 9)."""
    addresses = [transport.get_extra_info("sockname") for transport, _ in (first, second)]
    arrived = asyncio.gather(first[1].first, second[1].first)
    try:
        # UDP may lose one, and the first one each way only opens the other's door.
        for _ in range(10):
            first[0].sendto(_PROBE, addresses[1])
            second[0].sendto(_PROBE, addresses[0])
            done, _pending = await asyncio.wait([arrived], timeout=0.5)
            if done:
                arrived.result()
                return f"{addresses[0][0]}:{addresses[0][1]}"
    finally:
        arrived.cancel()
    raise TurnError(
        "an allocation was made, but nothing passes through it",
        "behind NAT set external-ip=PUBLIC/PRIVATE, and open the UDP range min-port to max-port",
    )


def _explain(error: TransactionFailed) -> TurnError:
    code = error.response.attributes.get("ERROR-CODE", (0, ""))[0]
    if code == 401:
        return TurnError(
            "the credentials are refused",
            "the secret differs from coturn's static-auth-secret, or the clocks differ",
        )
    if code == 403:
        return TurnError(
            "the peer's address is forbidden",
            "the relayed address lies in a denied-peer-ip range: behind NAT set external-ip",
        )
    if code == 486:
        return TurnError("the allocation quota is reached", "raise user-quota and total-quota")
    return TurnError(f"refused with error {code}", "coturn's log says more")
