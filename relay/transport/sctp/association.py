"""An SCTP association: what each chunk means in each state. No clock, no socket, no chance.

After each call its owner takes `next_event`, sends `datagrams_to_send`, and arms `get_timer`.
Above 400 lines, because what opens, keeps and ends an association is read side by side.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ...stats import DropReason
from . import packet
from .inbound import WINDOW, Inbound
from .opening import Opening, Unexpected
from .outbound import Outbound
from .packet import MTU, MalformedSctp, Packet, build_chunk, build_packet, parse_packet_untrusted
from .parameters import (
    PROTOCOL_VIOLATION,
    USER_ABORT,
    Init,
    build_cause,
    parse_forward_untrusted,
    parse_sack_untrusted,
    read_reason_untrusted,
)
from .queues import Message, Queues
from .reassembly import BadPeer
from .resets import Resets
from .states import (
    BEFORE,
    OPEN,
    SENDING,
    TRANSITIONS,
    Ended,
    Established,
    Event,
    ResetDone,
    State,
    StreamsReset,
)

logger = logging.getLogger(__name__)

PORT: Final = 5000
MAX_ATTEMPTS: Final = 10
"""Of one packet, or timeouts in a row: some 40 s. RFC 9260, 16: Association.Max.Retrans."""
HEARTBEAT_INTERVAL: Final = 30.0
"""Seconds without anything heard; RFC 9260, 16: HB.interval."""
FIRST_WAIT: Final = 1.0
"""Seconds until the first repeat of INIT, of a cookie and of SHUTDOWN; it doubles."""
MAX_WAIT: Final = 5.0
MAX_ANSWERS: Final = 64
"""Answers that wait to be sent; more come only from a flood."""


class Association:
    """One association. `random` gives bytes that nobody can guess."""

    def __init__(
        self,
        *,
        random: Callable[[int], bytes],
        local_port: int = PORT,
        remote_port: int = PORT,
        max_message: int = WINDOW // 2,
    ) -> None:
        self.state = State.CLOSED
        self._opening = Opening(random, (local_port, remote_port))
        self._max_message = max_message
        self._inbound: Inbound | None = None
        self._outbound: Outbound | None = None
        self._resets = Resets()
        self._queues = Queues()
        self._answers: list[bytes] = []  # chunks
        self._alone: list[bytes] = []  # whole packets
        self._events: deque[Event] = deque()
        self._repeat = b""  # a packet that waits for its answer: INIT, a cookie, SHUTDOWN
        self._repeat_at: float | None = None
        self._repeats = 0
        self._heard = 0.0
        self._beats = 0

    # -- What its owner does ----------------------------------------------------------------

    def connect(self, now: float) -> None:
        """Begin; the peer may do so at the same time."""
        if self.state is State.CLOSED:
            self._set_state(State.COOKIE_WAIT)
            self._send_and_await(self._opening.ask(), now)

    def send(
        self,
        stream: int,
        ppid: int,
        payload: bytes,
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        expires: float | None = None,
    ) -> None:
        """Queue a message, of one byte at least; `get_waiting` tells how much waits."""
        if self.state in BEFORE or self.state is State.ESTABLISHED:
            self._queues.add(Message(stream, ppid, payload, ordered, max_retransmits, expires))

    def get_waiting(self, stream: int) -> int:
        """Bytes that a stream has waiting or unacknowledged, each message counting 128 more."""
        return self._queues.waiting.get(stream, 0)

    def get_unsent(self, stream: int) -> int:
        """The same of those of which nothing or not all was sent yet."""
        return self._queues.unsent.get(stream, 0)

    def keep(self, size: int, now: float) -> None:
        """Its owner keeps `size` bytes more of what came, and the peer may send less."""
        if self._inbound is not None:
            self._inbound.keep(size, now)

    def drop_oldest(self, stream: int) -> bool:
        """Drop a stream's oldest message of which nothing is sent; whether there was one."""
        return self._queues.drop_oldest(stream)

    def reset(self, stream: int) -> None:
        """Begin anew on a stream once everything is sent: how a channel is closed."""
        self._resets.ask(stream)

    def shut_down(self, now: float) -> None:
        """End once everything has arrived."""
        if self.state is State.ESTABLISHED:
            self._set_state(State.SHUTDOWN_PENDING)
            self._go_on_shutting_down(now)

    def abort(self, reason: str) -> None:
        """End at once, and say why."""
        if self.state is not State.ENDED:
            self._abort(USER_ABORT, reason)

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    # -- Packets in -------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> DropReason | None:
        """Take one packet; returns why it, or the last of it that was dropped, was."""
        try:
            parsed = parse_packet_untrusted(data)
            if self.state is State.ENDED:
                return DropReason.SCTP_UNEXPECTED
            if not self._opening.expects(parsed):
                return DropReason.SCTP_TAG
            return self._receive_chunks(parsed, now)
        except MalformedSctp:
            return DropReason.MALFORMED
        except BadPeer as error:
            self._abort(PROTOCOL_VIOLATION, str(error))
            return DropReason.MALFORMED

    def _receive_chunks(self, parsed: Packet, now: float) -> DropReason | None:
        dropped: DropReason | None = None
        self._heard = now
        self._beats = 0
        data = False
        for type, flags, value in parsed.chunks:
            if type == packet.DATA and self._inbound is not None and self.state in OPEN:
                data = True
                messages = self._inbound.receive_data(flags, value, now)
                if isinstance(messages, DropReason):
                    dropped = messages
                else:
                    self._events.extend(messages)
                continue
            if type == packet.COOKIE_ECHO:
                dropped = self._receive_cookie(value, parsed.tag, now)
                if dropped is not None:
                    return dropped
            elif (react := _REACTIONS.get((type, self.state))) is not None:
                dropped = react(self, value, now) or dropped
            else:
                dropped = DropReason.SCTP_UNEXPECTED
                if type not in _KNOWN and not type & 0x80:
                    break  # "00 - Stop processing this SCTP packet", and 01 the same
            if self.state is State.ENDED:
                return dropped
        if data and self._inbound is not None:
            self._inbound.end_packet(now)
        self._go_on_shutting_down(now)
        return dropped

    # -- Beginning --------------------------------------------------------------------------

    def _receive_init(self, value: bytes, now: float) -> DropReason | None:
        """Answer with a cookie, and change nothing (RFC 9260, 5.1 and 5.2)."""
        answer = self._opening.answer(value, now, restart=self.state in OPEN)
        if len(self._alone) >= MAX_ANSWERS:
            return DropReason.FLOOD
        self._alone.append(answer)
        return None

    def _receive_init_ack(self, value: bytes, now: float) -> DropReason | None:
        echo, init = self._opening.echo(value)
        self._begin(init)
        self._set_state(State.COOKIE_ECHOED)
        self._send_and_await(echo, now)
        return None

    def _receive_cookie(self, value: bytes, tag: int, now: float) -> DropReason | None:
        opening = self._opening
        try:
            cookie = opening.open(value, tag, now)
        except Unexpected:
            return DropReason.SCTP_TAG
        if self.state in BEFORE and opening.is_ours(cookie):
            self._begin(opening.adopt(cookie))
            self._answers.clear()
            self._open(restarted=False)
        elif self.state in OPEN and opening.is_restart(cookie):
            self._queues, self._resets = Queues(), Resets()
            self._begin(opening.adopt(cookie))
            self._answers.clear()
            self._open(restarted=True)
        elif self.state in BEFORE or not opening.is_same(cookie):
            return DropReason.SCTP_UNEXPECTED
        if len(self._answers) < MAX_ANSWERS:
            self._answers.insert(0, build_chunk(packet.COOKIE_ACK))
        return None

    def _receive_cookie_ack(self, _value: bytes, _now: float) -> DropReason | None:
        self._open(restarted=False)
        return None

    def _begin(self, init: Init) -> None:
        self._inbound = Inbound(init.tsn, self._max_message)
        self._outbound = Outbound(
            self._opening.first_tsn, init.window, self._queues, forward=init.forward
        )
        self._resets.begin(self._opening.first_tsn, init.tsn, supported=init.reset)

    def _open(self, *, restarted: bool) -> None:
        self._repeat_at = None
        self._set_state(State.ESTABLISHED)
        self._events.append(Established(restarted))

    # -- While it is open -------------------------------------------------------------------

    def _receive_sack(self, value: bytes, now: float) -> DropReason | None:
        assert self._outbound is not None
        self._outbound.receive_sack(parse_sack_untrusted(value), now)
        return None

    def _receive_forward(self, value: bytes, now: float) -> DropReason | None:
        assert self._inbound is not None
        tsn, skipped = parse_forward_untrusted(value)
        self._events.extend(self._inbound.receive_forward(tsn, skipped, now))
        return None

    def _receive_reconfig(self, value: bytes, _now: float) -> DropReason | None:
        assert self._inbound is not None
        cumulative = self._inbound.cumulative & 0xFFFFFFFF
        answer, theirs, ours = self._resets.receive(value, cumulative)
        if theirs is not None:
            self._inbound.reset(theirs)
            self._events.append(StreamsReset(theirs))
        if ours:
            self._finish_reset(ours)
        return None if answer is None else self._answer(answer)

    def _finish_reset(self, streams: tuple[int, ...]) -> None:
        for stream in streams:
            self._queues.reset(stream)
        self._events.append(ResetDone(streams))

    def _receive_heartbeat(self, value: bytes, _now: float) -> DropReason | None:
        if len(value) > MTU - 100:
            return DropReason.TOO_LARGE
        return self._answer(build_chunk(packet.HEARTBEAT_ACK, value))

    def _ignore(self, _value: bytes, _now: float) -> DropReason | None:
        """What only shows that the peer is there."""
        return None

    def _answer(self, chunk: bytes) -> DropReason | None:
        if len(self._answers) >= MAX_ANSWERS:
            return DropReason.FLOOD
        self._answers.append(chunk)
        return None

    # -- The end ----------------------------------------------------------------------------

    def _receive_abort(self, value: bytes, _now: float) -> DropReason | None:
        self._end(Ended(read_reason_untrusted(value) or "aborted by the peer"))
        return None

    def _receive_shutdown(self, _value: bytes, now: float) -> DropReason | None:
        # What waits here is not sent any more: a peer that closes its channels reads no more.
        self._set_state(State.SHUTDOWN_ACK_SENT)
        self._send_and_await(self._opening.build(packet.SHUTDOWN_ACK), now)
        return None

    def _receive_shutdown_ack(self, _value: bytes, _now: float) -> DropReason | None:
        self._alone.append(self._opening.build(packet.SHUTDOWN_COMPLETE))
        self._end(Ended("shut down"))
        return None

    def _receive_shutdown_complete(self, _value: bytes, _now: float) -> DropReason | None:
        self._end(Ended("shut down by the peer"))
        return None

    def _go_on_shutting_down(self, now: float) -> None:
        if self.state is State.SHUTDOWN_PENDING:
            assert self._outbound is not None
            assert self._inbound is not None
            if self._outbound.idle:
                self._set_state(State.SHUTDOWN_SENT)
                last = (self._inbound.cumulative & 0xFFFFFFFF).to_bytes(4, "big")
                self._send_and_await(self._opening.build(packet.SHUTDOWN, last), now)

    def _abort(self, cause: int, reason: str) -> None:
        if self._opening.peer_tag:
            self._alone.append(self._opening.build(packet.ABORT, build_cause(cause, reason)))
        self._end(Ended(reason, aborted=True))

    def _end(self, ended: Ended) -> None:
        self._set_state(State.ENDED)
        self._answers.clear()
        self._queues = Queues()
        self._inbound = self._outbound = self._repeat_at = None
        self._events.append(ended)

    # -- Packets out ------------------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Everything that may be sent now, as whole packets."""
        datagrams, self._alone = self._alone, []
        ports, tag = self._opening.ports, self._opening.peer_tag
        chunks: list[bytes] = []
        size = 0
        for chunk in self._chunks_to_send(now):
            if chunks and size + len(chunk) > MTU - packet.HEADER_SIZE:
                datagrams.append(build_packet(*ports, tag, chunks))
                chunks, size = [], 0
            chunks.append(chunk)
            size += len(chunk)
        if chunks:
            datagrams.append(build_packet(*ports, tag, chunks))
        return datagrams

    def _chunks_to_send(self, now: float) -> Iterator[bytes]:
        if self._answers:
            answers, self._answers = self._answers, []
            yield from answers
        inbound, outbound = self._inbound, self._outbound
        if inbound is not None and inbound.ack_at is not None and inbound.ack_at <= now:
            yield inbound.take_sack()
        if outbound is not None and self.state in SENDING:
            yield from outbound.chunks_to_send(now)
            done = self._resets.prepare(self._queues.has, outbound.last_sent)
            if done:
                self._finish_reset(done)
            request = self._resets.take(now, outbound.timeout.seconds)
            if request is not None:
                yield request

    # -- Time -------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """When to call `handle_timer` next, and then to send; None: not at all."""
        soonest = self._repeat_at
        if self._outbound is None or self._inbound is None:
            return soonest
        times = (
            self._outbound.resend_at,
            self._inbound.ack_at,
            self._resets.retry_at,
            self._beat_at if self.state is State.ESTABLISHED else None,
        )
        for at in times:
            if at is not None and (soonest is None or at < soonest):
                soonest = at
        return soonest

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._repeat_at is not None and now >= self._repeat_at:
            self._send_again(now)
        outbound, resets = self._outbound, self._resets
        if outbound is None:
            return
        if outbound.resend_at is not None and now >= outbound.resend_at:
            outbound.handle_timeout(now)
        if resets.retry_at is not None and now >= resets.retry_at:
            resets.handle_timer()
        if self.state is State.ESTABLISHED and now >= self._beat_at:
            self._beats += 1
            self._answer(build_chunk(packet.HEARTBEAT, b"\x00\x01\x00\x08beat"))
        if max(outbound.failures, resets.attempts, self._beats) > MAX_ATTEMPTS:
            self._abort(USER_ABORT, "nothing comes back")

    @property
    def _beat_at(self) -> float:
        return self._heard + HEARTBEAT_INTERVAL * (1 + self._beats)

    def _send_and_await(self, whole: bytes, now: float) -> None:
        """Send a packet, and again until its answer comes."""
        self._alone.append(whole)
        self._repeat = whole
        self._repeats = 0
        self._repeat_at = now + FIRST_WAIT

    def _send_again(self, now: float) -> None:
        self._repeats += 1
        if self._repeats > MAX_ATTEMPTS:
            self._abort(USER_ABORT, "the peer does not answer")
            return
        self._alone.append(self._repeat)
        self._repeat_at = now + min(MAX_WAIT, FIRST_WAIT * 2**self._repeats)

    def _set_state(self, state: State) -> None:
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"sctp: {self.state.value} to {state.value}")
        logger.debug("sctp: %s to %s", self.state.value, state.value)
        self.state = state


_Reaction = Callable[[Association, bytes, float], DropReason | None]
_A = Association
_ALL: Final = frozenset(State) - {State.ENDED}
_LEGAL: Final[Mapping[int, tuple[_Reaction, frozenset[State]]]] = {
    packet.INIT: (_A._receive_init, _ALL - {State.SHUTDOWN_ACK_SENT}),
    packet.INIT_ACK: (_A._receive_init_ack, frozenset({State.COOKIE_WAIT})),
    packet.COOKIE_ACK: (_A._receive_cookie_ack, frozenset({State.COOKIE_ECHOED})),
    packet.SACK: (_A._receive_sack, OPEN),
    packet.FORWARD_TSN: (_A._receive_forward, OPEN),
    packet.RECONFIG: (_A._receive_reconfig, OPEN),
    packet.HEARTBEAT: (_A._receive_heartbeat, OPEN),
    packet.HEARTBEAT_ACK: (_A._ignore, OPEN),
    packet.ERROR: (_A._ignore, _ALL),
    packet.ABORT: (_A._receive_abort, _ALL - {State.CLOSED}),
    packet.SHUTDOWN: (_A._receive_shutdown, OPEN),
    packet.SHUTDOWN_ACK: (
        _A._receive_shutdown_ack,
        frozenset({State.SHUTDOWN_SENT, State.SHUTDOWN_ACK_SENT}),
    ),
    packet.SHUTDOWN_COMPLETE: (
        _A._receive_shutdown_complete,
        frozenset({State.SHUTDOWN_ACK_SENT}),
    ),
}
"""What each chunk but DATA and COOKIE ECHO does, and the states in which it does so."""
_KNOWN: Final = frozenset(_LEGAL) | {packet.DATA, packet.COOKIE_ECHO}
_REACTIONS: Final[Mapping[tuple[int, State], _Reaction]] = {
    (type, state): reaction for type, (reaction, states) in _LEGAL.items() for state in states
}
