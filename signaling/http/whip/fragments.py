"""WHIP's and WHEP's texts: fragments of SDP in a PATCH, and the links to ICE servers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ...protocol.messages import IceServer

_FRAGMENT_HEAD: Final = ("a=ice-lite", "a=ice-options:", "a=group:BUNDLE")
_FRAGMENT_MEDIA: Final = (
    "m=",
    "a=mid:",
    "a=ice-ufrag:",
    "a=ice-pwd:",
    "a=candidate:",
    "a=end-of-candidates",
)
# RFC 8839, 5.4: ice-char = ALPHA / DIGIT / "+" / "/".
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a PATCH says; both None where it only brings candidates."""

    ufrag: str | None
    pwd: str | None


class FragmentError(ValueError):
    """The fragment is no SDP fragment of ICE."""


def parse_fragment_untrusted(text: str) -> Fragment:
    """Read the body of a PATCH (RFC 8840, 9.2). Raises FragmentError, and nothing else."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if not line:
            continue
        if not re.match(r"[a-z]=", line):
            raise FragmentError("A line is no SDP.")
        for name in ("ice-ufrag", "ice-pwd"):
            prefix = f"a={name}:"
            if line.startswith(prefix):
                value = line[len(prefix) :]
                if not _CREDENTIAL.match(value) or values.setdefault(name, value) != value:
                    raise FragmentError(f"{name} is wrong.")
    if ("ice-ufrag" in values) != ("ice-pwd" in values):
        raise FragmentError("ice-ufrag and ice-pwd come together.")
    if not values and "a=" not in text:
        raise FragmentError("There is nothing in it.")
    return Fragment(values.get("ice-ufrag"), values.get("ice-pwd"))


def replace_credentials(offer: str, ufrag: str, pwd: str) -> str:
    """The offer as it would be after an ICE restart."""
    offer = re.sub(r"(?m)^a=ice-ufrag:[^\r\n]*", f"a=ice-ufrag:{ufrag}", offer)
    return re.sub(r"(?m)^a=ice-pwd:[^\r\n]*", f"a=ice-pwd:{pwd}", offer)


def find_ufrag(sdp: str) -> str | None:
    """The first ICE user name fragment of a description."""
    found = re.search(r"(?m)^a=ice-ufrag:([^\r\n]*)", sdp)
    return found[1] if found else None


def build_fragment(answer: str) -> str:
    """The answer's ICE part, as the reply to an ICE restart carries it (RFC 9725, 4.3.3)."""
    head, *sections = re.split(r"(?m)^(?=m=)", answer)
    lines = [line for line in head.splitlines() if line.startswith(_FRAGMENT_HEAD)]
    for section in sections:
        if "a=ice-ufrag:" in section or "a=ice-ufrag:" in head:
            lines += [line for line in section.splitlines() if line.startswith(_FRAGMENT_MEDIA)]
            break
    return "\r\n".join(lines) + "\r\n"


def build_links(servers: Sequence[IceServer]) -> list[str]:
    """`Link` header values of ICE servers (RFC 9725, 4.5)."""
    links = []
    for server in servers:
        for url in server.urls:
            link = f'<{url}>; rel="ice-server"'
            if server.username and server.credential:
                link += f'; username="{server.username}"; credential="{server.credential}"'
                link += '; credential-type="password"'
            links.append(link)
    return links
