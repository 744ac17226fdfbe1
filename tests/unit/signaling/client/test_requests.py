"""Requests and their replies."""

from __future__ import annotations

import pytest

from signaling.client import ClientError, NotConnected, Refused
from signaling.client.requests import PENDING_MAX, Requests
from signaling.protocol import messages


async def test_each_reply_settles_its_own_request_once() -> None:
    requests = Requests()
    first, second = (requests.add(messages.Chat(content=text)) for text in "ab")
    assert [message.id for message in requests.unanswered()] == ["1", "2"]
    requests.settle(messages.Error(id="2", code="forbidden", message="No."))
    requests.settle(messages.Ok(id="1"))
    requests.settle(messages.Ok(id="1"))
    requests.settle(messages.Ok())
    assert isinstance(await first, messages.Ok)
    with pytest.raises(Refused, match="forbidden"):
        await second
    assert list(requests.unanswered()) == []


async def test_what_is_not_answered_any_more_fails_and_too_much_is_refused() -> None:
    requests = Requests()
    answers = [requests.add(messages.Chat(content="x")) for _ in range(PENDING_MAX)]
    with pytest.raises(ClientError, match=str(PENDING_MAX)):
        requests.add(messages.Chat(content="x"))
    requests.fail(NotConnected("gone"))
    for answer in answers:
        with pytest.raises(NotConnected):
            await answer
    requests.add(messages.Chat(content="x"))
