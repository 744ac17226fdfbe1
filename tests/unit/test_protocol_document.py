"""PROTOCOL.md says what the code does: its JSON is parsed, its table of errors compared."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signaling.access.addresses import VIOLATIONS_FOR_BAN
from signaling.hub.descriptions import MAX_OF_PARTICIPANT
from signaling.hub.lobby import KNOCK_TIMEOUT, MAX_KNOCKS
from signaling.hub.relayrequests import ANSWER_TIMEOUT
from signaling.hub.room import HISTORY_BYTES, MESH_OVERLAP
from signaling.hub.session import RETENTION
from signaling.protocol import messages
from signaling.protocol.errors import KINDS
from signaling.settings.config import Limits

DOCUMENT = (Path(__file__).parents[2] / "signaling" / "PROTOCOL.md").read_text()


def find_blocks(side: str) -> Iterator[dict[str, Any]]:
    for block in re.findall(rf"```json {side}\n(.*?)```", DOCUMENT, re.DOTALL):
        rest = block.strip()
        while rest:
            message, end = json.JSONDecoder().raw_decode(rest)
            yield message
            rest = rest[end:].lstrip()


CLIENT = list(find_blocks("client"))
SERVER = list(find_blocks("server"))


def tags(union: object) -> set[str]:
    return {kind.__struct_config__.tag for kind in typing.get_args(union)}


def test_every_block_is_of_a_client_or_of_the_server() -> None:
    assert set(re.findall(r"```(.*)\n(?=[^`])", DOCUMENT)) <= {"json client", "json server", ""}


@pytest.mark.parametrize("message", CLIENT, ids=lambda m: m["type"])
def test_client_messages_are_taken_as_they_are_written(message: dict[str, Any]) -> None:
    parsed = messages.parse_client_message_untrusted(json.dumps(message).encode())
    assert json.loads(messages.encode(parsed)) == message


@pytest.mark.parametrize("message", SERVER, ids=lambda m: m["type"])
def test_server_messages_are_what_the_server_would_write(message: dict[str, Any]) -> None:
    parsed = messages.parse_server_message(json.dumps(message).encode())
    assert json.loads(messages.encode(parsed)) == message


def test_every_message_is_shown() -> None:
    assert {m["type"] for m in CLIENT} == tags(messages.AnyClientMessage)
    assert {m["type"] for m in SERVER} == tags(messages.AnyServerMessage)


def test_the_table_of_errors_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (\d{4}|–) \|$", DOCUMENT, re.MULTILINE)
    assert {code: None if close == "–" else int(close) for code, close in rows} == {
        code: kind.close for code, kind in KINDS.items()
    }


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    limits = Limits()
    for text in (
        f"{limits.max_frame // 1024} KiB (`--max-frame`)",
        f"{limits.max_description // 1024} KiB (`--max-description`)",
        f"{limits.max_name} characters (`--max-name`)",
        f"{limits.max_metadata // 1024} KiB of JSON (`--max-metadata`)",
        f"{limits.max_chat} characters (`--max-chat`)",
        f"at most {limits.chat_history} (`--chat-history`; 0: none)",
        f"and {HISTORY_BYTES // 1024} KiB, as long as the room lasts",
        f"{limits.max_data // 1024} KiB of JSON (`--max-data`)",
        f"at most {limits.max_data // 1024} KiB and nested at most {messages.MAX_DEPTH} deep",
        f"`topic`, at most {messages.MAX_TOPIC} characters",
        f"`to` names up to {messages.MAX_RECEIVERS} receivers",
        f"{limits.max_participants} (`--max-participants`)",
        f"{limits.max_rooms} (`--max-rooms`)",
        f"{limits.message_rate:g} a second, {limits.message_burst} at once",
        f"{limits.outbox_messages} messages, 1 MiB (`--outbox-messages`, `--outbox-bytes`)",
        f"{limits.replay_messages} messages, 1 MiB (`--replay-messages`, `--replay-bytes`)",
        f"each for {RETENTION:g} s at least",
        f"At most {MAX_OF_PARTICIPANT} offers and answers",
        f"does not answer within {ANSWER_TIMEOUT:g} s",
        f"for another {MESH_OVERLAP:g} s",
        f"less, for {limits.mesh_return:g} s",
        f"{limits.broadcast_rate:g} a second, {limits.broadcast_burst} at once",
        f"{limits.join_rate:g} a second, {limits.join_burst} at once",
        f"{limits.join_timeout:g} s (`--join-timeout`)",
        f"{limits.ban:g} s (`--ban`)",
        f"Beyond {VIOLATIONS_FOR_BAN} violations within a minute",
        f"after {KNOCK_TIMEOUT / 60:g} minutes",
        f"{MAX_KNOCKS} may wait for a room",
        f"a string of at most {messages.MAX_ID} characters",
    ):
        assert text in DOCUMENT, text
