"""A session: numbering, what is kept for a resume, and replies to repeats."""

from __future__ import annotations

import itertools
import json
from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from signaling.hub.session import PENDING, RETENTION, TRANSITIONS, Input, Session, State
from signaling.settings.config import Limits

BODY = b'"type":"ok"}'


def make(**limits: Any) -> Session:
    return Session("s_1", Limits(**limits), now=0.0)


def test_messages_are_numbered_from_one() -> None:
    session = make()
    assert [json.loads(session.number(BODY))["seq"] for _ in range(3)] == [1, 2, 3]


def test_what_was_sent_is_replayed_as_it_was() -> None:
    session = make()
    frames = [session.number(b'"type":"chat","n":%d}' % n) for n in range(5)]
    for seq in range(6):
        assert session.can_replay_after(seq)
        assert list(session.replay_after(seq)) == frames[seq:]
    assert not session.can_replay_after(6)


def test_more_messages_than_the_bound_end_the_oldest() -> None:
    session = make(replay_messages=4)
    for _ in range(10):
        session.number(BODY)
    assert [session.can_replay_after(n) for n in (5, 6, 10)] == [False, True, True]


def test_more_bytes_than_the_bound_end_the_oldest() -> None:
    session = make(replay_bytes=2048)
    for _ in range(4):
        session.number(b"x" * 1000)
    assert [session.can_replay_after(n) for n in (1, 2, 4)] == [False, True, True]


def test_a_message_over_the_bound_is_still_kept_itself() -> None:
    session = make(replay_bytes=1024)
    session.number(b"x" * 5000)
    assert session.can_replay_after(0)


def test_what_is_acknowledged_is_forgotten() -> None:
    session = make()
    for _ in range(4):
        session.number(BODY)
    session.acknowledge(3)
    session.acknowledge(2)
    session.acknowledge(99)
    assert [session.can_replay_after(n) for n in (2, 3, 4)] == [False, True, True]


def test_what_is_older_than_the_retention_is_forgotten() -> None:
    session = make()
    session.number(BODY)
    session.remember("1", BODY)
    session.age(RETENTION)
    session.number(BODY)
    assert session.can_replay_after(0)
    assert session.recall("1") == BODY
    session.age(2 * RETENTION - 1)
    assert session.can_replay_after(0)
    session.age(2 * RETENTION)
    assert not session.can_replay_after(0)
    assert session.can_replay_after(1)
    assert session.recall("1") is None


def test_the_first_reply_to_an_id_is_recalled() -> None:
    session = make()
    assert session.recall("1") is None
    session.remember("1", PENDING)
    assert session.recall("1") is PENDING
    session.remember("1", BODY)
    assert session.recall("1") == BODY


def test_as_many_replies_are_recalled_as_messages_are_kept() -> None:
    session = make(replay_messages=3)
    for id in "abcd":
        session.remember(id, BODY)
    assert [session.recall(id) for id in "abcd"] == [None, BODY, BODY, BODY]


def test_replies_are_recalled_as_far_as_their_bytes_are_kept() -> None:
    session = make(replay_bytes=100)
    for id in "abcd":
        session.remember(id, PENDING)
        session.remember(id, b"x" * 40)
    assert [session.recall(id) is not None for id in "abcd"] == [False, False, True, True]
    session.remember("e", b"x" * 200)
    assert [session.recall(id) is not None for id in "cde"] == [False, False, True]
    session.age(RETENTION)
    for id in "fg":
        session.remember(id, b"x" * 50)
    assert [session.recall(id) is not None for id in "efg"] == [True, True, True]


def test_the_table_leads_nowhere_from_closed_and_each_state_to_closed() -> None:
    assert not [step for step in TRANSITIONS if step[0] is State.CLOSED]
    assert set(TRANSITIONS.values()) == set(State) - {State.NEW}


class Walk(RuleBasedStateMachine):
    """All inputs in any order, against a model that keeps everything."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(replay_messages=8)
        self.session = Session("s_1", self.limits, now=0.0)
        self.sent: list[bytes] = []
        self.model: deque[bytes] = deque()
        self.body = itertools.count()

    @rule(input=st.sampled_from(Input))
    def step(self, input: Input) -> None:
        state = self.session.state
        if (state, input) in TRANSITIONS:
            self.session.change(input)
            assert self.session.state is TRANSITIONS[state, input]
        else:
            with pytest.raises(KeyError):
                self.session.change(input)
            assert self.session.state is state

    @precondition(lambda self: self.session.state in (State.JOINED, State.DETACHED))
    @rule()
    def send(self) -> None:
        frame = self.session.number(b'"n":%d}' % next(self.body))
        assert json.loads(frame)["seq"] == len(self.sent) + 1
        self.sent.append(frame)

    @rule(seq=st.integers(-2, 60))
    def replay(self, seq: int) -> None:
        if self.session.can_replay_after(seq):
            assert list(self.session.replay_after(seq)) == self.sent[seq:]
        else:
            assert seq < len(self.sent) or seq > len(self.sent)

    @rule(seq=st.integers(0, 60))
    def acknowledge(self, seq: int) -> None:
        self.session.acknowledge(seq)

    @invariant()
    def the_last_number_can_always_be_resumed_from(self) -> None:
        assert self.session.can_replay_after(len(self.sent))
        assert list(self.session.replay_after(len(self.sent))) == []


TestWalk = Walk.TestCase
