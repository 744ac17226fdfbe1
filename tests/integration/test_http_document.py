"""HTTP.md says what a server does: each request in it is sent, and its answer compared."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from signaling.access import tokens
from signaling.protocol.errors import KINDS
from signaling.protocol.messages import Grant
from signaling.settings.config import Limits
from tests.support.processes import ROOT, connect, open_session, run_server
from tests.unit.relay.sdp.offers import AUDIO, VIDEO, make_offer

TEXT = (ROOT / "signaling" / "HTTP.md").read_text()
SECRET = "a secret of more than thirty-two characters"
EXCHANGES = re.findall(r"```http request\n(.*?)```\n\n```http response\n(.*?)```", TEXT, re.DOTALL)


def mint(identity: str, room: str, *, moderate: bool = False) -> str:
    grant = Grant(moderate=moderate)
    return tokens.mint(
        ("key", SECRET), room=room, identity=identity, wall=time.time(), ttl=600, grant=grant
    )


def fits(found: Any, expected: Any) -> bool:
    """Equal, where "…" stands for anything."""
    if expected == "…":
        return True
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(fits(found[k], expected[k]) for k in found)
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(fits, found, expected))
    return bool(found == expected)


def reads(found: str, expected: str) -> bool:
    """The same for text."""
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, found, re.DOTALL) is not None


async def test_each_request_is_answered_as_the_document_says(tmp_path: Path) -> None:
    secret = tmp_path / "metrics"
    secret.write_text("let-me-see")
    arguments = ["--turn-url", "stun:stun.example.org", "--metrics-token-file", str(secret)]
    known = {
        "token": mint("ada", "demo"),
        "admin": mint("root", "", moderate=True),
        "metrics": "let-me-see",
        "offer": make_offer(VIDEO, AUDIO),
        "location": "",
    }
    async with (
        run_server(
            *arguments, environ={"SIGNALING_API_KEY": f"key:{SECRET}"}, relay=True
        ) as server,
        open_session() as session,
        connect(session, server) as ada,
    ):
        joined = False
        for request, response in EXCHANGES:
            for name, value in known.items():
                request = request.replace("{" + name + "}", value)
            if "/api/rooms" in request and not joined:
                # WHIP is over by then, and the room has one participant.
                await ada.join("demo", "Ada", token=known["token"], metadata={"seat": 7})
                joined = True
            head, _, body = request.partition("\n\n")
            (method, path), *lines = (line.split(" ", 1) for line in head.splitlines())
            headers = {name.rstrip(":"): value for name, value in lines}
            status, *wanted = response.partition("\n\n")[0].splitlines()
            expected = response.partition("\n\n")[2].strip()
            async with session.request(
                method, server.url + path, headers=headers, data=body or None
            ) as answer:
                text = await answer.text()
                assert answer.status == int(status), (method, path, text)
                for line in wanted:
                    name, _, value = line.partition(": ")
                    assert reads(answer.headers[name], value), (path, name, answer.headers[name])
                if expected.startswith("{"):
                    assert fits(json.loads(text), json.loads(expected)), (path, text)
                else:
                    assert reads(text.strip(), expected), (path, text)
                known["location"] = answer.headers.get("Location", known["location"])


def test_no_exchange_is_left_out() -> None:
    assert len(EXCHANGES) == TEXT.count("```http request") == TEXT.count("```http response")
    assert len(EXCHANGES) >= 14


def test_the_codes_and_numbers_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| ((?:`[a-z-]+`(?:, )?)+) \|", TEXT, re.MULTILINE)
    ours = {"https-needed", "not-found", "method-not-allowed", "upgrade-required"}
    for statuses, codes in rows:
        for code in re.findall(r"`([a-z-]+)`", codes):
            assert code in ours or code in KINDS, code
        assert all(400 <= int(status) < 600 for status in statuses.split(", "))
    limits = Limits()
    for text in (
        f"{limits.max_description // 1024} KiB (`--max-description`)",
        f"{limits.request_rate:g} a second for long, {limits.request_burst} at once",
        f"{limits.ban:g} s (`--ban`)",
        f"{limits.media_timeout:g} s (`--media-timeout`)",
    ):
        assert text in TEXT
