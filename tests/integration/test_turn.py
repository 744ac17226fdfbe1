"""The shipped coturn configuration and our credentials, against Debian's coturn."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from signaling.access.turn import make_credentials, parse_url
from signaling.doctor.turn import TurnError, try_turn
from signaling.http.tls import make_certificate
from tests.support.coturn import SECRET, Coturn, running_coturn

pytestmark = pytest.mark.needs("turnserver")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    made = make_certificate([], ["127.0.0.1"], datetime.datetime.now(datetime.UTC))
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(made.chain)
    key_path.write_bytes(made.key)
    return cert_path, key_path


@pytest.fixture
async def coturn(certificate: tuple[Path, Path], tmp_path: Path) -> AsyncIterator[Coturn]:
    async with running_coturn(tmp_path, cert=certificate[0], key=certificate[1]) as server:
        yield server


def credentials(ttl: int = 600, secret: str | None = None) -> tuple[str, str]:
    return make_credentials(secret or SECRET, "p_ada", expires=int(time.time()) + ttl)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_packet_passes_through_coturn_over(
    coturn: Coturn, certificate: tuple[Path, Path], transport: str
) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    relayed = await try_turn(parse_url(coturn.url(transport)), *credentials(), context=context)
    assert relayed.startswith("127.0.0.1:")


async def test_an_expired_credential_is_refused(coturn: Coturn) -> None:
    with pytest.raises(TurnError, match="credentials are refused"):
        await try_turn(parse_url(coturn.url("udp")), *credentials(ttl=-60))


async def test_a_forged_credential_is_refused(coturn: Coturn) -> None:
    with pytest.raises(TurnError, match="credentials are refused"):
        await try_turn(parse_url(coturn.url("udp")), *credentials(secret="not the secret"))


async def test_an_expiry_cannot_be_moved_without_the_secret(coturn: Coturn) -> None:
    username, credential = credentials(ttl=-60)
    later = f"{int(time.time()) + 600}:{username.partition(':')[2]}"
    with pytest.raises(TurnError, match="credentials are refused"):
        await try_turn(parse_url(coturn.url("udp")), later, credential)


async def test_the_shipped_configuration_reaches_no_private_peer(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    async with running_coturn(
        tmp_path, cert=certificate[0], key=certificate[1], loopback_peers=False
    ) as server:
        with pytest.raises(TurnError, match="forbidden"):
            await try_turn(parse_url(server.url("udp")), *credentials())


async def test_a_certificate_of_an_unknown_authority_is_named(coturn: Coturn) -> None:
    with pytest.raises(TurnError, match="certificate does not hold"):
        await try_turn(parse_url(coturn.url("tls")), *credentials())


async def test_a_port_where_nothing_listens_is_named() -> None:
    url = parse_url("turn:127.0.0.1:9?transport=tcp")
    with pytest.raises(TurnError, match="no connection") as raised:
        await try_turn(url, *credentials())
    assert "9/tcp" in raised.value.advice


async def test_a_host_that_can_be_no_name_is_named() -> None:
    with pytest.raises(TurnError, match="does not resolve"):
        await try_turn(parse_url("turn:a..b"), *credentials())
