"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-02) over HTTP: one POST to publish or to play.

Who may do what is a matter of `admission`; here is only the HTTP of it. A session's URL is a
secret, and whoever uses it shows the token that made it, too. Headers for pages of other origins
are the middleware's: it adds them to every answer.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from ...protocol.errors import ProtocolError
from ..requests import ADDRESS, PREFIX, find_token
from ..responses import make_error, refuse
from .admission import QUALITIES, Action, Admission, Quality
from .fragments import (
    Fragment,
    FragmentError,
    build_fragment,
    build_links,
    find_ufrag,
    parse_fragment_untrusted,
    replace_credentials,
)

if TYPE_CHECKING:
    from ...protocol.messages import IceServer

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"

MAX_FRAGMENT: Final = 64 * 1024
"""Bytes of a PATCH: some hundred candidates, of which there are about ten."""

_ENDPOINT_METHODS: Final = "OPTIONS, POST"
_SESSION_METHODS: Final = "DELETE, OPTIONS, PATCH"


@dataclass(slots=True)
class _Session:
    action: Action
    participant: str
    token: str | None
    offer: str
    etag: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Whip:
    """The routes of WHIP and WHEP, and the sessions they made.

    `token` makes unguessable strings; `ice_servers` gets a participant's id or an identity;
    `make_admission` gets what is to be called with each participant that is gone.
    """

    def __init__(
        self,
        make_admission: Callable[[Callable[[str], None]], Admission],
        *,
        token: Callable[[], str],
        ice_servers: Callable[[str], Sequence[IceServer]],
    ) -> None:
        self._admission = make_admission(self.forget)
        self._token = token
        self._ice_servers = ice_servers
        self._sessions: dict[str, _Session] = {}
        self._arriving: set[str] = set()
        """Participants whose first offer is not answered yet."""

    def add_to(self, app: web.Application) -> None:
        """Mount `/whip` and `/whep`."""
        router = app.router
        router.add_route("*", "/whip/{room}", self._serve_endpoint)
        router.add_route("*", "/whep/{room}", self._serve_endpoint)
        router.add_route("*", "/whep/{room}/{participant}", self._serve_endpoint)
        router.add_route("*", "/whip/{room}/session/{session}", self._serve_session)
        router.add_route("*", "/whep/{room}/session/{session}", self._serve_session)

    def forget(self, participant: str) -> None:
        """A participant has left its room: its session's URL leads nowhere from now on."""
        self._arriving.discard(participant)
        for name, session in list(self._sessions.items()):
            if session.participant == participant:
                del self._sessions[name]

    def count_sessions(self) -> int:
        return len(self._sessions)

    # -- Endpoints ----------------------------------------------------------------------

    async def _serve_endpoint(self, request: web.Request) -> web.Response:
        if request.method == hdrs.METH_OPTIONS:
            return self._describe_endpoint(request)
        if request.method != hdrs.METH_POST:
            # RFC 9725, 4.2: GET, HEAD and PUT are reserved.
            headers = {"Allow": _ENDPOINT_METHODS}
            return make_error(405, "method-not-allowed", "POST an offer.", headers)
        if request.content_type != SDP:
            text = f"The body has to be {SDP}."
            return make_error(415, "bad-request", text, {"Accept-Post": SDP})
        if not _accepts(request, SDP):
            return make_error(406, "bad-request", f"The answer is {SDP}.")
        offer = await _read_offer(request)
        try:
            return await self._open(request, offer)
        except ProtocolError as error:
            # WHEP, 4.2: 409 while there is nothing to play.
            return refuse(error, 409 if error.code == "unknown-track" else None)

    def _describe_endpoint(self, request: web.Request) -> web.Response:
        """What is taken here, and the ICE servers for whoever may have them (RFC 9725, 4.5).

        A browser's preflight has no token and gets none where tokens are needed.
        """
        response = _build_options(_ENDPOINT_METHODS, {"Accept-Post": SDP})
        try:
            access = self._admission.authorize(find_token(request), request.match_info["room"])
        except ProtocolError:
            return response
        identity = (access and access.identity) or "guest"
        self._add_links(response, identity)
        return response

    async def _open(self, request: web.Request, offer: str) -> web.Response:
        kind = request.path.split("/")[1]
        action: Action = "publish" if kind == "whip" else "play"
        room, token = request.match_info["room"], find_token(request)
        quality = parse_quality_untrusted(request.query.get("quality"))
        watched = request.match_info.get("participant")
        participant = self._admission.admit(action, room, watched, token, request[ADDRESS])
        self._arriving.add(participant)
        try:
            answer = await self._admission.offer(action, participant, offer)
            if action == "play":
                self._admission.prefer(participant, quality)
        except BaseException:
            self._admission.dismiss(participant)
            self._arriving.discard(participant)
            raise
        if participant not in self._arriving:
            return make_error(404, "session-expired", "The session is over.")
        self._arriving.remove(participant)
        name = self._token()
        session = _Session(action, participant, token, offer, f'"{self._token()}"')
        self._sessions[name] = session
        response = _make_text(answer, SDP, status=201)
        response.headers[hdrs.LOCATION] = f"{request[PREFIX]}/{kind}/{room}/session/{name}"
        response.headers[hdrs.ETAG] = session.etag
        response.headers["Accept-Patch"] = FRAGMENT
        self._add_links(response, participant)
        return response

    def _add_links(self, response: web.Response, identity: str) -> None:
        for link in build_links(self._ice_servers(identity)):
            response.headers.add(hdrs.LINK, link)

    # -- Sessions -----------------------------------------------------------------------

    async def _serve_session(self, request: web.Request) -> web.Response:
        if request.method == hdrs.METH_OPTIONS:
            return _build_options(_SESSION_METHODS, {"Accept-Patch": FRAGMENT})
        if request.method not in (hdrs.METH_DELETE, hdrs.METH_PATCH):
            headers = {"Allow": _SESSION_METHODS}
            return make_error(405, "method-not-allowed", "PATCH or DELETE it.", headers)
        name = request.match_info["session"]
        session = self._sessions.get(name)
        if session is None:
            return make_error(404, "session-expired", "There is no such session.")
        if not _is_same(session.token, find_token(request)):
            raise ProtocolError("unauthorized", "Show the token of the POST.")
        if request.method == hdrs.METH_DELETE:
            del self._sessions[name]
            self._admission.dismiss(session.participant)
            return web.Response(status=200)
        async with session.lock:
            return await self._patch(request, session)

    async def _patch(self, request: web.Request, session: _Session) -> web.Response:
        if request.content_type != FRAGMENT:
            text = f"The body has to be {FRAGMENT}."
            return make_error(415, "bad-request", text, {"Accept-Patch": FRAGMENT})
        # RFC 9110, 13.1.1: If-Match compares strongly, so a weak tag never matches.
        condition = request.headers.get(hdrs.IF_MATCH)
        tags = [tag.strip() for tag in (condition or "").split(",")]
        if condition is not None and "*" not in tags and session.etag not in tags:
            return make_error(412, "bad-request", "The ICE session is another one by now.")
        fragment = await _read_fragment(request)
        if fragment.ufrag is None or fragment.ufrag == find_ufrag(session.offer):
            if "*" in tags and fragment.ufrag is None:
                return make_error(400, "bad-request", "An ICE restart brings credentials.")
            # The relay is ICE-lite: it learns addresses from the checks, not from candidates.
            # So it does no harm where these come without If-Match, as many clients send them.
            return web.Response(status=204)
        if condition is None:
            # RFC 9725, 4.3.1: without If-Match where it is needed, 428.
            return make_error(428, "bad-request", "An ICE restart needs If-Match.")
        return await self._restart(session, fragment.ufrag, fragment.pwd or "")

    async def _restart(self, session: _Session, ufrag: str, pwd: str) -> web.Response:
        offer = replace_credentials(session.offer, ufrag, pwd)
        answer = await self._admission.offer(session.action, session.participant, offer)
        session.offer = offer
        session.etag = f'"{self._token()}"'
        response = _make_text(build_fragment(answer), FRAGMENT)
        response.headers[hdrs.ETAG] = session.etag
        return response


async def _read_offer(request: web.Request) -> str:
    """The body of a POST. Raises ProtocolError."""
    try:
        offer = await request.text()
    except (UnicodeError, LookupError):
        # LookupError: a charset that nobody knows.
        raise ProtocolError("bad-sdp", "The offer is not UTF-8.") from None
    if not offer.startswith("v=0"):
        raise ProtocolError("bad-sdp", "The body is no session description.")
    return offer


async def _read_fragment(request: web.Request) -> Fragment:
    """The body of a PATCH. Raises ProtocolError."""
    body = await request.read()
    if len(body) > MAX_FRAGMENT:
        raise ProtocolError("too-large", "The fragment is too large.")
    try:
        return parse_fragment_untrusted(body.decode())
    except FragmentError as error:
        raise ProtocolError("bad-request", str(error)) from None
    except UnicodeDecodeError:
        raise ProtocolError("bad-request", "The fragment is not UTF-8.") from None


def _make_text(text: str, kind: str, status: int = 200) -> web.Response:
    response = web.Response(status=status, text=text, content_type=kind)
    response.charset = None
    return response


def _build_options(methods: str, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=204, headers={**headers, hdrs.ALLOW: methods})


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


def parse_quality_untrusted(text: str | None) -> Quality:
    """What a player asks for, until WHEP's draft says how. Raises ProtocolError."""
    for quality in QUALITIES:
        if text in (quality, None):
            return quality
    raise ProtocolError("bad-request", f"`quality` is one of {', '.join(QUALITIES)}.")
