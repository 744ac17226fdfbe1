"""SRTP in place, against pylibsrtp's own way."""

from __future__ import annotations

import cffi
import pylibsrtp
import pytest
from pylibsrtp import Policy, Session
from pylibsrtp._binding import lib

from relay.plane.arena import ROW, Arena
from relay.stats import DropReason
from relay.transport import srtp
from relay.transport.srtp import PROFILES, Srtp
from tests.support.media import build_rtp

KEYS = {name: bytes(range(60)) for name in PROFILES}
PACKET = build_rtp(payload_type=96, sequence=1, timestamp=2, ssrc=3, payload=bytes(range(256)) * 5)
REPORT = bytes.fromhex("80c9000100000003")


def cut(profile: str) -> bytes:
    policy = PROFILES[profile]
    size = lib.srtp_profile_get_master_key_length(policy) + lib.srtp_profile_get_master_salt_length(
        policy
    )
    return KEYS[profile][:size]


def make_session(profile: str, *, inbound: bool) -> Session:
    kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    return Session(Policy(cut(profile), kind, srtp_profile=PROFILES[profile]))


def put(arena: Arena, data: bytes) -> None:
    arena.view[: len(data)] = data
    arena.length_pointers[0][0] = len(data)


def get(arena: Arena) -> bytes:
    return bytes(arena.view[: arena.length_pointers[0][0]])


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_encrypted_in_place_is_what_pylibsrtp_makes(profile: str) -> None:
    arena = Arena(1)
    ours = Srtp.from_key(profile, cut(profile), inbound=False)
    put(arena, PACKET)
    assert srtp.protect(ours.context, arena.pointers[0], arena.length_pointers[0]) == 0
    assert get(arena) == make_session(profile, inbound=False).protect(PACKET)
    assert make_session(profile, inbound=True).unprotect(get(arena)) == PACKET


@pytest.mark.parametrize("profile", PROFILES)
def test_a_packet_is_decrypted_in_place_and_only_once(profile: str) -> None:
    arena = Arena(1)
    ours = Srtp.from_key(profile, cut(profile), inbound=True)
    data = make_session(profile, inbound=False).protect(PACKET)
    put(arena, data)
    assert srtp.unprotect(ours.context, arena.pointers[0], arena.length_pointers[0]) == 0
    assert get(arena) == PACKET
    put(arena, data)
    status = srtp.unprotect(ours.context, arena.pointers[0], arena.length_pointers[0])
    assert srtp.get_drop_reason(status) is DropReason.REPLAYED


@pytest.mark.parametrize("profile", PROFILES)
def test_a_changed_packet_is_refused(profile: str) -> None:
    arena = Arena(1)
    ours = Srtp.from_key(profile, cut(profile), inbound=True)
    data = bytearray(make_session(profile, inbound=False).protect(PACKET))
    data[40] ^= 1
    put(arena, bytes(data))
    status = srtp.unprotect(ours.context, arena.pointers[0], arena.length_pointers[0])
    assert srtp.get_drop_reason(status) is DropReason.AUTHENTICATION


@pytest.mark.parametrize("profile", PROFILES)
def test_rtcp_goes_both_ways(profile: str) -> None:
    data = Srtp.from_key(profile, cut(profile), inbound=False).protect_rtcp(REPORT)
    assert data is not None
    assert make_session(profile, inbound=True).unprotect_rtcp(data) == REPORT
    arena = Arena(1)
    ours = Srtp.from_key(profile, cut(profile), inbound=True)
    put(arena, data)
    assert srtp.unprotect_rtcp(ours.context, arena.pointers[0], arena.length_pointers[0]) == 0
    assert get(arena) == REPORT


def test_a_packet_larger_than_pylibsrtp_takes_is_encrypted() -> None:
    arena = Arena(1)
    ours = Srtp.from_key("aead-aes-128-gcm", cut("aead-aes-128-gcm"), inbound=False)
    packet = PACKET[:12] + bytes(ROW - 12 - 16)
    with pytest.raises(ValueError, match="too long"):
        make_session("aead-aes-128-gcm", inbound=False).protect(packet)
    put(arena, packet)
    assert srtp.protect(ours.context, arena.pointers[0], arena.length_pointers[0]) == 0
    assert len(get(arena)) == ROW


def test_a_packet_may_be_sent_again() -> None:
    arena = Arena(1)
    ours = Srtp.from_key("aead-aes-256-gcm", cut("aead-aes-256-gcm"), inbound=False)
    for _ in range(2):
        put(arena, PACKET)
        assert srtp.protect(ours.context, arena.pointers[0], arena.length_pointers[0]) == 0


def test_an_rtcp_packet_that_is_none_is_refused() -> None:
    arena = Arena(1)
    ours = Srtp.from_key("aead-aes-256-gcm", cut("aead-aes-256-gcm"), inbound=True)
    put(arena, REPORT)
    status = srtp.unprotect_rtcp(ours.context, arena.pointers[0], arena.length_pointers[0])
    assert status
    assert srtp.get_drop_reason(status) in set(DropReason)


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        Srtp.from_key("aead-aes-256-gcm", bytes(20), inbound=True)


def test_the_private_names_of_pylibsrtp_are_there() -> None:
    assert pylibsrtp.__version__.startswith("1.0.")
    assert make_session("aead-aes-128-gcm", inbound=True)._srtp[0] is not None
    for name in ("protect", "unprotect", "protect_rtcp", "unprotect_rtcp"):
        assert callable(getattr(lib, f"srtp_{name}"))
    # Pointers made by another binding are taken: the arena's are.
    assert cffi.FFI().typeof("int *") is pylibsrtp._binding.ffi.typeof("int *")
