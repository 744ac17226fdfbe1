"""The HTTP of WHIP and WHEP, with the middleware around it and no relay behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from relay import control
from signaling.access.addresses import AddressLimits
from signaling.access.tokens import Access
from signaling.http.middleware import Middleware
from signaling.http.proxy import parse_networks
from signaling.http.whip.admission import Action, Admission, Receive
from signaling.http.whip.fragments import find_ufrag
from signaling.http.whip.routes import Whip
from signaling.metrics import Metrics
from signaling.protocol.errors import ProtocolError
from signaling.protocol.messages import Grant, IceServer
from signaling.settings.config import Config
from tests.unit.relay.sdp.offers import AUDIO, VIDEO, make_offer

Client = TestClient[web.Request, web.Application]
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
OFFER = make_offer(VIDEO, AUDIO)


class FakeCall:
    """A hub that lets everyone in and a relay that answers each offer with itself, until told
    otherwise."""

    def __init__(self) -> None:
        self.refusal: ProtocolError | None = None
        self.refuses_joins = False
        self.joined: list[tuple[str, str | None, str]] = []
        self.asked: list[Action] = []
        self.offers: list[str] = []
        self.commands: list[control.Command] = []
        self.present: set[str] = set()
        self.on_answer: Callable[[str], None] | None = None
        self.on_gone: Callable[[str, str | None], None] = lambda room, participant: None

    def join_guest(
        self,
        room: str,
        *,
        name: str,
        grant: Grant,
        hidden: bool = False,
        watches: str | None = None,
        access: Access | None = None,
        address: str = "",
    ) -> str:
        if self.refusal is not None and self.refuses_joins:
            raise self.refusal
        self.joined.append((room, watches, name))
        participant = f"p_{len(self.joined)}"
        self.present.add(participant)
        return participant

    def leave_guest(self, participant: str) -> None:
        self.present.discard(participant)

    def room(self, name: str) -> object | None:
        return name

    def watch(
        self, *, on_gone: Callable[[str, str | None], None], on_end: Callable[[str], None]
    ) -> None:
        self.on_gone = on_gone

    def send(self, command: control.Command) -> None:
        self.commands.append(command)

    def ask_for_guest(
        self, kind: Action, participant: str, sdp: str, receiver: Receive, *, address: str
    ) -> None:
        del address
        assert participant in self.present
        self.asked.append(kind)
        if self.refusal is not None:
            raise self.refusal
        self.offers.append(sdp)
        if self.on_answer is not None:
            self.on_answer(participant)
        receiver(control.Answer(1, sdp))


@pytest.fixture
def call() -> FakeCall:
    return FakeCall()


@pytest.fixture
def needs_token() -> bool:
    return False


@pytest.fixture
def whip(call: FakeCall, needs_token: bool) -> Whip:
    numbers = iter(range(1000))

    def authorize(token: str | None, room: str) -> Access:
        if token != "secret":
            raise ProtocolError("unauthorized", "This server needs a token.")
        return Access(Grant(), room=room, identity="ada")

    return Whip(
        lambda forget: Admission(
            call, call, forget=forget, authorize=authorize if needs_token else None
        ),
        token=lambda: f"token{next(numbers)}",
        ice_servers=lambda identity: [
            IceServer(urls=["turn:t.example"], username=identity, credential="c")
        ],
    )


@pytest.fixture
def guard() -> AddressLimits:
    return AddressLimits(ban=60.0)


@pytest.fixture
async def client(
    whip: Whip, guard: AddressLimits, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Client:
    app = web.Application(client_max_size=256 * 1024)
    config = Config(trusted_proxy=("127.0.0.1",))
    trusted = parse_networks(config.trusted_proxy)
    Middleware(config, guard, trusted, Metrics().count_request).add_to(app)
    whip.add_to(app)
    return await aiohttp_client(app)


async def post(client: Client, path: str = "/whip/demo", **headers: str) -> Any:
    all_headers = {"Content-Type": "application/sdp", **headers}
    return await client.post(path, data=OFFER, headers=all_headers)


async def test_a_post_makes_a_session_and_a_delete_ends_it(
    client: Client, call: FakeCall, whip: Whip
) -> None:
    response = await post(client, Authorization="Bearer secret")
    assert response.status == 201
    assert response.headers["Content-Type"] == "application/sdp"
    assert response.headers["Link"] == (
        '<turn:t.example>; rel="ice-server"; username="p_1"; credential="c";'
        ' credential-type="password"'
    )
    assert call.joined == [("demo", None, "WHIP")]
    assert call.asked == ["publish"]
    url = response.headers["Location"]
    # Who has only the address has nothing.
    for headers in ({}, {"Authorization": "Bearer other"}):
        refused = await client.delete(url, headers=headers)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert (await client.delete(url, headers={"Authorization": "bearer secret"})).status == 200
    assert (await client.delete(url)).status == 404
    assert call.present == set()
    assert whip.count_sessions() == 0


@pytest.mark.parametrize("charset", ["no-such-charset", "hex", "utf-16"])
async def test_an_offer_is_refused_that_cannot_be_read(client: Client, charset: str) -> None:
    response = await post(client, **{"Content-Type": f"application/sdp; charset={charset}"})
    assert response.status == 400
    assert (await response.json())["code"] == "bad-sdp"


async def test_one_participant_may_be_played_alone(client: Client, call: FakeCall) -> None:
    assert (await post(client, "/whep/demo/p_7")).status == 201
    assert call.joined == [("demo", "p_7", "WHEP")]
    assert call.asked == ["play"]


@pytest.mark.parametrize(("quality", "size"), [("low", (320, 180)), ("medium", (640, 360))])
async def test_a_player_says_which_quality_it_wants_at_most(
    client: Client, call: FakeCall, quality: str, size: tuple[int, int]
) -> None:
    assert (await post(client, f"/whep/demo?quality={quality}")).status == 201
    default = control.Preference("", *size)
    assert call.commands == [control.Prefer("demo", "p_1", [], default=default)]


async def test_without_a_quality_a_player_gets_what_its_line_carries(
    client: Client, call: FakeCall
) -> None:
    for path in ("/whep/demo", "/whep/demo?quality=auto", "/whep/demo?quality=high"):
        assert (await post(client, path)).status == 201
    assert call.commands == []
    refused = await post(client, "/whep/demo?quality=huge")
    assert refused.status == 400
    assert (await refused.json())["code"] == "bad-request"


async def test_who_left_the_room_has_no_session_any_more(client: Client, whip: Whip) -> None:
    url = (await post(client)).headers["Location"]
    whip.forget("p_1")
    assert (await client.patch(url, headers=FRAGMENT, data="a=x\r\n")).status == 404


async def test_who_is_removed_before_the_answer_comes_gets_no_session(
    client: Client, call: FakeCall, whip: Whip
) -> None:
    """The room was closed while the relay's answer was under way."""
    call.on_answer = whip.forget
    response = await post(client)
    assert response.status == 404
    assert (await response.json())["code"] == "session-expired"
    assert whip.count_sessions() == 0


@pytest.mark.parametrize(
    ("code", "at_join", "status", "headers"),
    [
        ("unauthorized", True, 401, {"WWW-Authenticate": "Bearer"}),
        ("forbidden", True, 403, {}),
        ("bad-sdp", False, 400, {}),
        ("relay-unavailable", False, 503, {"Retry-After": "2"}),
        ("unknown-track", True, 409, {}),
    ],
)
async def test_a_refusal_leaves_nobody_in_the_room(
    client: Client,
    call: FakeCall,
    whip: Whip,
    code: str,
    at_join: bool,
    status: int,
    headers: dict[str, str],
) -> None:
    call.refusal, call.refuses_joins = ProtocolError(code, "No."), at_join
    response = await post(client)
    assert response.status == status
    assert headers.items() <= dict(response.headers).items()
    assert (await response.json())["code"] == code
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert call.present == set()
    assert whip.count_sessions() == 0


async def test_a_restart_that_fails_leaves_the_session_as_it_was(
    client: Client, call: FakeCall
) -> None:
    response = await post(client)
    url, etag = response.headers["Location"], response.headers["ETag"]
    restart = "a=ice-ufrag:neww\r\na=ice-pwd:" + "n" * 24 + "\r\n"
    call.refusal = ProtocolError("relay-unavailable", "No.")
    assert (await client.patch(url, headers=FRAGMENT, data=restart)).status == 503
    call.refusal = None
    trickle = {**FRAGMENT, "If-Match": etag}
    assert (await client.patch(url, headers=trickle, data="a=end-of-candidates")).status == 204
    again = await client.patch(url, headers=FRAGMENT, data=restart)
    assert again.status == 200
    assert again.headers["ETag"] != etag
    assert find_ufrag(call.offers[-1]) == "neww"
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


# -- Pages of other origins -------------------------------------------------------------

FORWARDED = {"X-Forwarded-For": "192.0.2.7"}
EXPOSED = {"ETag", "Link", "Location", "Retry-After"}


def assert_shared(response: Any) -> None:
    """A page of another origin may read the answer, and the headers that matter."""
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) >= EXPOSED


@pytest.mark.parametrize("path", ["/whip/demo", "/whep/demo", "/whep/demo/p_1"])
async def test_every_answer_of_an_endpoint_may_be_read_by_a_page_of_any_origin(
    client: Client, path: str
) -> None:
    assert_shared(await post(client, path))
    assert_shared(await post(client, path + "/"))  # 404
    assert_shared(await post(client, path, **{"Content-Type": "text/plain"}))  # 415
    assert_shared(await client.get(path))  # 405
    too_large = await client.post(
        path, data=bytes(300 * 1024), headers={"Content-Type": "application/sdp"}
    )
    assert too_large.status == 413
    assert_shared(too_large)


async def test_a_network_that_is_limited_or_banned_is_told_so_in_a_way_pages_can_read(
    client: Client, guard: AddressLimits
) -> None:
    answers = [await post(client, **FORWARDED) for _ in range(21)]
    assert answers[-1].status == 429
    assert_shared(answers[-1])
    now = asyncio.get_running_loop().time()
    while not guard.violate("192.0.2.7", now, "bad-request"):
        pass
    banned = await post(client, **FORWARDED)
    assert banned.status == 429
    assert int(banned.headers["Retry-After"]) > 30
    assert_shared(banned)
    # Without 2xx to its preflight the page would learn of a network error only.
    preflight = {**FORWARDED, "Access-Control-Request-Method": "POST"}
    for path in ("/whip/demo", "/whip/demo/", "/whip/demo/session/x"):
        asked = await client.options(path, headers=preflight)
        assert asked.status == 204
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
        assert_shared(asked)


async def test_options_name_the_ice_servers(client: Client) -> None:
    asked = await client.options("/whip/demo")
    assert asked.headers["Link"].startswith('<turn:t.example>; rel="ice-server"; username="guest"')
    assert asked.headers["Accept-Post"] == "application/sdp"
    assert asked.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("needs_token", [True])
async def test_options_name_ice_servers_only_to_those_with_a_token_where_one_is_needed(
    client: Client,
) -> None:
    assert "Link" not in (await client.options("/whip/demo")).headers
    asked = await client.options("/whep/demo", headers={"Authorization": "Bearer secret"})
    assert 'username="ada"' in asked.headers["Link"]


@pytest.mark.parametrize("prefix", ["/tandem", "/tandem/", "/a/b"])
async def test_a_location_is_below_the_path_at_which_a_trusted_proxy_shows_us(
    client: Client, prefix: str
) -> None:
    response = await post(client, **{"X-Forwarded-Prefix": prefix})
    assert response.headers["Location"].startswith(prefix.rstrip("/") + "/whip/demo/session/")


async def test_candidates_alone_need_no_if_match_but_a_restart_does(client: Client) -> None:
    url = (await post(client)).headers["Location"]
    kind = {"Content-Type": FRAGMENT["Content-Type"]}
    candidates = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
    assert (await client.patch(url, headers=kind, data=candidates)).status == 204
    ours = find_ufrag(OFFER)
    same = f"a=ice-ufrag:{ours}\r\na=ice-pwd:{'x' * 24}\r\n" + candidates
    assert (await client.patch(url, headers=kind, data=same)).status == 204
    restart = "a=ice-ufrag:neww\r\na=ice-pwd:" + "n" * 24 + "\r\n"
    response = await client.patch(url, headers=kind, data=restart)
    assert response.status == 428
    assert_shared(response)
