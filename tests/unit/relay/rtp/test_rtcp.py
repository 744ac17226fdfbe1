"""RTCP: what is built can be read, here and by aiortc; anything else raises one kind of error."""

from __future__ import annotations

import pytest
from aiortc import rtp as oracle
from hypothesis import given
from hypothesis import strategies as st

from relay.rtp import rtcp
from relay.rtp.rtcp import (
    Bye,
    Description,
    Fir,
    Nack,
    Pli,
    ReceiverReport,
    Remb,
    ReportBlock,
    Rtcp,
    RtcpError,
    SenderReport,
    TransportFeedback,
    parse_compound_untrusted,
)

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
blocks = st.builds(ReportBlock, u32, u8, st.integers(-0x800000, 0x7FFFFF), u32, u32, u32, u32)
reports = st.lists(blocks, max_size=31).map(tuple)
BLOCK = ReportBlock(7, 64, -2, 70000, 12, 0xABCD, 65536)


def parse(data: bytes) -> list[Rtcp]:
    return parse_compound_untrusted(data, 0, len(data))


def test_a_compound_packet_is_read_in_order() -> None:
    data = (
        rtcp.build_sender_report(SenderReport(1, 2**63 + 5, 3, 4, 5, (BLOCK,)))
        + rtcp.build_description(1, "tandem")
        + rtcp.build_nack(1, 2, [10, 11, 26, 27])
        + rtcp.build_pli(1, 2)
        + rtcp.build_fir(1, 2, 257)
        + rtcp.build_remb(1, 3_000_000, [2, 3])
        + rtcp.build_transport_feedback(1, 2, b"odd")
        + rtcp.build_bye([1, 2])
    )
    assert parse_compound_untrusted(b"##" + data + b"##", 2, 2 + len(data)) == [
        SenderReport(1, 2**63 + 5, 3, 4, 5, (BLOCK,)),
        Description(1, "tandem"),
        Nack(1, 2, (10, 11, 26, 27)),
        Pli(1, 2),
        Fir(1, ((2, 1),)),
        Remb(1, 3_000_000, (2, 3)),
        TransportFeedback(1, 2, b"odd"),
        Bye((1, 2)),
    ]


def test_what_the_relay_has_no_use_for_is_skipped() -> None:
    app = bytes.fromhex("80cc0002 00000001 4e414d45")
    extended = bytes.fromhex("80cf0001 00000001")
    slice_loss = bytes.fromhex("82ce0003 00000001 00000002 00000000")
    other = bytes.fromhex("8fce0003 00000001 00000002 41424344")
    assert parse(app + extended + slice_loss + other + rtcp.build_pli(1, 2)) == [Pli(1, 2)]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "80c900",
        "40c90001 00000001",  # version 1
        "80c90002 00000001",  # longer than the datagram
        "80c90001 00000001 00",  # a byte left over
        "81c90001 00000001",  # no room for its report
        "80c80001 00000001",  # sender report without sender information
        "81ca0001 00000001",  # chunk without an end
        "81ca0002 00000001 01ff6162",  # name longer than the packet
        "82cb0001 00000001",  # two sources, one present
        "81ce0001 00000001",  # feedback without a media source
        "84ce0003 00000001 00000002 00000003",  # half a FIR entry
        "8fce0004 00000001 00000002 52454d42 01000000",  # REMB without its SSRC
        "a0c90001 00000000",  # padding of no size
        "a0c90001 000000ff",  # padding larger than the packet
    ],
)
def test_what_is_malformed_is_refused_with_one_kind_of_error(data: str) -> None:
    with pytest.raises(RtcpError):
        parse(bytes.fromhex(data))


def test_a_description_of_many_lengths_ends_on_a_word() -> None:
    for length in range(9):
        data = rtcp.build_description(9, "x" * length)
        assert len(data) % 4 == 0
        assert parse(data + rtcp.build_pli(1, 2)) == [Description(9, "x" * length), Pli(1, 2)]
        (theirs,) = oracle.RtcpPacket.parse(data)
        assert theirs.chunks[0].items == [(1, b"x" * length)]


def test_an_ntp_time_has_its_middle() -> None:
    ntp = rtcp.to_ntp(1.5)
    assert ntp == (2_208_988_801 << 32) + (1 << 31)
    assert rtcp.middle_of_ntp(ntp) == (2_208_988_801 & 0xFFFF) << 16 | 0x8000


@given(u32, reports)
def test_receiver_reports_are_those_of_aiortc(ssrc: int, found: tuple[ReportBlock, ...]) -> None:
    data = rtcp.build_receiver_report(ssrc, found)
    assert parse(data) == [ReceiverReport(ssrc, found)]
    (theirs,) = oracle.RtcpPacket.parse(data)
    assert bytes(theirs) == data
    assert [r.packets_lost for r in theirs.reports] == [r.lost for r in found]


@given(u32, st.integers(0, 2**64 - 1), u32, u32, u32, reports)
def test_sender_reports_are_those_of_aiortc(
    ssrc: int, ntp: int, timestamp: int, sent: int, octets: int, found: tuple[ReportBlock, ...]
) -> None:
    report = SenderReport(ssrc, ntp, timestamp, sent, octets, found)
    data = rtcp.build_sender_report(report)
    assert parse(data) == [report]
    (theirs,) = oracle.RtcpPacket.parse(data)
    assert bytes(theirs) == data
    assert theirs.sender_info.ntp_timestamp == ntp


@given(st.lists(u16, min_size=1, max_size=60, unique=True))
def test_nacks_ask_for_exactly_what_is_missing(sequences: list[int]) -> None:
    data = rtcp.build_nack(1, 2, sequences)
    (nack,) = parse(data)
    assert isinstance(nack, Nack)
    assert sorted(nack.sequences) == sorted(sequences)
    (theirs,) = oracle.RtcpPacket.parse(data)
    # aiortc does not wrap what the bit mask names.
    assert sorted(number & 0xFFFF for number in theirs.lost) == sorted(sequences)


def test_a_run_of_losses_shares_an_entry_across_the_wrap() -> None:
    data = rtcp.build_nack(1, 2, [65535, 0, 1, 15, 16])
    assert data[12:] == bytes.fromhex("ffff 8003 0010 0000")
    assert parse(data) == [Nack(1, 2, (65535, 0, 1, 15, 16))]


@given(st.integers(0, 2**50 - 1), st.lists(u32, max_size=5))
def test_remb_is_that_of_aiortc(bitrate: int, ssrcs: list[int]) -> None:
    data = rtcp.build_remb(1, bitrate, ssrcs)
    (remb,) = parse(data)
    assert isinstance(remb, Remb)
    assert remb.ssrcs == tuple(ssrcs)
    assert bitrate * (1 - 2**-17) <= remb.bitrate <= bitrate
    (theirs,) = oracle.RtcpPacket.parse(data)
    assert oracle.unpack_remb_fci(theirs.fci) == (remb.bitrate, ssrcs)


def test_a_boundless_remb_is_bounded() -> None:
    (remb,) = parse(bytes.fromhex("8fce0005 00000001 00000000 52454d42 01ffffff 00000002"))
    assert isinstance(remb, Remb)
    assert remb.bitrate == rtcp.MAX_BITRATE


@given(st.binary(max_size=10), st.integers(200, 207), st.integers(0, 31), st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(junk: bytes, kind: int, count: int, body: bytes) -> None:
    body += bytes(-len(body) % 4)
    packet = bytes((0x80 | count, kind)) + (len(body) // 4).to_bytes(2, "big") + body
    for data in (packet, packet + junk, bytes((packet[0] | 0x20,)) + packet[1:], junk):
        try:
            found = parse(data)
        except RtcpError:
            continue
        assert len(found) <= 31 + len(data) // 4
