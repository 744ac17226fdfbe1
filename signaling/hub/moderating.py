"""What moderators say: one short function for each message, as in `talking`."""

from __future__ import annotations

from msgspec import UNSET

from ..protocol import messages
from ..protocol.errors import ProtocolError
from .context import Call
from .session import Session


def _check_moderator(call: Call) -> Session:
    if not call.session.participant.grant.moderate:
        raise ProtocolError("forbidden", "Only a moderator may do that.")
    return call.session


def kick(call: Call, message: messages.Kick) -> bytes | None:
    session = _check_moderator(call)
    target = session.room.find(message.participant)
    body = messages.build_ok(message.id)
    if message.ban:
        session.room.ban(target)
    if target is not session.participant:
        call.context.expel(target, call.now)
        return body
    session.reply(message.id, body)
    call.context.expel(target, call.now)
    return None


def mute(call: Call, message: messages.Mute) -> bytes:
    room = call.session.room
    call.context.delivery.apply(
        room, room.mute(call.session.participant, message.track, message.muted)
    )
    return messages.build_ok(message.id)


def silence(call: Call, message: messages.Silence) -> bytes:
    session = _check_moderator(call)
    target = session.room.find_peer(session.participant, message.participant)
    silenced = messages.Silenced(by=session.participant.id)
    call.context.delivery.deliver(session.room.name, [target], silenced)
    return messages.build_ok(message.id)


def lock(call: Call, message: messages.Lock) -> bytes:
    session = _check_moderator(call)
    call.context.delivery.apply(session.room, session.room.lock(message.locked))
    return messages.build_ok(message.id)


def set_lobby(call: Call, message: messages.SetLobby) -> bytes:
    session = _check_moderator(call)
    call.context.delivery.apply(session.room, session.room.set_lobby(message.enabled))
    if not message.enabled:
        call.context.lobby.open(session.room.name, call.now)
    return messages.build_ok(message.id)


def admit(call: Call, message: messages.Admit) -> bytes:
    session = _check_moderator(call)
    call.context.lobby.admit(session.room, message.knock, call.now)
    return messages.build_ok(message.id)


def decline(call: Call, message: messages.Decline) -> bytes:
    session = _check_moderator(call)
    call.context.lobby.decline(session.room, message.knock, call.now)
    return messages.build_ok(message.id)


def invite(call: Call, message: messages.Invite) -> bytes:
    session = _check_moderator(call)
    invitation = messages.Invitation()
    invitation.id = UNSET if message.id is None else message.id
    made = call.context.invite(session.room.name)
    if made is not None:
        invitation.token, invitation.expires = made[0], int(made[1] * 1000)
    return messages.encode_body(invitation)


def close_room(call: Call, message: messages.CloseRoom) -> None:
    session = _check_moderator(call)
    session.reply(message.id, messages.build_ok(message.id))
    call.context.close_room(session.room, call.now)
