"""What clients may say: one table of all messages, and how each is carried out once.

Where a message is legal goes by where its connection is: outside, waiting in the lobby, or in a
room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import UNSET

from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import ClientMessage
from . import moderating, talking
from .context import Call, Context, check_name, reply_once_written
from .members import Applicant
from .participant import NO_METADATA
from .session import PENDING, Link, State

# Where a connection is; plain numbers, for this is asked of each message.
OUTSIDE: Final = 1
WAITING: Final = 2
INSIDE: Final = 4
ANYWHERE: Final = OUTSIDE | WAITING | INSIDE

Handle = Callable[[Call, Any], bytes | None]


def carry_out(context: Context, link: Link, message: ClientMessage, now: float) -> None:
    """Carry out a message once, and reply to it. Raise ProtocolError."""
    handle, places = TABLE[type(message)]
    place = find_place(link)
    session, id = link.session, message.id
    if session is not None and id is not None and places != ANYWHERE:
        first = session.recall(id)
        if first is not None:
            if first is not PENDING:
                session.send(first)
            link.bad = 0
            return
    if not place & places:
        raise _refuse_place(place)
    reply = handle(Call(context, link, now), message)
    if reply is not None and session is not None:
        reply_once_written(context, session, id, reply)
    link.bad = 0


def find_place(link: Link) -> int:
    if link.session is not None:
        return INSIDE
    return WAITING if link.knock else OUTSIDE


def _refuse_place(place: int) -> ProtocolError:
    if place == OUTSIDE:
        return ProtocolError("not-joined", "Join a room first.")
    if place == INSIDE:
        return ProtocolError("already-joined", "This connection has joined a room.")
    return ProtocolError("already-joined", "This connection waits to be let in.")


def is_broadcast(message: ClientMessage) -> bool:
    """True for what costs as much as the room is large."""
    if isinstance(message, messages.Data):
        return message.to is None or len(message.to) > 1
    return isinstance(message, (messages.Chat, messages.Update))


# -- Coming and going -------------------------------------------------------------------


def heartbeat(call: Call, message: messages.Heartbeat) -> None:
    link = call.link
    if link.session is not None:
        if message.seq is not None:
            link.session.acknowledge(message.seq)
        link.session.age(call.now)
    reply = messages.HeartbeatReply(
        timestamp=message.timestamp, server_time=int(call.context.wall() * 1000)
    )
    reply.id = UNSET if message.id is None else message.id
    link.send(messages.encode(reply))


def join(call: Call, message: messages.Join) -> None:
    context, link = call.context, call.link
    refused = context.addresses.join(link.address, call.now)
    if refused is not None:
        text = "Too many joins from your network."
        raise ProtocolError("rate-limited", text, retry_after=refused[1])
    check_name(message.name, context.limits)
    metadata = messages.parse_metadata_untrusted(message.metadata, context.limits.max_metadata)
    access = context.authorize and context.authorize(message.token, message.room)
    context.check_token(access, call.now)
    applicant = Applicant(
        link,
        message.id,
        message.room,
        message.name,
        metadata or NO_METADATA,
        access,
        data=message.data,
    )
    context.lobby.receive(applicant, call.now)


def resume(call: Call, message: messages.Resume) -> None:
    members = call.context.members
    session = members.find_session(message)
    if session is None:
        raise ProtocolError("session-expired", "The session is over. Join again.")
    if not session.can_replay_after(message.seq):
        if session.state is State.DETACHED and message.seq < session.seq:
            call.context.lobby.follow(members.leave(session, "timeout", call.now), call.now)
        raise ProtocolError(
            "session-expired", f"What came after {message.seq} is not there. Join again."
        )
    members.resume(call.link, session, message)


def leave(call: Call, message: messages.Leave) -> None:
    session = call.session
    session.reply(message.id, messages.build_ok(message.id))
    call.context.lobby.follow(call.context.members.leave(session, "left", call.now), call.now)


TABLE: Final[Mapping[type[ClientMessage], tuple[Handle, int]]] = {
    messages.Heartbeat: (heartbeat, ANYWHERE),
    messages.Join: (join, OUTSIDE),
    messages.Resume: (resume, OUTSIDE),
    messages.Leave: (leave, INSIDE),
    messages.Update: (talking.update, INSIDE),
    messages.Offer: (talking.offer, INSIDE),
    messages.Answer: (talking.answer, INSIDE),
    messages.Candidate: (talking.candidate, INSIDE),
    messages.P2pFailed: (talking.p2p_failed, INSIDE),
    messages.Chat: (talking.chat, INSIDE),
    messages.Data: (talking.data, INSIDE),
    messages.Subscribe: (talking.select, INSIDE),
    messages.Unsubscribe: (talking.select, INSIDE),
    messages.Prefer: (talking.prefer, INSIDE),
    messages.RestartIce: (talking.restart_ice, INSIDE),
    messages.Kick: (moderating.kick, INSIDE),
    messages.Mute: (moderating.mute, INSIDE),
    messages.Silence: (moderating.silence, INSIDE),
    messages.Lock: (moderating.lock, INSIDE),
    messages.SetLobby: (moderating.set_lobby, INSIDE),
    messages.Admit: (moderating.admit, INSIDE),
    messages.Decline: (moderating.decline, INSIDE),
    messages.Invite: (moderating.invite, INSIDE),
    messages.CloseRoom: (moderating.close_room, INSIDE),
}
"""What handles each message, and where it is legal."""
