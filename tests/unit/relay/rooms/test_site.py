"""The ground a room stands on: transports, whose timers it is told of, and candidates."""

from __future__ import annotations

from dataclasses import replace

from relay.plane.leg import Leg
from relay.transport.transport import Transport
from tests.unit.relay.rooms.rooms import World


def test_a_transport_has_a_leg_of_its_own_and_listens_under_its_user_name() -> None:
    world = World()
    one, other = (
        world.site.open_transport(name, lambda transport, state: None) for name in ("a", "b")
    )
    assert one.leg is not other.leg
    assert set(world.network.usernames) == {one.local.ufrag, other.local.ufrag}
    one.close()
    assert set(world.network.usernames) == {other.local.ufrag}


def test_credentials_that_were_told_already_are_kept_once() -> None:
    world = World()
    told = ("u" * 16, "p" * 32)
    transport = world.site.open_transport("a", lambda t, s: None, credentials=told)
    assert (transport.local.ufrag, transport.local.pwd) == told
    assert transport.restart_ice().ufrag != told[0]


def test_a_room_is_told_of_its_transports_timers_alone() -> None:
    world = World()
    heard: list[tuple[str, float | None]] = []

    def note(transport: Transport[Leg], at: float | None) -> None:
        heard.append((transport.leg.name, at))

    site = replace(world.site, on_timer=note)
    site.open_transport("mine", lambda t, s: None).close()
    world.site.open_transport("another's", lambda t, s: None).close()
    assert heard == [("mine", None)]


def test_a_description_has_the_sites_candidates() -> None:
    world = World()
    transport = world.site.open_transport("a", lambda t, s: None)
    local = world.site.describe(transport.local)
    assert local.addresses == (("192.0.2.1", 8443),)
