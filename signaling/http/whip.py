"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-02) over HTTP: one POST to publish or to play.

Who may do what, and what becomes of an offer, is asked of a `Stage`; here is only the HTTP of
it. A session's URL is a secret, and whoever uses it shows the token that made it, too.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from aiohttp import hdrs, web

Action = Literal["publish", "play"]

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"
RETRY_AFTER: Final = 2
"""Seconds after which it is worth asking again for what is not there yet."""

MAX_FRAGMENT: Final = 64 * 1024
"""Bytes of a PATCH: some hundred candidates, of which there are about ten."""

_ENDPOINT_METHODS: Final = "OPTIONS, POST"
_SESSION_METHODS: Final = "DELETE, OPTIONS, PATCH"
_CORS: Final[Mapping[str, str]] = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "Accept-Patch, Accept-Post, ETag, Link, Location",
}
_FRAGMENT_HEAD: Final = ("a=ice-lite", "a=ice-options:", "a=group:BUNDLE")
_FRAGMENT_MEDIA: Final = (
    "m=",
    "a=mid:",
    "a=ice-ufrag:",
    "a=ice-pwd:",
    "a=candidate:",
    "a=end-of-candidates",
)
# RFC 8839 5.4: ice-char = ALPHA / DIGIT / "+" / "/".
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")


class Stage(Protocol):
    """What the HTTP side needs of the hub; it refuses by raising."""

    def admit(self, action: Action, room: str, participant: str | None, token: str | None) -> str:
        """Let somebody into the room; returns the new participant's id."""

    async def offer(self, action: Action, guest: str, sdp: str) -> str:
        """The answer to the guest's offer, its first or a later one."""

    def dismiss(self, guest: str) -> None:
        """The guest has left. Idempotent."""

    def list_ice_servers(self, guest: str) -> Sequence[Mapping[str, object]]:
        """RTCIceServer dictionaries: `urls`, `username`, `credential`."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal in HTTP's terms; `message` is for people."""

    status: int
    code: str
    message: str


@dataclass(slots=True)
class _Session:
    action: Action
    guest: str
    token: str | None
    offer: str
    etag: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a PATCH says; both None where it only brings candidates."""

    ufrag: str | None
    pwd: str | None


class FragmentError(ValueError):
    """The fragment is no SDP fragment of ICE."""


def parse_fragment_untrusted(text: str) -> Fragment:
    """Read the body of a PATCH (RFC 8840 9.2). Raises FragmentError, and nothing else."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if not line:
            continue
        if not re.match(r"[a-z]=", line):
            raise FragmentError("A line is no SDP.")
        for name in ("ice-ufrag", "ice-pwd"):
            prefix = f"a={name}:"
            if line.startswith(prefix):
                value = line[len(prefix) :]
                if not _CREDENTIAL.match(value) or values.setdefault(name, value) != value:
                    raise FragmentError(f"{name} is wrong.")
    if ("ice-ufrag" in values) != ("ice-pwd" in values):
        raise FragmentError("ice-ufrag and ice-pwd come together.")
    if not values and "a=" not in text:
        raise FragmentError("There is nothing in it.")
    return Fragment(values.get("ice-ufrag"), values.get("ice-pwd"))


def replace_credentials(offer: str, ufrag: str, pwd: str) -> str:
    """The offer as it would be after an ICE restart."""
    offer = re.sub(r"(?m)^a=ice-ufrag:[^\r\n]*", f"a=ice-ufrag:{ufrag}", offer)
    return re.sub(r"(?m)^a=ice-pwd:[^\r\n]*", f"a=ice-pwd:{pwd}", offer)


def find_ufrag(sdp: str) -> str | None:
    """The first ICE user name fragment of a description."""
    found = re.search(r"(?m)^a=ice-ufrag:([^\r\n]*)", sdp)
    return found[1] if found else None


def build_fragment(answer: str) -> str:
    """The answer's ICE part, as the reply to an ICE restart carries it (RFC 9725 4.3.3)."""
    head, *sections = re.split(r"(?m)^(?=m=)", answer)
    lines = [line for line in head.splitlines() if line.startswith(_FRAGMENT_HEAD)]
    for section in sections:
        if "a=ice-ufrag:" in section or "a=ice-ufrag:" in head:
            lines += [line for line in section.splitlines() if line.startswith(_FRAGMENT_MEDIA)]
            break
    return "\r\n".join(lines) + "\r\n"


def build_links(servers: Sequence[Mapping[str, object]]) -> list[str]:
    """`Link` header values of ICE servers (RFC 9725 4.5)."""
    links = []
    for server in servers:
        urls = server.get("urls", ())
        for url in [urls] if isinstance(urls, str) else urls if isinstance(urls, list) else ():
            link = f'<{url}>; rel="ice-server"'
            if server.get("username") and server.get("credential"):
                link += f'; username="{server["username"]}"; credential="{server["credential"]}"'
                link += '; credential-type="password"'
            links.append(link)
    return links


class Whip:
    """The routes. `explain` turns what a Stage raises into a Denial, None: not a refusal."""

    def __init__(
        self,
        stage: Stage,
        *,
        token: Callable[[], str],
        explain: Callable[[Exception], Denial | None],
    ) -> None:
        self._stage = stage
        self._token = token
        self._explain = explain
        self._sessions: dict[str, _Session] = {}
        self._arriving: set[str] = set()
        """Guests whose first offer is not answered yet."""

    def add_to(self, app: web.Application) -> None:
        """Mount `/whip` and `/whep`."""
        router = app.router
        router.add_route("*", "/whip/{room}", self._serve_endpoint)
        router.add_route("*", "/whep/{room}", self._serve_endpoint)
        router.add_route("*", "/whep/{room}/{participant}", self._serve_endpoint)
        router.add_route("*", "/whip/{room}/session/{session}", self._serve_session)
        router.add_route("*", "/whep/{room}/session/{session}", self._serve_session)

    def forget(self, guest: str) -> None:
        """The guest was removed from its room: its session's URL leads nowhere from now on."""
        self._arriving.discard(guest)
        for name, session in list(self._sessions.items()):
            if session.guest == guest:
                del self._sessions[name]

    def count_sessions(self) -> int:
        return len(self._sessions)

    # -- Endpoints ----------------------------------------------------------------------

    async def _serve_endpoint(self, request: web.Request) -> web.Response:
        if request.method == hdrs.METH_OPTIONS:
            return _build_options(_ENDPOINT_METHODS, {"Accept-Post": SDP})
        if request.method != hdrs.METH_POST:
            # RFC 9725 4.2: GET, HEAD and PUT are reserved.
            return _refuse(405, "method-not-allowed", "POST an offer.", Allow=_ENDPOINT_METHODS)
        if request.content_type != SDP:
            return _refuse(415, "bad-request", f"The body has to be {SDP}.", **{"Accept-Post": SDP})
        if not _accepts(request, SDP):
            return _refuse(406, "bad-request", f"The answer is {SDP}.")
        try:
            offer = await request.text()
        except (UnicodeError, LookupError):
            # LookupError: a charset that nobody knows.
            return _refuse(400, "bad-sdp", "The offer is not UTF-8.")
        if not offer.startswith("v=0"):
            return _refuse(400, "bad-sdp", "The body is no session description.")
        try:
            return await self._open(request, offer)
        except Exception as error:
            denial = self._explain(error)
            if denial is None:
                raise
            return _deny(denial)

    async def _open(self, request: web.Request, offer: str) -> web.Response:
        kind = request.path.split("/")[1]
        action: Action = "publish" if kind == "whip" else "play"
        room = request.match_info["room"]
        token = _get_token(request)
        guest = self._stage.admit(action, room, request.match_info.get("participant"), token)
        self._arriving.add(guest)
        try:
            answer = await self._stage.offer(action, guest, offer)
        except BaseException:
            self._stage.dismiss(guest)
            self._arriving.discard(guest)
            raise
        if guest not in self._arriving:
            return _refuse(404, "session-expired", "The session is over.")
        self._arriving.remove(guest)
        name = self._token()
        session = _Session(action, guest, token, offer, f'"{self._token()}"')
        self._sessions[name] = session
        response = web.Response(status=201, text=answer, content_type=SDP, headers=_CORS)
        response.charset = None
        response.headers[hdrs.LOCATION] = f"/{kind}/{room}/session/{name}"
        response.headers[hdrs.ETAG] = session.etag
        response.headers["Accept-Patch"] = FRAGMENT
        for link in build_links(self._stage.list_ice_servers(guest)):
            response.headers.add(hdrs.LINK, link)
        return response

    # -- Sessions -----------------------------------------------------------------------

    async def _serve_session(self, request: web.Request) -> web.Response:
        if request.method == hdrs.METH_OPTIONS:
            return _build_options(_SESSION_METHODS, {"Accept-Patch": FRAGMENT})
        if request.method not in (hdrs.METH_DELETE, hdrs.METH_PATCH):
            return _refuse(405, "method-not-allowed", "PATCH or DELETE it.", Allow=_SESSION_METHODS)
        name = request.match_info["session"]
        session = self._sessions.get(name)
        if session is None:
            return _refuse(404, "session-expired", "There is no such session.")
        if not _is_same(session.token, _get_token(request)):
            return _refuse(
                401, "unauthorized", "Show the token of the POST.", **{"WWW-Authenticate": "Bearer"}
            )
        if request.method == hdrs.METH_DELETE:
            del self._sessions[name]
            self._stage.dismiss(session.guest)
            return web.Response(status=200, headers=_CORS)
        async with session.lock:
            try:
                return await self._patch(request, session)
            except Exception as error:
                denial = self._explain(error)
                if denial is None:
                    raise
                return _deny(denial)

    async def _patch(self, request: web.Request, session: _Session) -> web.Response:
        condition = request.headers.get(hdrs.IF_MATCH)
        if condition is None:
            # RFC 9725 4.3.1: without If-Match where it is needed, 428.
            return _refuse(428, "bad-request", "If-Match is needed.")
        if request.content_type != FRAGMENT:
            return _refuse(
                415, "bad-request", f"The body has to be {FRAGMENT}.", **{"Accept-Patch": FRAGMENT}
            )
        # RFC 9110 13.1.1: If-Match compares strongly, so a weak tag never matches.
        tags = [tag.strip() for tag in condition.split(",")]
        if "*" not in tags and session.etag not in tags:
            return _refuse(412, "bad-request", "The ICE session is another one by now.")
        body = await request.read()
        if len(body) > MAX_FRAGMENT:
            return _refuse(413, "too-large", "The fragment is too large.")
        try:
            fragment = parse_fragment_untrusted(body.decode())
        except (FragmentError, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, FragmentError) else "It is not UTF-8."
            return _refuse(400, "bad-request", reason)
        if fragment.ufrag is None or fragment.ufrag == find_ufrag(session.offer):
            if "*" in tags and fragment.ufrag is None:
                return _refuse(400, "bad-request", "An ICE restart brings credentials.")
            # The relay is ICE-lite: it learns addresses from the checks, not from candidates.
            return web.Response(status=204, headers=_CORS)
        return await self._restart(session, fragment.ufrag, fragment.pwd or "")

    async def _restart(self, session: _Session, ufrag: str, pwd: str) -> web.Response:
        offer = replace_credentials(session.offer, ufrag, pwd)
        answer = await self._stage.offer(session.action, session.guest, offer)
        session.offer = offer
        session.etag = f'"{self._token()}"'
        response = web.Response(
            status=200, text=build_fragment(answer), content_type=FRAGMENT, headers=_CORS
        )
        response.charset = None
        response.headers[hdrs.ETAG] = session.etag
        return response


def _build_options(methods: str, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=204,
        headers={
            **_CORS,
            **headers,
            hdrs.ALLOW: methods,
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: methods,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, If-Match",
            hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
        },
    )


def _refuse(status: int, code: str, message: str, **headers: str) -> web.Response:
    body = {"code": code, "message": message}
    return web.json_response(body, status=status, headers={**_CORS, **headers})


def _deny(denial: Denial) -> web.Response:
    headers: dict[str, str] = {}
    status = denial.status
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if denial.code == "unknown-track":
        # WHEP 4.2: 409 while there is nothing to play.
        status = 409
    if denial.code == "unknown-track" or status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return _refuse(status, denial.code, denial.message, **headers)


def _get_token(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _is_same(ours: str | None, theirs: str | None) -> bool:
    return hmac.compare_digest((ours or "").encode(), (theirs or "").encode())


def _accepts(request: web.Request, media_type: str) -> bool:
    accept = request.headers.get(hdrs.ACCEPT)
    if accept is None:
        return True
    kind = media_type.partition("/")[0]
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name in ("*/*", f"{kind}/*", media_type):
            return not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
    return False
