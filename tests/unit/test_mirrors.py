"""Each module has a test file of its own name, so that one knows where its rules are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

SMALL = 20
"""Lines up to which a module needs no test file."""

WITHOUT: frozenset[str] = frozenset(
    {
        "relay/plane/arena",
        "relay/plane/inbox",
        "relay/plane/item",
        "relay/plane/layer",
        "relay/plane/leg",
        "relay/plane/rungs",
        "relay/process/lifecycle",
        "relay/process/links",
        "relay/process/node",
        "relay/process/registry",
        "relay/process/serving",
        "relay/rooms/allotment",
        "relay/rooms/figures",
        "relay/rooms/participant",
        "relay/rooms/site",
        "relay/rooms/subscriber",
        "relay/transport/sctp/opening",
        "relay/transport/sctp/states",
        "signaling/__main__",
        "signaling/access/credentials",
        "signaling/app",
        "signaling/bot/compose",
        "signaling/bot/connections",
        "signaling/bot/lines",
        "signaling/bot/patterns",
        "signaling/bot/peer",
        "signaling/bot/publishing",
        "signaling/bot/relayed",
        "signaling/cluster/journal",
        "signaling/cluster/links",
        "signaling/cluster/remote",
        "signaling/cluster/store",
        "signaling/cluster/wire",
        "signaling/clustering",
        "signaling/doctor/command",
        "signaling/doctor/report",
        "signaling/foreign/link",
        "signaling/http/api",
        "signaling/http/elsewhere",
        "signaling/http/health",
        "signaling/http/middleware",
        "signaling/http/page",
        "signaling/http/requests",
        "signaling/http/responses",
        "signaling/http/sockets",
        "signaling/http/upgrade",
        "signaling/http/whip/admission",
        "signaling/hub/context",
        "signaling/hub/delivery",
        "signaling/hub/details",
        "signaling/hub/guests",
        "signaling/hub/journal",
        "signaling/hub/links",
        "signaling/hub/members",
        "signaling/hub/moderating",
        "signaling/hub/participant",
        "signaling/hub/relaying",
        "signaling/hub/relayrequests",
        "signaling/hub/requests",
        "signaling/hub/snapshot",
        "signaling/hub/talking",
        "signaling/life",
        "signaling/relaynode",
        "signaling/settings/setting",
        "signaling/systemd",
        "signaling/testing/plugin",
        "signaling/webhooks/notifier",
        "signaling/websocket/portable",
    }
)
"""Modules that are tested under other names still. A new module is not to get in here: give it
a test file. This list only shrinks."""


FILES = {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def list_modules() -> Iterator[str]:
    for package in ("signaling", "relay"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem != "__init__" and len(path.read_text().splitlines()) > SMALL:
                yield str(path.relative_to(ROOT).with_suffix(""))


def has_tests(module: str) -> bool:
    """True where there is a file named after it, or after it and the folder around it."""
    parts = module.strip("_").split("/")
    names = {f"test_{parts[-1].strip('_')}.py", f"test_{parts[-2]}_{parts[-1].strip('_')}.py"}
    return bool(names & FILES)


MISSING = {module for module in list_modules() if not has_tests(module)}


NEW: int = 20
"""Modules beyond those that may be without for now, while the house is being rebuilt; then 0."""


def test_a_module_has_a_test_file_of_its_own_name() -> None:
    missing = sorted(MISSING - WITHOUT)
    assert len(missing) <= NEW, f"add tests/unit/…/test_NAME.py for {missing}"
