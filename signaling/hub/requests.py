"""What participants say in a room: one short function for each message.

Each returns the body of the reply, or None where it comes later or has been sent, and raises
ProtocolError to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, Raw

from ..logs import Log
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import RELAY, ClientMessage
from .session import Session

if TYPE_CHECKING:
    from .hub import Hub

log = Log(__name__)


def get_fields(session: Session | None) -> dict[str, object]:
    """What a log line says of a session; never its secret."""
    if session is None:
        return {}
    return {"room": session.room.name, "participant": session.participant.id}


# -- Negotiating ------------------------------------------------------------------------


def offer(hub: Hub, session: Session, message: messages.Offer) -> bytes | None:
    if message.to == RELAY:
        return hub.relaying.receive_offer(session, message, hub.arrived)
    messages.check_sdp_untrusted(message.sdp)
    _forward(hub, session, message, "offer", "sdp", message.sdp)
    return None


def answer(hub: Hub, session: Session, message: messages.Answer) -> bytes | None:
    if message.to == RELAY:
        return hub.relaying.receive_answer(session, message, hub.arrived)
    messages.check_sdp_untrusted(message.sdp)
    _forward(hub, session, message, "answer", "sdp", message.sdp)
    return None


def candidate(hub: Hub, session: Session, message: messages.Candidate) -> bytes | None:
    messages.check_candidate_untrusted(message.candidate)
    if message.to == RELAY:
        # It is ICE-lite, and learns addresses from the checks themselves.
        return messages.build_ok(message.id)
    _forward(hub, session, message, "candidate", "candidate", message.candidate)
    return None


def _forward(
    hub: Hub,
    session: Session,
    message: messages.Offer | messages.Answer | messages.Candidate,
    kind: str,
    key: str,
    content: Raw,
) -> None:
    peer = session.room.find_direct_peer(session.participant, message.to)
    assert peer.session is not None
    hub.send(peer.session, messages.build_forward(kind, session.participant.id, key, content))
    hub.metrics.relayed += 1
    hub.metrics.relay_latency.observe(hub.clock() - hub.arrived)
    hub.acknowledge(session, message.id)


def p2p_failed(hub: Hub, session: Session, message: messages.P2pFailed) -> bytes:
    room, participant = session.room, session.participant
    peer = room.find(message.participant)
    if not peer.guest:
        peer = room.find_peer(participant, message.participant)
        fields = get_fields(session) | {"peer": peer.id, "relay": room.relay}
        log.info("pair cannot connect directly", extra=fields)
        hub.apply(room, room.fail_pair(participant, peer))
    return messages.build_ok(message.id)


def select(hub: Hub, session: Session, message: messages.Subscribe | messages.Unsubscribe) -> bytes:
    return hub.relaying.receive_selection(session, message)


def prefer(hub: Hub, session: Session, message: messages.Prefer) -> bytes:
    return hub.relaying.receive_preferences(session, message)


def restart_ice(hub: Hub, session: Session, message: messages.RestartIce) -> bytes:
    return hub.relaying.receive_restart(session, message)


# -- Talking ----------------------------------------------------------------------------


def chat(hub: Hub, session: Session, message: messages.Chat) -> bytes:
    room, sender = session.room, session.participant
    if not sender.grant.chat:
        raise ProtocolError("forbidden", "You may not chat here.")
    if len(message.content) > hub.limits.max_chat:
        raise ProtocolError("bad-request", f"`content` is over {hub.limits.max_chat} characters.")
    said = messages.ChatFrom(
        from_=sender.id,
        user=sender.name,
        content=message.content,
        timestamp=int(hub.wall() * 1000),
    )
    hearers = {sender.id: sender}
    if message.to is None:
        hearers |= {peer.id: peer for peer in room.peers}
        line = messages.ChatLine(
            from_=said.from_, user=said.user, content=said.content, timestamp=said.timestamp
        )
        room.remember(line)
    else:
        peer = room.find(message.to)
        said.to = peer.id
        hearers[peer.id] = peer
    hub.turns.spend(room.name, len(hearers))
    hub.deliver(hearers.values(), said)
    hub.metrics.relayed += len(hearers) - 1
    hub.metrics.relay_latency.observe(hub.clock() - hub.arrived)
    return messages.build_ok(message.id)


def data(hub: Hub, session: Session, message: messages.Data) -> bytes:
    room, sender = session.room, session.participant
    if not sender.grant.data:
        raise ProtocolError("forbidden", "You may not send data here.")
    messages.check_content_untrusted(message.content, hub.limits.max_data)
    if message.to is None:
        receivers = [peer for peer in room.peers if peer is not sender]
    else:
        receivers = [room.find_peer(sender, id) for id in dict.fromkeys(message.to)]
    body = messages.build_data(sender.id, message.topic, message.content)
    hub.turns.spend(room.name, len(receivers))
    for peer in receivers:
        if peer.session is not None:
            hub.send(peer.session, body)
    hub.metrics.relayed += len(receivers)
    hub.metrics.relay_latency.observe(hub.clock() - hub.arrived)
    return messages.build_ok(message.id)


def update(hub: Hub, session: Session, message: messages.Update) -> bytes:
    if session.participant.grant.update is False:
        raise ProtocolError("forbidden", "The token does not allow to change name or metadata.")
    if message.name is not None:
        hub.check_name(message.name)
    metadata = messages.parse_metadata_untrusted(message.metadata, hub.limits.max_metadata)
    effects = session.room.update(session.participant, message.name, metadata)
    hub.apply(session.room, effects)
    return messages.build_ok(message.id)


# -- Moderating -------------------------------------------------------------------------


def kick(hub: Hub, session: Session, message: messages.Kick) -> bytes | None:
    _check_moderator(session)
    target = session.room.find(message.participant)
    body = messages.build_ok(message.id)
    if message.ban:
        session.room.ban(target)
    if target is not session.participant:
        hub.expel(target)
        return body
    hub.reply(session, message.id, body)
    hub.expel(target)
    return None


def mute(hub: Hub, session: Session, message: messages.Mute) -> bytes:
    room = session.room
    hub.apply(room, room.mute(session.participant, message.track, message.muted))
    return messages.build_ok(message.id)


def silence(hub: Hub, session: Session, message: messages.Silence) -> bytes:
    _check_moderator(session)
    target = session.room.find_peer(session.participant, message.participant)
    hub.deliver([target], messages.Silenced(by=session.participant.id))
    return messages.build_ok(message.id)


def lock(hub: Hub, session: Session, message: messages.Lock) -> bytes:
    _check_moderator(session)
    hub.apply(session.room, session.room.lock(message.locked))
    return messages.build_ok(message.id)


def set_lobby(hub: Hub, session: Session, message: messages.SetLobby) -> bytes:
    _check_moderator(session)
    hub.apply(session.room, session.room.set_lobby(message.enabled))
    if not message.enabled:
        hub.entrance.open(session.room.name)
    return messages.build_ok(message.id)


def admit(hub: Hub, session: Session, message: messages.Admit) -> bytes:
    _check_moderator(session)
    hub.entrance.admit(session.room, message.knock)
    return messages.build_ok(message.id)


def decline(hub: Hub, session: Session, message: messages.Decline) -> bytes:
    _check_moderator(session)
    hub.entrance.decline(session.room, message.knock)
    return messages.build_ok(message.id)


def invite(hub: Hub, session: Session, message: messages.Invite) -> bytes:
    _check_moderator(session)
    invitation = messages.Invitation()
    invitation.id = UNSET if message.id is None else message.id
    made = hub.invite(session.room.name)
    if made is not None:
        invitation.token, invitation.expires = made[0], int(made[1] * 1000)
    return messages.encode_body(invitation)


def close_room(hub: Hub, session: Session, message: messages.CloseRoom) -> None:
    _check_moderator(session)
    hub.reply(session, message.id, messages.build_ok(message.id))
    hub.end_room(session.room)


def _check_moderator(session: Session) -> None:
    if not session.participant.grant.moderate:
        raise ProtocolError("forbidden", "Only a moderator may do that.")


HANDLERS: Final[Mapping[type[ClientMessage], Callable[[Hub, Session, Any], bytes | None]]] = {
    messages.Update: update,
    messages.Offer: offer,
    messages.Answer: answer,
    messages.Candidate: candidate,
    messages.P2pFailed: p2p_failed,
    messages.Chat: chat,
    messages.Data: data,
    messages.Kick: kick,
    messages.Mute: mute,
    messages.Silence: silence,
    messages.Lock: lock,
    messages.SetLobby: set_lobby,
    messages.Admit: admit,
    messages.Decline: decline,
    messages.Invite: invite,
    messages.CloseRoom: close_room,
    messages.Subscribe: select,
    messages.Unsubscribe: select,
    messages.Prefer: prefer,
    messages.RestartIce: restart_ice,
}
