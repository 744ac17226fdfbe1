"""The ladder of folders: none imports from a higher rung, what only types need included.

On one rung, and within a folder, files may build on each other as long as there is no circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From below to above; a name stands for all that is in it.
LADDERS = """
signaling.about signaling.logs signaling.protocol signaling.systemd < signaling.metrics
    signaling.settings < signaling.access < signaling.hub < signaling.cluster
    < signaling.websocket signaling.webhooks signaling.relaynode < signaling.http signaling.foreign
    < signaling.clustering < signaling.app < signaling.life < signaling.cli < signaling.__main__
signaling.cli < signaling.testing
signaling.protocol < signaling.client < signaling.bot < signaling.doctor < signaling.cli
signaling.hub.journal signaling.hub.timers signaling.hub.participant < signaling.hub.room
    signaling.hub.descriptions < signaling.hub.relayrequests signaling.hub.session
    < signaling.hub.turns signaling.hub.snapshot signaling.hub.links < signaling.hub.delivery
    < signaling.hub.members < signaling.hub.relaying signaling.hub.lobby signaling.hub.guests
    < signaling.hub.context < signaling.hub.talking signaling.hub.moderating
    < signaling.hub.requests < signaling.hub.hub
relay.control relay.config relay.stats relay.logs relay.timers relay.rtp < relay.sdp relay.bwe
    < relay.transport < relay.plane < relay.rooms < relay.process < relay.cli < relay.__main__
"""
# A setting is checked by what reads it later.
EXCEPTIONS = {
    ("signaling.settings.config", "signaling.access.turn"),
    ("signaling.settings.config", "signaling.http.proxy"),
    ("signaling.settings.config", "signaling.webhooks.outbox"),
    ("signaling.access.credentials", "signaling.webhooks.outbox"),
}
# Of these the one names the other in a type only; they are still to be cut.
NAMED_IN_TYPES = {
    ("signaling.cluster.metrics", "signaling.cluster.cluster"),
    ("relay.plane.cut", "relay.plane.layer"),
    ("relay.plane.layer", "relay.plane.tracks"),
}

# What is pure: bytes or messages and `now` in, bytes or messages out.
PURE = [
    *("signaling.protocol", "signaling.settings", "signaling.metrics", "signaling.access"),
    *("signaling.hub", "signaling.websocket.handshake", "signaling.http.proxy"),
    *("signaling.webhooks.outbox", "relay.control", "relay.config", "relay.stats", "relay.logs"),
    *("relay.rtp", "relay.sdp", "relay.bwe", "relay.transport.stun", "relay.transport.ice"),
    *("relay.transport.sctp", "relay.process.lifecycle", "relay.process.placement"),
    *("relay.process.watchdog", "relay.plane.simulcast", "relay.plane.policing"),
    *("relay.plane.intake", "relay.rooms.load"),
    *("relay.plane.keyframes", "relay.rooms.speakers", "relay.timers"),
]
OUTSIDE = {"asyncio", "socket", "time", "random", "secrets", "select", "selectors", "threading"}
# Formatting a log line's time is no rule that depends on a clock; a token is minted now.
IMPURE = {"relay.logs": {"time"}, "signaling.access.minting": {"time"}}
RELAY_SEEN_BY_SIGNALING = "relay.control"
# A link between hubs is framed as the stream between a node and its workers is.
MOUNTS_RELAY = {
    "signaling.app",
    "signaling.cli",
    "signaling.cluster.finder",
    "signaling.cluster.inquiries",
    "signaling.cluster.links",
    "signaling.cluster.relays",
    "signaling.cluster.store",
    "signaling.cluster.wire",
    "signaling.clustering",
}


def list_rungs() -> Iterator[list[list[str]]]:
    for line in LADDERS.replace("\n    ", " ").strip().splitlines():
        yield [rung.split() for rung in line.split("<")]


def list_modules() -> Iterator[tuple[str, Path]]:
    for package in ("signaling", "relay"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] != "__init__":
                yield ".".join(parts), path


MODULES = dict(list_modules())
PACKAGES = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("[sr]*/**/__init__.py")}


def is_in(module: str, names: list[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def list_imports(module: str, path: Path) -> Iterator[str]:
    """Full names of what is imported, for types only or not."""
    for node in ast.walk(ast.parse(path.read_text())):
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
    on = [(ladder, n) for ladder in list_rungs() for n, r in enumerate(ladder) if is_in(module, r)]
    assert on, f"give the folder of {module} a rung in {__name__}"
    above = [
        name
        for ladder, rung in on
        for name in IMPORTS[module]
        if any(is_in(name, names) for names in ladder[rung + 1 :])
    ]
    assert [name for name in above if (module, name) not in EXCEPTIONS] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {
        module: [n for n in names if n in MODULES and (module, n) not in NAMED_IN_TYPES]
        for module, names in IMPORTS.items()
    }
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", [m for m in MODULES if is_in(m, PURE)])
def test_rules_touch_no_loop_socket_clock_or_chance(module: str) -> None:
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
