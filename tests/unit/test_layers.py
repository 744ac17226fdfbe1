"""The ladder of files: none imports from a higher rung, and the lowest touch no outside.

On one rung files may build on each other as long as there is no circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A name with a dot at its end stands for all files below it that have no rung of their own.
RUNGS = {
    "signaling.protocol.errors": 0,
    "signaling.protocol.messages": 0,
    "signaling.access.turn": 0,
    "signaling.access.ratelimit": 0,
    "signaling.access.addresses": 0,
    "signaling.hub.lobby": 0,
    "signaling.metrics": 0,
    "signaling.settings.config": 0,
    "signaling.settings.setting": 0,
    "signaling.logs": 0,
    "signaling.about": 0,
    "signaling.systemd": 2,
    "signaling.websocket.handshake": 0,
    "signaling.http.proxy": 0,
    "signaling.webhooks.outbox": 0,
    "signaling.settings.arguments": 1,
    "signaling.access.tokens": 1,
    "signaling.hub.journal": 0,
    "signaling.hub.snapshot": 3,
    "signaling.hub.session": 1,
    "signaling.hub.room": 1,
    "signaling.http.tls": 2,
    "signaling.cluster.": 4,
    "signaling.clustering": 4,
    "signaling.relaynode": 2,
    "signaling.webhooks.notifier": 3,
    "signaling.access.credentials": 3,
    "signaling.hub.details": 2,
    "signaling.hub.turns": 1,
    "signaling.hub.descriptions": 1,
    "signaling.hub.relayrequests": 2,
    "signaling.hub.relaying": 3,
    "signaling.hub.requests": 3,
    "signaling.hub.entrance": 3,
    "signaling.hub.hub": 3,
    "signaling.websocket.connection": 3,
    "signaling.websocket.intake": 3,
    "signaling.websocket.fast": 3,
    "signaling.websocket.portable": 3,
    "signaling.client.": 3,
    "signaling.http.whip.fragments": 0,
    "signaling.http.": 4,
    "signaling.foreign.link": 2,
    "signaling.foreign.peerjs": 2,
    "signaling.foreign.ywebrtc": 2,
    "signaling.foreign.routes": 4,
    "signaling.life": 4,
    "signaling.app": 4,
    "signaling.bot.": 4,
    "signaling.doctor.": 4,
    "signaling.access.minting": 4,
    "signaling.cli": 5,
    "signaling.__main__": 5,
    "relay.control": 0,
    "relay.process.lifecycle": 0,
    "relay.stats": 0,
    "relay.timers": 0,
    "relay.config": 0,
    "relay.logs": 0,
    "relay.rtp.": 0,
    "relay.rtp.cache": 1,
    "relay.rtp.nack": 1,
    "relay.rtp.reports": 1,
    "relay.rtp.twcc": 1,
    "relay.bwe.": 1,
    "relay.sdp.": 0,
    "relay.sdp.negotiation": 1,
    "relay.transport.stun": 0,
    "relay.transport.ice": 1,
    "relay.transport.sctp.": 1,
    "relay.transport.": 2,
    "relay.plane.simulcast": 1,
    "relay.plane.keyframes": 1,
    "relay.rooms.speakers": 1,
    "relay.process.memory": 1,
    "relay.process.placement": 1,
    "relay.process.watchdog": 1,
    "relay.plane.batch": 3,
    "relay.plane.udp": 3,
    "relay.process.channel": 3,
    "relay.recorder": 3,
    "relay.process.worker": 3,
    "relay.process.node": 4,
    "relay.process.links": 4,
    "relay.process.registry": 4,
    "relay.process.serving": 4,
    "relay.cli": 6,
    "relay.__main__": 6,
    # What is in no list above moves media and holds no socket.
    "relay.": 2,
}

# Files that are pure: bytes or messages and `now` in, bytes or messages out.
PURE_BELOW = 2
OUTSIDE = {"asyncio", "socket", "time", "random", "secrets", "select", "selectors", "threading"}
# Formatting a log line's time is no rule that depends on a clock.
IMPURE = {"relay.logs": {"time"}}
RELAY_SEEN_BY_SIGNALING = "relay.control"
# A link between hubs is framed as the stream between a node and its workers is.
MOUNTS_RELAY = {
    "signaling.app",
    "signaling.cli",
    "signaling.cluster.links",
    "signaling.cluster.relays",
    "signaling.cluster.store",
    "signaling.cluster.wire",
    "signaling.clustering",
}


def list_modules() -> Iterator[tuple[str, Path]]:
    for package in ("signaling", "relay"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] != "__init__":
                yield ".".join(parts), path


MODULES = dict(list_modules())
PACKAGES = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("[sr]*/**/__init__.py")}


def find_rung(module: str) -> int | None:
    """The module's own, or that of the package around it."""
    if module in RUNGS:
        return RUNGS[module]
    package = module
    while "." in package:
        package = package.rpartition(".")[0]
        if package + "." in RUNGS:
            return RUNGS[package + "."]
    return None


def list_imports(module: str, path: Path) -> Iterator[str]:
    """Full names of what is imported at run time; what only types need does not count."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")[: -node.level]
                base = ".".join([*parts, base]) if base else ".".join(parts)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES or full in PACKAGES else base


IMPORTS = {module: sorted(set(list_imports(module, path))) for module, path in MODULES.items()}


@pytest.mark.parametrize("module", MODULES)
def test_a_file_has_a_rung_and_imports_from_none_above_it(module: str) -> None:
    rung = find_rung(module)
    assert rung is not None, f"give {module} a rung in {__name__}"
    above = [name for name in IMPORTS[module] if name in MODULES and (find_rung(name) or 0) > rung]
    assert above == []


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {m: [name for name in names if name in MODULES] for m, names in IMPORTS.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", [m for m in MODULES if (find_rung(m) or 0) < PURE_BELOW])
def test_the_lowest_rungs_touch_no_loop_socket_clock_or_chance(module: str) -> None:
    touched = {name.partition(".")[0] for name in IMPORTS[module]} & OUTSIDE
    assert touched <= IMPURE.get(module, set())


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("relay.")])
def test_the_relay_knows_no_signaling(module: str) -> None:
    assert not [name for name in IMPORTS[module] if name.partition(".")[0] == "signaling"]


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("signaling.")])
def test_signaling_knows_of_the_relay_only_what_they_say_to_each_other(module: str) -> None:
    known = {name for name in IMPORTS[module] if name.partition(".")[0] == "relay"}
    if module not in MOUNTS_RELAY:
        assert known <= {RELAY_SEEN_BY_SIGNALING, "relay"}


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("aiohttp._websocket", {"signaling.websocket.fast"}),
        ("cffi", {"relay.plane.batch", "relay.transport.srtp", "relay.plane.arena"}),
        ("pylibsrtp", {"relay.transport.srtp"}),
        ("redis", {"signaling.cluster.store", "relay.process.registry"}),
    ],
)
def test_the_private_parts_of_a_library_have_one_owner(library: str, owners: set[str]) -> None:
    users = {
        module
        for module, names in IMPORTS.items()
        if any(name == library or name.startswith(library + ".") for name in names)
    }
    assert users <= owners


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("signaling.hub.")])
def test_the_hub_holds_no_web_framework(module: str) -> None:
    assert not [name for name in IMPORTS[module] if name.partition(".")[0] == "aiohttp"]
