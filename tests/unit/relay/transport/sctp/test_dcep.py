"""DATA_CHANNEL_OPEN as bytes."""

from __future__ import annotations

import pytest

from relay.transport.sctp.dcep import MAX_LABEL, Open, build_open, parse_open_untrusted
from relay.transport.sctp.packet import MalformedSctp


@pytest.mark.parametrize(
    "open",
    [
        Open("reliable"),
        Open("lossy", ordered=False, max_retransmits=0),
        Open("h\u00e9", "protocol", lifetime=300, priority=1),
        Open(""),
    ],
)
def test_an_open_says_what_it_said(open: Open) -> None:
    assert parse_open_untrusted(build_open(open)) == open


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\3" + bytes(10),
        b"\2" + build_open(Open("x"))[1:],
        b"\3\3" + build_open(Open("x"))[2:],
        build_open(Open("x")) + b"x",
        build_open(Open("x" * (MAX_LABEL + 1))),
        build_open(Open("xx"))[:-1] + b"\xff",
    ],
)
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedSctp):
        parse_open_untrusted(data)
