"""What participants say to each other and to the relay: one short function for each message.

Each returns the body of the reply, or None where it comes later or has been sent, and raises
ProtocolError to refuse.
"""

from __future__ import annotations

from msgspec import Raw

from ..logs import Log
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..protocol.messages import RELAY
from .context import Call, check_name, reply_once_written
from .session import Session

log = Log(__name__)

# -- Negotiating ------------------------------------------------------------------------


def offer(call: Call, message: messages.Offer) -> bytes | None:
    if message.to == RELAY:
        return call.context.relaying.receive_offer(call.session, message, call.now)
    messages.check_sdp_untrusted(message.sdp)
    _forward(call, call.session, message, "offer", "sdp", message.sdp)
    return None


def answer(call: Call, message: messages.Answer) -> bytes | None:
    if message.to == RELAY:
        return call.context.relaying.receive_answer(call.session, message, call.now)
    messages.check_sdp_untrusted(message.sdp)
    _forward(call, call.session, message, "answer", "sdp", message.sdp)
    return None


def candidate(call: Call, message: messages.Candidate) -> bytes | None:
    messages.check_candidate_untrusted(message.candidate)
    if message.to == RELAY:
        # It is ICE-lite, and learns addresses from the checks themselves.
        return messages.build_ok(message.id)
    _forward(call, call.session, message, "candidate", "candidate", message.candidate)
    return None


def _forward(
    call: Call,
    session: Session,
    message: messages.Offer | messages.Answer | messages.Candidate,
    kind: str,
    key: str,
    content: Raw,
) -> None:
    peer = session.room.find_direct_peer(session.participant, message.to)
    assert peer.session is not None
    peer.session.send(messages.build_forward(kind, session.participant.id, key, content))
    call.context.metrics.relayed += 1
    # Nobody waits for this one, so it may wait for company.
    reply_once_written(call.context, session, message.id, messages.build_ok(message.id), soon=True)


def p2p_failed(call: Call, message: messages.P2pFailed) -> bytes:
    session = call.session
    room, participant = session.room, session.participant
    peer = room.find(message.participant)
    if not peer.guest:
        peer = room.find_peer(participant, message.participant)
        fields = session.fields | {"peer": peer.id, "relay": room.relay}
        log.info("pair cannot connect directly", extra=fields)
        call.context.delivery.apply(room, room.fail_pair(participant, peer))
    return messages.build_ok(message.id)


def select(call: Call, message: messages.Subscribe | messages.Unsubscribe) -> bytes:
    return call.context.relaying.receive_selection(call.session, message)


def prefer(call: Call, message: messages.Prefer) -> bytes:
    return call.context.relaying.receive_preferences(call.session, message)


def restart_ice(call: Call, message: messages.RestartIce) -> bytes:
    return call.context.relaying.receive_restart(call.session, message)


# -- Talking ----------------------------------------------------------------------------


def chat(call: Call, message: messages.Chat) -> bytes:
    room, sender = call.session.room, call.session.participant
    if not sender.grant.chat:
        raise ProtocolError("forbidden", "You may not chat here.")
    if len(message.content) > call.context.limits.max_chat:
        raise ProtocolError(
            "bad-request", f"`content` is over {call.context.limits.max_chat} characters."
        )
    said = messages.ChatFrom(
        from_=sender.id,
        user=sender.name,
        content=message.content,
        timestamp=int(call.context.wall() * 1000),
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
    call.context.delivery.deliver(room.name, hearers.values(), said)
    call.context.metrics.relayed += len(hearers) - 1
    return messages.build_ok(message.id)


def data(call: Call, message: messages.Data) -> bytes:
    room, sender = call.session.room, call.session.participant
    if not sender.grant.data:
        raise ProtocolError("forbidden", "You may not send data here.")
    messages.check_content_untrusted(message.content, call.context.limits.max_data)
    if message.to is None:
        receivers = [peer for peer in room.peers if peer is not sender]
    else:
        receivers = [room.find_peer(sender, id) for id in dict.fromkeys(message.to)]
    body = messages.build_data(sender.id, message.topic, message.content)
    call.context.delivery.send(room.name, receivers, body)
    call.context.metrics.relayed += len(receivers)
    return messages.build_ok(message.id)


def update(call: Call, message: messages.Update) -> bytes:
    if call.session.participant.grant.update is False:
        raise ProtocolError("forbidden", "The token does not allow to change name or metadata.")
    if message.name is not None:
        check_name(message.name, call.context.limits)
    metadata = messages.parse_metadata_untrusted(message.metadata, call.context.limits.max_metadata)
    session = call.session
    effects = session.room.update(session.participant, message.name, metadata)
    call.context.delivery.apply(session.room, effects)
    return messages.build_ok(message.id)
