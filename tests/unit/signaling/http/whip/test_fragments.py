"""WHIP's texts: fragments and links."""

from __future__ import annotations

import pytest

from signaling.http.whip.fragments import (
    Fragment,
    FragmentError,
    build_fragment,
    build_links,
    parse_fragment_untrusted,
    replace_credentials,
)
from signaling.protocol.messages import IceServer
from tests.unit.relay.sdp.offers import AUDIO, LOCAL, VIDEO, answer_publisher, make_offer

OFFER = make_offer(VIDEO, AUDIO)


def test_a_fragment_is_read_as_far_as_it_matters() -> None:
    assert parse_fragment_untrusted("a=end-of-candidates\r\n") == Fragment(None, None)
    text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\n"
    assert parse_fragment_untrusted(text) == Fragment("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "a=ice-ufrag:EsAw\r\n",
        "a=ice-ufrag:a b\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
        "a=ice-ufrag:EsAw\r\na=ice-ufrag:Othr\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
        "a=ice-ufrag:x\\g<0>\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
        "a=ice-ufrag:" + "x" * 257 + "\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
    ],
)
def test_a_faulty_fragment_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(FragmentError):
        parse_fragment_untrusted(text)


def test_credentials_are_replaced_in_every_section() -> None:
    offer = make_offer(VIDEO) + "a=ice-ufrag:abcd\r\na=ice-pwd:old\r\n"
    changed = replace_credentials(offer, "fresh", "f" * 24)
    assert changed.count("a=ice-ufrag:fresh\r\n") == 2
    assert changed.count(f"a=ice-pwd:{'f' * 24}\r\n") == 2
    assert "abcd" not in changed


def test_the_answer_s_fragment_has_credentials_and_candidates() -> None:
    fragment = build_fragment(answer_publisher(OFFER, LOCAL).answer)
    assert f"a=ice-ufrag:{LOCAL.transport.ufrag}" in fragment
    assert f"a=ice-pwd:{LOCAL.transport.pwd}" in fragment
    assert "a=ice-lite" in fragment
    assert "192.0.2.1 8443 typ host" in fragment
    assert fragment.count("m=") == 1


def test_links_name_each_url() -> None:
    servers = [
        IceServer(urls=["stun:a", "stun:b"]),
        IceServer(urls=["turn:c"], username="u"),
        IceServer(urls=["turn:d"], username="u", credential="c"),
    ]
    assert build_links(servers) == [
        '<stun:a>; rel="ice-server"',
        '<stun:b>; rel="ice-server"',
        '<turn:c>; rel="ice-server"',
        '<turn:d>; rel="ice-server"; username="u"; credential="c"; credential-type="password"',
    ]
