"""WHIP's texts: fragments, links, and the HTTP that needs no relay behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from signaling.http.whip import (
    Action,
    Denial,
    Fragment,
    FragmentError,
    Whip,
    build_fragment,
    build_links,
    find_ufrag,
    parse_fragment_untrusted,
    replace_credentials,
)
from tests.unit.relay.sdp.offers import AUDIO, LOCAL, VIDEO, answer_publisher, make_offer

Client = TestClient[web.Request, web.Application]
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
OFFER = make_offer(VIDEO, AUDIO)


class Refusal(Exception):
    """What the stage of these tests refuses with."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.denial = Denial(status, code, "No.")


class FakeStage:
    """Lets everyone in and answers each offer with itself, until told otherwise."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.admitted: list[tuple[Action, str, str | None, str | None]] = []
        self.offers: list[str] = []
        self.present: set[str] = set()
        self.on_answer: Callable[[str], None] | None = None

    def admit(self, action: Action, room: str, participant: str | None, token: str | None) -> str:
        if self.refusal is not None and self.refusal.denial.status in (401, 403):
            raise self.refusal
        self.admitted.append((action, room, participant, token))
        guest = f"p_{len(self.admitted)}"
        self.present.add(guest)
        return guest

    async def offer(self, action: Action, guest: str, sdp: str) -> str:
        assert guest in self.present
        assert action in ("publish", "play")
        if self.refusal is not None:
            raise self.refusal
        self.offers.append(sdp)
        if self.on_answer is not None:
            self.on_answer(guest)
        return sdp

    def dismiss(self, guest: str) -> None:
        self.present.discard(guest)

    def list_ice_servers(self, guest: str) -> Sequence[Mapping[str, object]]:
        assert guest in self.present
        return [{"urls": ["turn:t.example"], "username": "u", "credential": "c"}]


@pytest.fixture
def stage() -> FakeStage:
    return FakeStage()


@pytest.fixture
def whip(stage: FakeStage) -> Whip:
    numbers = iter(range(1000))
    return Whip(
        stage,
        token=lambda: f"token{next(numbers)}",
        explain=lambda error: error.denial if isinstance(error, Refusal) else None,
    )


@pytest.fixture
async def client(whip: Whip, aiohttp_client: Callable[..., Awaitable[Client]]) -> Client:
    app = web.Application()
    whip.add_to(app)
    return await aiohttp_client(app)


async def post(client: Client, path: str = "/whip/demo", **headers: str) -> Any:
    all_headers = {"Content-Type": "application/sdp", **headers}
    return await client.post(path, data=OFFER, headers=all_headers)


async def test_a_post_makes_a_session_and_a_delete_ends_it(
    client: Client, stage: FakeStage, whip: Whip
) -> None:
    response = await post(client, Authorization="Bearer secret")
    assert response.status == 201
    assert response.headers["Content-Type"] == "application/sdp"
    assert response.headers["Link"] == (
        '<turn:t.example>; rel="ice-server"; username="u"; credential="c";'
        ' credential-type="password"'
    )
    assert stage.admitted == [("publish", "demo", None, "secret")]
    url = response.headers["Location"]
    # Who has only the address has nothing.
    for headers in ({}, {"Authorization": "Bearer other"}):
        refused = await client.delete(url, headers=headers)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert (await client.delete(url, headers={"Authorization": "bearer secret"})).status == 200
    assert (await client.delete(url)).status == 404
    assert stage.present == set()
    assert whip.count_sessions() == 0


@pytest.mark.parametrize("charset", ["no-such-charset", "hex", "utf-16"])
async def test_an_offer_is_refused_that_cannot_be_read(client: Client, charset: str) -> None:
    response = await post(client, **{"Content-Type": f"application/sdp; charset={charset}"})
    assert response.status == 400
    assert (await response.json())["code"] == "bad-sdp"


async def test_one_participant_may_be_played_alone(client: Client, stage: FakeStage) -> None:
    assert (await post(client, "/whep/demo/p_7")).status == 201
    assert stage.admitted == [("play", "demo", "p_7", None)]


async def test_who_left_the_room_has_no_session_any_more(client: Client, whip: Whip) -> None:
    url = (await post(client)).headers["Location"]
    whip.forget("p_1")
    assert (await client.patch(url, headers=FRAGMENT, data="a=x\r\n")).status == 404


async def test_who_is_removed_before_the_answer_comes_gets_no_session(
    client: Client, stage: FakeStage, whip: Whip
) -> None:
    """The room was closed while the relay's answer was under way."""
    stage.on_answer = whip.forget
    response = await post(client)
    assert response.status == 404
    assert (await response.json())["code"] == "session-expired"
    assert whip.count_sessions() == 0


@pytest.mark.parametrize(
    ("refusal", "status", "headers"),
    [
        (Refusal(401, "unauthorized"), 401, {"WWW-Authenticate": "Bearer"}),
        (Refusal(403, "forbidden"), 403, {}),
        (Refusal(400, "bad-sdp"), 400, {}),
        (Refusal(503, "relay-unavailable"), 503, {"Retry-After": "2"}),
        (Refusal(404, "unknown-track"), 409, {"Retry-After": "2"}),
    ],
)
async def test_a_refusal_leaves_nobody_in_the_room(
    client: Client,
    stage: FakeStage,
    whip: Whip,
    refusal: Refusal,
    status: int,
    headers: dict[str, str],
) -> None:
    stage.refusal = refusal
    response = await post(client)
    assert response.status == status
    assert headers.items() <= dict(response.headers).items()
    assert (await response.json())["code"] == refusal.denial.code
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert stage.present == set()
    assert whip.count_sessions() == 0


async def test_a_restart_that_fails_leaves_the_session_as_it_was(
    client: Client, stage: FakeStage
) -> None:
    response = await post(client)
    url, etag = response.headers["Location"], response.headers["ETag"]
    restart = "a=ice-ufrag:neww\r\na=ice-pwd:" + "n" * 24 + "\r\n"
    stage.refusal = Refusal(503, "relay-unavailable")
    assert (await client.patch(url, headers=FRAGMENT, data=restart)).status == 503
    stage.refusal = None
    trickle = {**FRAGMENT, "If-Match": etag}
    assert (await client.patch(url, headers=trickle, data="a=end-of-candidates")).status == 204
    again = await client.patch(url, headers=FRAGMENT, data=restart)
    assert again.status == 200
    assert again.headers["ETag"] != etag
    assert find_ufrag(stage.offers[-1]) == "neww"
    # The same once more is the ICE session that there is: nothing to restart.
    assert (await client.patch(url, headers=FRAGMENT, data=restart)).status == 204


async def test_a_restart_without_credentials_is_refused(client: Client) -> None:
    url = (await post(client)).headers["Location"]
    assert (await client.patch(url, headers=FRAGMENT, data="a=end-of-candidates")).status == 400


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/sdp", 201),
        ("*/*", 201),
        ("text/html, application/*;q=0.5", 201),
        ("text/html", 406),
        ("application/sdp;q=0", 406),
    ],
)
async def test_the_client_says_what_it_accepts(client: Client, accept: str, status: int) -> None:
    assert (await post(client, Accept=accept)).status == status


# -- Texts ------------------------------------------------------------------------------


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
    servers: list[dict[str, object]] = [
        {"urls": ["stun:a", "stun:b"]},
        {"urls": "turn:c", "username": "u"},
        {},
    ]
    assert build_links(servers) == [
        '<stun:a>; rel="ice-server"',
        '<stun:b>; rel="ice-server"',
        '<turn:c>; rel="ice-server"',
    ]
