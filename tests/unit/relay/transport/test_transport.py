"""One peer's transport with real ICE checks and a real handshake, over a socket in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from OpenSSL import SSL

from relay.sdp.description import BadSdp, TransportDescription
from relay.stats import DropReason, Stats
from relay.transport.dtls import Certificate
from relay.transport.sctp.association import Association
from relay.transport.sctp.channels import Arrived, Channels
from relay.transport.sctp.dcep import Open
from relay.transport.transport import (
    ENDED,
    HANDSHAKE_TIMEOUT,
    MAX_DATA_RATE,
    TRANSITIONS,
    Transport,
    TransportState,
)
from tests.support.timing import VirtualTiming
from tests.unit.relay.transport.dtls_peers import Peer, decrypts
from tests.unit.relay.transport.fakes import (
    FakeLeg,
    FakeNetwork,
    make_address,
    make_check,
    make_counter_token,
)
from tests.unit.relay.transport.fakes import unpack_address as unpack

A, B = make_address(1), make_address(2)
S = TransportState


class Bench:
    """A transport, its client, and the clock."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.network = FakeNetwork()
        self.stats = Stats()
        self.states = [S.NEW]
        self.now = 1000.0
        self.on_state: Callable[[TransportState], None] = lambda state: None
        self.transport: Transport[FakeLeg] = Transport(
            certificate=certificate or Certificate(),
            network=self.network,
            leg=FakeLeg(),
            stats=self.stats,
            token=make_counter_token(),
            unpack_address=unpack,
            on_state=self.receive_state,
            timing=VirtualTiming(),
            random=os.urandom,
        )
        self.client = Peer(certificate)
        self.client.deliver = self.transport.receive_dtls
        self.sent = 0

    def receive_state(self, transport: Transport[FakeLeg], state: TransportState) -> None:
        assert transport is self.transport
        self.states.append(state)
        self.on_state(state)

    def describe(self, setup: str = "active", ufrag: str = "them") -> TransportDescription:
        fingerprint = self.client.certificate.fingerprint
        return TransportDescription(
            ufrag,
            "w" * 24,
            (fingerprint,),
            setup,  # type: ignore[arg-type]  # a literal
        )

    def check(self, address: Any = A, *, nominate: bool = True, ufrag: str | None = None) -> None:
        local = self.transport.local
        username = f"{ufrag or local.ufrag}:them"
        data = make_check(username, local.pwd, nominate=nominate)
        self.transport.receive_stun(data, address, self.now)

    def deliver(self) -> None:
        """Hand the client what was sent to it since."""
        while self.sent < len(self.network.sent):
            data, _ = self.network.sent[self.sent]
            self.sent += 1
            if data[0] >= 20:
                self.client.dtls.receive(data)

    async def run(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.deliver()
                await asyncio.sleep(0)

    async def connect(self) -> None:
        self.transport.start(self.describe(), self.now)
        self.check()
        self.client.start("client", self.transport.local.fingerprints[0])
        await self.run(lambda: self.transport.state is S.CONNECTED and self.client.srtp)

    async def close(self) -> None:
        self.transport.close()
        self.client.dtls.close()
        await self.transport.wait_closed()
        await self.client.dtls.wait_closed()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not self.network.usernames
        assert not self.network.addresses


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Whose transports never were connected, and why, by the log."""
    lines = [vars(record) for record in caplog.records if record.message == "no connection"]
    return [(line["transport"], line["reason"]) for line in lines]


async def test_a_peer_connects_and_its_media_gets_keys_and_address() -> None:
    bench = Bench()
    local = bench.transport.local
    assert bench.network.usernames == {local.ufrag: bench.transport}
    assert (local.setup, local.lite) == ("actpass", True)
    await bench.connect()
    assert bench.states == [S.NEW, S.CONNECTING, S.CONNECTED]
    leg = bench.transport.leg
    assert leg.address == A == bench.transport.address
    assert leg.keys is not None
    assert bench.client.srtp is not None
    assert decrypts(leg.keys[1], bench.client.srtp[0])
    assert decrypts(bench.client.srtp[1], leg.keys[0])
    await bench.close()
    assert bench.states[-1] is S.CLOSED


async def test_we_are_the_client_where_the_peer_is_passive() -> None:
    bench = Bench()
    bench.transport.start(bench.describe("passive"), bench.now)
    bench.check()
    bench.client.start("server", bench.transport.local.fingerprints[0])
    await bench.run(lambda: bench.transport.state is S.CONNECTED)
    await bench.close()


async def test_checks_and_a_hello_that_come_before_the_description_are_kept() -> None:
    bench = Bench()
    bench.check()
    bench.client.start("client", bench.transport.local.fingerprints[0])
    await bench.run(lambda: bench.client.sent)
    assert bench.transport.state is S.NEW
    bench.transport.start(bench.describe(), bench.now)
    await bench.run(lambda: bench.transport.state is S.CONNECTED)
    await bench.close()


async def test_the_peers_goodbye_closes_the_transport_and_gives_everything_back() -> None:
    bench = Bench()
    await bench.connect()
    bench.client.dtls.close()
    await bench.run(lambda: bench.transport.state is S.CLOSED)
    assert bench.network.usernames == {}
    assert bench.network.addresses == {}
    await bench.close()


async def test_closing_says_goodbye_to_the_peer_before_its_address_is_given_up() -> None:
    bench = Bench()
    await bench.connect()
    sent = len(bench.network.sent)
    latched: list[int] = []
    bench.on_state = lambda _state: latched.append(len(bench.network.sent) - sent)
    bench.transport.close()
    bench.transport.close()
    assert latched == [1]  # sent before it counts as closed, and to an address still ours
    assert bench.network.sent[-1][1] == A
    await bench.run(bench.client.ended.is_set)
    await bench.close()
    assert bench.states.count(S.CLOSED) == 1


async def test_silence_disconnects_and_then_fails() -> None:
    bench = Bench()
    await bench.connect()
    for seconds in (9.0, 1.0, 5.0, 14.0):
        bench.now += seconds
        bench.transport.handle_timer(bench.now)
    assert bench.states[-2:] == [S.CONNECTED, S.DISCONNECTED]
    bench.now += 1.0
    bench.transport.handle_timer(bench.now)
    assert bench.transport.state is S.FAILED
    assert bench.transport.get_timer() is None
    assert not bench.network.usernames
    await bench.close()
    assert bench.states[-1] is S.CLOSED


async def test_a_check_after_silence_connects_again() -> None:
    bench = Bench()
    await bench.connect()
    bench.now += 12.0
    bench.transport.handle_timer(bench.now)
    assert bench.transport.state is S.DISCONNECTED
    bench.check(B)
    assert bench.states[-1] is S.CONNECTED
    assert bench.transport.leg.address == B
    await bench.close()


async def test_media_without_checks_keep_a_transport_alive() -> None:
    """As GStreamer's webrtcbin does, which checks until it is connected and never again."""
    bench = Bench()
    await bench.connect()
    began = bench.now
    while bench.now < began + 65:
        bench.transport.leg.heard_at = bench.now
        bench.now += 0.5
        timer = bench.transport.get_timer()
        if timer is not None and timer <= bench.now:
            bench.transport.handle_timer(bench.now)
    assert bench.states == [S.NEW, S.CONNECTING, S.CONNECTED]
    await bench.close()


async def test_media_after_silence_connect_again_within_a_second() -> None:
    bench = Bench()
    await bench.connect()
    bench.now += 11
    bench.transport.handle_timer(bench.now)
    assert bench.transport.state is S.DISCONNECTED
    bench.transport.leg.heard_at = bench.now + 0.1
    timer = bench.transport.get_timer()
    assert timer is not None
    assert timer <= bench.now + 1
    bench.transport.handle_timer(timer)
    assert bench.transport.state is S.CONNECTED
    await bench.close()


async def test_a_peer_that_checks_but_never_shakes_hands_fails_in_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "relay")
    bench = Bench()
    bench.transport.start(bench.describe(), bench.now)
    for _ in range(5):
        bench.check()
        bench.now += HANDSHAKE_TIMEOUT / 4
        bench.transport.handle_timer(bench.now)
    assert bench.transport.state is S.FAILED
    assert told(caplog) == [("p_1/publish", "handshake: not done in time")]
    assert bench.stats.failed_handshakes == 1
    await bench.close()


async def test_a_peer_that_never_checks_fails_in_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "relay")
    bench = Bench()
    bench.transport.start(bench.describe(), bench.now)
    assert bench.transport.get_timer() == bench.now + 30.0
    bench.transport.handle_timer(bench.now + 30.0)
    assert bench.transport.state is S.FAILED
    assert told(caplog) == [("p_1/publish", "ICE: no check came")]
    await bench.close()


async def test_a_wrong_certificate_fails_the_transport(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "relay")
    bench = Bench()
    announced = bench.describe()
    bench.client = Peer()
    bench.client.deliver = bench.transport.receive_dtls
    bench.transport.start(announced, bench.now)
    bench.check()
    bench.client.start("client", bench.transport.local.fingerprints[0])
    await bench.run(lambda: bench.transport.state is S.FAILED)
    assert bench.transport.leg.keys is None
    assert not bench.network.usernames
    assert told(caplog) == [("p_1/publish", "handshake: another certificate than announced")]
    await bench.close()


async def test_an_ice_restart_works_beside_the_old_credentials() -> None:
    bench = Bench()
    await bench.connect()
    old = bench.transport.local
    new = bench.transport.restart_ice()
    assert new.ufrag != old.ufrag
    assert set(bench.network.usernames) == {old.ufrag, new.ufrag}
    bench.transport.start(bench.describe(ufrag="anew"), bench.now)
    bench.check(B)
    assert set(bench.network.usernames) == {new.ufrag}
    assert bench.transport.address == B
    assert bench.transport.state is S.CONNECTED
    await bench.close()


async def test_another_certificate_in_a_later_description_is_refused() -> None:
    bench = Bench()
    await bench.connect()
    bench.client.certificate, real = Certificate(), bench.client.certificate
    with pytest.raises(BadSdp, match="fingerprint"):
        bench.transport.start(bench.describe(), bench.now)
    bench.client.certificate = real
    bench.transport.start(bench.describe(), bench.now)
    assert bench.transport.state is S.CONNECTED
    await bench.close()


async def test_what_is_not_the_peers_is_dropped_counted_and_not_answered() -> None:
    bench = Bench()
    bench.transport.start(bench.describe(), bench.now)
    local = bench.transport.local
    wrong = make_check(f"{local.ufrag}:them", "x" * 32, nominate=True)
    bench.transport.receive_stun(wrong, B, bench.now)
    bench.transport.receive_stun(b"\x00\x01" + bytes(30), B, bench.now)
    recorded = make_check(f"{local.ufrag}:them", local.pwd, nominate=True)
    bench.transport.receive_stun(recorded, A, bench.now)
    bench.transport.receive_stun(recorded, B, bench.now)
    bench.transport.receive_dtls(b"\x16garbage")
    assert {k: v for k, v in bench.stats.drops.items() if v} == {
        DropReason.AUTHENTICATION: 1,
        DropReason.MALFORMED: 2,
        DropReason.REPLAYED: 1,
    }
    assert [to for _, to in bench.network.sent] == [A]
    assert bench.network.addresses == {A: bench.transport}
    await bench.close()


async def test_an_owner_may_close_it_from_within_any_of_its_notices() -> None:
    for last in (S.CONNECTING, S.CONNECTED, S.CLOSED):
        bench = Bench()
        bench.on_state = lambda state, last=last, bench=bench: (  # type: ignore[misc]  # defaults
            bench.transport.close() if state is last else None
        )
        bench.transport.start(bench.describe(), bench.now)
        bench.check()
        bench.client.start("client", bench.transport.local.fingerprints[0])
        if last is S.CLOSED:
            await bench.run(lambda bench=bench: bench.client.srtp)  # type: ignore[misc]
            bench.client.dtls.close()
        await bench.run(lambda bench=bench: bench.transport.state is S.CLOSED)  # type: ignore[misc]
        await bench.close()


class Life(RuleBasedStateMachine):
    """Anything may happen to a transport in any order: only the table's transitions follow."""

    certificate = Certificate()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = Bench(self.certificate)
        self.started = False

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(coroutine)

    async def settle(self) -> None:
        for _ in range(30):
            self.bench.deliver()
            await asyncio.sleep(0)

    @rule(setup=st.sampled_from(["active", "actpass"]))
    def start(self, setup: str) -> None:
        async def step() -> None:
            self.bench.transport.start(self.bench.describe(setup), self.bench.now)
            await self.settle()

        self.run(step())

    @rule(port=st.integers(1, 12), nominate=st.booleans())
    def check(self, port: int, nominate: bool) -> None:
        async def step() -> None:
            self.bench.check(make_address(port), nominate=nominate)
            await self.settle()

        self.run(step())

    @precondition(lambda self: not self.started)
    @rule()
    def shake_hands(self) -> None:
        async def step() -> None:
            self.bench.client.start("client", self.bench.transport.local.fingerprints[0])
            await self.settle()

        self.started = True
        self.run(step())

    @rule(data=st.binary(min_size=1, max_size=60), port=st.integers(1, 12))
    def receive_garbage(self, data: bytes, port: int) -> None:
        async def step() -> None:
            self.bench.transport.receive_stun(data, make_address(port), self.bench.now)
            self.bench.transport.receive_dtls(data)
            await self.settle()

        self.run(step())

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0, 21.0, 31.0]))
    def wait(self, seconds: float) -> None:
        async def step() -> None:
            self.bench.now += seconds
            due = self.bench.transport.get_timer()
            if due is not None and due <= self.bench.now:
                self.bench.transport.handle_timer(self.bench.now)
            await self.settle()

        self.run(step())

    @rule()
    def restart(self) -> None:
        self.bench.transport.restart_ice()

    @rule()
    def hang_up(self) -> None:
        async def step() -> None:
            self.bench.client.dtls.close()
            await self.settle()

        self.started = True
        self.run(step())

    @rule()
    def close(self) -> None:
        async def step() -> None:
            self.bench.transport.close()
            await self.settle()

        self.run(step())

    @invariant()
    def every_step_is_in_the_table(self) -> None:
        states = self.bench.states
        assert all(b in TRANSITIONS[a] for a, b in pairwise(states))
        assert states[-1] is self.bench.transport.state

    @invariant()
    def what_has_ended_holds_nothing(self) -> None:
        if self.bench.transport.state in ENDED:
            assert not self.bench.network.usernames
            assert not self.bench.network.addresses
            assert self.bench.transport.get_timer() is None

    def teardown(self) -> None:
        try:
            self.run(self.bench.close())
        finally:
            self.loop.close()


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestLife = Life.TestCase


async def test_data_without_channels_are_counted_and_with_them_arrive() -> None:
    bench = Bench()
    got: list[Any] = []
    path = bench.transport.open_data(bench.describe(), 5000, got.append)
    await bench.connect()
    theirs = Association(random=os.urandom)
    channels = Channels(theirs, server=False)

    def to_theirs(data: bytes) -> None:
        theirs.receive(data, 0.0)

    bench.client.dtls._on_data = to_theirs
    theirs.connect(0.0)
    channel = channels.open(Open("reliable"))
    channels.send(channel, b"hello", text=True)
    for _ in range(8):
        bench.deliver()
        for packet in theirs.datagrams_to_send(0.0):
            bench.client.dtls.send(packet)
    assert path.established
    assert [e.payload for e in got if isinstance(e, Arrived)] == [b"hello"]
    await bench.close()

    bare = Bench()
    await bare.connect()
    bare.client.dtls.send(b"anything")
    assert bare.stats.drops[DropReason.DATA_CHANNEL] == 1
    await bare.close()


async def test_a_flood_of_data_is_dropped_before_it_is_decrypted() -> None:
    bench = Bench()
    bench.transport.open_data(bench.describe(), 5000, lambda event: None)
    await bench.connect()
    for _ in range(int(MAX_DATA_RATE) + 100):
        bench.transport.receive_dtls(b"\x17\xfe\xfd" + bytes(30))
    assert bench.stats.drops[DropReason.FLOOD] >= 100
    assert bench.transport.state is S.CONNECTED
    await bench.close()


@pytest.mark.parametrize("data", [False, True])
async def test_a_peer_without_srtp_is_taken_for_data_alone(
    data: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    if data:
        bench.transport.open_data(bench.describe(), 5000, lambda event: None)
    bench.transport.start(bench.describe(), bench.now)
    bench.check()
    certificate = bench.client.certificate._rtc

    def make_context(srtp_profiles: object) -> SSL.Context:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.use_certificate(certificate._cert)
        context.use_privatekey(certificate._key)
        return context

    monkeypatch.setattr(certificate, "_create_ssl_context", make_context)
    bench.client.start("client", bench.transport.local.fingerprints[0])
    wanted = S.CONNECTED if data else S.FAILED
    await bench.run(lambda: bench.transport.state is wanted)
    assert bench.transport.leg.keys is None
    await bench.close()
