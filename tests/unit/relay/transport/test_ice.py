"""ICE-lite in virtual time: latching, roaming, restarts, consent, and what is not believed."""

from __future__ import annotations

import pytest
from aioice import stun

from relay.stats import DropReason
from relay.transport.ice import (
    DISCONNECTED_AFTER,
    MAX_ADDRESSES,
    MAX_TRANSACTIONS,
    SILENT_AFTER,
    Address,
    ConsentChanged,
    ConsentExpired,
    Credentials,
    Event,
    Forgotten,
    IceLite,
    Retired,
    Selected,
    Verified,
)
from tests.unit.relay.transport.fakes import make_address, make_check, unpack_address

OLD = Credentials("o" * 16, "p" * 32)
NEW = Credentials("n" * 16, "q" * 32)
A, B = make_address(1), make_address(2)


def make_ice() -> IceLite:
    return IceLite(OLD, unpack_address=unpack_address)


def check(
    ice: IceLite,
    address: Address,
    now: float,
    *,
    nominate: bool = False,
    credentials: Credentials = OLD,
    transaction_id: bytes | None = None,
) -> DropReason | None:
    data = make_check(
        f"{credentials.ufrag}:them",
        credentials.pwd,
        nominate=nominate,
        transaction_id=transaction_id,
    )
    return ice.receive_datagram(data, address, now)


def events(ice: IceLite) -> list[Event]:
    found = []
    while (event := ice.next_event()) is not None:
        found.append(event)
    return found


def test_the_first_verified_check_is_answered_and_latched() -> None:
    ice = make_ice()
    assert check(ice, A, 0.0) is None
    ((answer, to),) = ice.datagrams_to_send()
    assert to == A
    assert stun.parse_message(answer).attributes["XOR-MAPPED-ADDRESS"] == ("192.0.2.1", 1)
    assert events(ice) == [Verified(A), Selected(A)]
    assert ice.datagrams_to_send() == []


def test_a_client_that_never_says_controlling_or_nominates_is_served_too() -> None:
    ice = make_ice()
    data = make_check(f"{OLD.ufrag}:them", OLD.pwd, controlling=False)
    assert ice.receive_datagram(data, A, 0.0) is None
    assert ice.address == A


def test_media_moves_to_the_address_that_is_nominated() -> None:
    ice = make_ice()
    check(ice, A, 0.0, nominate=True)
    check(ice, B, 0.1)
    assert ice.address == A
    events(ice)
    check(ice, B, 0.2, nominate=True)
    assert ice.address == B
    assert events(ice) == [Selected(B)]
    assert set(ice.addresses) == {A, B}


def test_a_client_that_does_not_nominate_is_followed_once_its_old_address_is_silent() -> None:
    ice = make_ice()
    check(ice, A, 0.0)
    check(ice, B, SILENT_AFTER - 0.1)
    assert ice.address == A
    check(ice, B, SILENT_AFTER + 0.1)
    assert ice.address == B


@pytest.mark.parametrize(
    ("username", "pwd", "reason"),
    [
        (f"{OLD.ufrag}:them", "wrong" * 6, DropReason.AUTHENTICATION),
        ("stranger:them", OLD.pwd, DropReason.UNKNOWN_USERNAME),
        ("", OLD.pwd, DropReason.UNKNOWN_USERNAME),
    ],
)
def test_wrong_credentials_get_no_answer_and_change_nothing(
    username: str, pwd: str, reason: DropReason
) -> None:
    ice = make_ice()
    assert ice.receive_datagram(make_check(username, pwd, nominate=True), A, 0.0) is reason
    assert ice.datagrams_to_send() == []
    assert events(ice) == []
    assert ice.address is None
    assert ice.get_timer() is None


def test_garbage_is_malformed_and_not_answered() -> None:
    ice = make_ice()
    assert ice.receive_datagram(b"\x00\x01garbage", A, 0.0) is DropReason.MALFORMED
    assert ice.datagrams_to_send() == []


def test_a_recorded_check_sent_from_elsewhere_moves_nothing() -> None:
    ice = make_ice()
    check(ice, A, 0.0, nominate=True, transaction_id=b"0123456789ab")
    ice.datagrams_to_send()
    events(ice)
    replay = check(ice, B, 1.0, nominate=True, transaction_id=b"0123456789ab")
    assert replay is DropReason.REPLAYED
    assert ice.address == A
    assert ice.datagrams_to_send() == []
    assert events(ice) == []


def test_a_check_sent_again_is_answered_again_but_is_no_sign_of_life() -> None:
    ice = make_ice()
    check(ice, A, 0.0, transaction_id=b"0123456789ab")
    assert check(ice, A, 9.0, transaction_id=b"0123456789ab") is None
    assert len(ice.datagrams_to_send()) == 2
    ice.handle_timer(30.0)
    assert ConsentExpired() in events(ice)


def test_what_is_remembered_of_a_client_stays_bounded() -> None:
    ice = make_ice()
    for number in range(MAX_TRANSACTIONS * 2):
        check(ice, make_address(number), number * 0.01)
        ice.datagrams_to_send()
    assert len(ice.addresses) == MAX_ADDRESSES
    assert ice.address in ice.addresses
    assert len(ice._transactions) == MAX_TRANSACTIONS
    found = events(ice)
    forgotten = [e.address for e in found if isinstance(e, Forgotten)]
    verified = [e.address for e in found if isinstance(e, Verified)]
    assert len(verified) - len(forgotten) == MAX_ADDRESSES
    assert not set(forgotten) & set(ice.addresses)


def test_an_address_that_was_left_is_forgotten_in_time() -> None:
    ice = make_ice()
    check(ice, A, 0.0, nominate=True)
    check(ice, B, 1.0, nominate=True)
    for now in range(2, 40, 3):
        check(ice, B, now, nominate=True)
    assert ice.addresses == [B]
    assert Forgotten(A) in events(ice)


def test_after_a_restart_the_old_credentials_work_until_the_new_are_nominated() -> None:
    ice = make_ice()
    check(ice, A, 0.0, nominate=True)
    ice.restart(NEW)
    assert ice.credentials == NEW
    assert check(ice, A, 1.0, nominate=True) is None
    check(ice, B, 2.0, credentials=NEW)
    assert ice.address == A
    assert ice.ufrags == [OLD.ufrag, NEW.ufrag]
    check(ice, B, 2.1, credentials=NEW, nominate=True)
    assert ice.address == B
    assert events(ice)[-2:] == [Retired(OLD.ufrag), Selected(B)]
    assert check(ice, A, 3.0) is DropReason.UNKNOWN_USERNAME


def test_a_restart_on_the_same_address_retires_the_old_credentials_too() -> None:
    ice = make_ice()
    check(ice, A, 0.0, nominate=True)
    ice.restart(NEW)
    check(ice, A, 1.0, nominate=True, credentials=NEW)
    assert ice.ufrags == [NEW.ufrag]
    assert ice.address == A


def test_many_restarts_keep_the_generation_in_use_and_the_newest() -> None:
    ice = make_ice()
    check(ice, A, 0.0, nominate=True)
    for number in range(5):
        ice.restart(Credentials(f"ufrag-{number}".ljust(16), "p" * 32))
    assert ice.ufrags[0] == OLD.ufrag
    assert ice.ufrags[-1].strip() == "ufrag-4"
    assert len(ice.ufrags) == 3
    assert sum(isinstance(e, Retired) for e in events(ice)) == 3


def test_consent_fades_comes_back_and_expires() -> None:
    ice = make_ice()
    ice.start(100.0)
    assert ice.get_timer() == 130.0
    check(ice, A, 101.0)
    events(ice)
    assert ice.get_timer() == 101.0 + DISCONNECTED_AFTER
    ice.handle_timer(101.0 + DISCONNECTED_AFTER - 0.1)
    assert events(ice) == []
    ice.handle_timer(101.0 + DISCONNECTED_AFTER)
    assert events(ice) == [ConsentChanged(False)]
    check(ice, A, 120.0)
    assert events(ice) == [ConsentChanged(True)]
    ice.handle_timer(130.0)
    assert events(ice) == [ConsentChanged(False)]
    assert ice.get_timer() == 131.0
    ice.handle_timer(149.5)
    assert events(ice) == []
    assert ice.get_timer() == 150.0
    ice.handle_timer(150.0)
    assert events(ice) == [ConsentExpired()]
    assert ice.get_timer() is None
    ice.datagrams_to_send()
    assert check(ice, A, 151.0) is not None
    assert ice.datagrams_to_send() == []


def test_a_proof_counts_as_a_check_does_once_and_in_order() -> None:
    ice = make_ice()
    ice.receive_proof(99.0)
    assert ice.get_timer() is None, "nothing is expected yet"
    ice.start(100.0)
    check(ice, A, 101.0)
    events(ice)
    ice.receive_proof(109.0)
    ice.receive_proof(105.0)
    assert ice.get_timer() == 109.0 + DISCONNECTED_AFTER
    ice.handle_timer(139.0)
    events(ice)
    ice.receive_proof(140.0)
    assert events(ice) == [], "nothing follows its end"


def test_a_client_that_never_checks_expires_too() -> None:
    ice = make_ice()
    ice.start(0.0)
    ice.handle_timer(29.9)
    assert events(ice) == []
    ice.handle_timer(30.0)
    assert events(ice) == [ConsentExpired()]
