"""Fuzz targets of the relay's control plane: what a channel reads, and the fragments of WHIP."""

from __future__ import annotations

from typing import Any

from relay import control
from relay.process import lifecycle
from relay.process.channel import ChannelError, FrameReader, build_frame
from signaling.http.whip.fragments import (
    Fragment,
    FragmentError,
    parse_fragment_untrusted,
    replace_credentials,
)
from tests.unit.relay.rooms.rooms import World
from tests.unit.relay.sdp.offers import AUDIO, VIDEO, make_answer, make_offer


def channel(data: bytes) -> None:
    """Bytes are messages or a ChannelError; what is read means the same when written again."""
    for union in (lifecycle.ToWorker, lifecycle.ToNode):
        reader: FrameReader[Any] = FrameReader(union)
        try:
            messages = reader.receive_data(data)
        except ChannelError:
            continue
        for message in messages:
            again: FrameReader[Any] = FrameReader(union)
            assert repr(again.receive_data(build_frame(message))) == repr([message])


def router(data: bytes) -> None:
    """Whatever well-formed commands say, a router carries them out or refuses, and ends empty."""
    reader: FrameReader[Any] = FrameReader(lifecycle.ToWorker)
    try:
        commands = reader.receive_data(data)
    except ChannelError:
        return
    world = World()
    for command in commands:
        if not isinstance(command, lifecycle.Stop):
            world.do(command)
    world.router.close(world.now)
    assert not any(world.count_remains().values())


def fragment(data: bytes) -> None:
    """A fragment is read or refused, and never writes more than two lines into an offer."""
    try:
        found = parse_fragment_untrusted(data.decode("utf-8", "replace"))
    except FragmentError:
        return
    assert isinstance(found, Fragment)
    if found.ufrag is not None and found.pwd is not None:
        offer = "a=ice-ufrag:x\r\na=ice-pwd:y\r\nm=audio\r\n"
        assert replace_credentials(offer, found.ufrag, found.pwd).count("\r\n") == 3


def make_seeds() -> dict[str, bytes]:
    """The corpus, made from a short call; kept in git beside this file."""
    world = World()
    commands: list[Any] = []

    def do(command: Any) -> None:
        commands.append(command)
        world.do(command)

    for name in ("a", "b"):
        do(control.Join("demo", name))
        do(control.Route("demo", name, None))
    sources = [control.PublishTrack("0", "camera")]
    do(control.Publish("demo", "a", 1, make_offer(VIDEO, AUDIO), sources))
    do(control.AnswerOffer("demo", "b", 2, make_answer(world.offers()["b"].sdp)))
    do(control.Mute("demo", world.track("a"), True))
    do(control.Select("demo", "b", [world.track("a")], False))
    do(control.RestartIce("demo", "b"))
    do(control.GetStats("demo", 3))
    do(control.Pull("demo", "b", 4, make_offer(VIDEO, direction="recvonly")))
    do(control.Leave("demo", "a"))
    do(control.CloseRoom("demo"))
    seeds = {f"command-{number:02}": build_frame(c) for number, c in enumerate(commands)}
    seeds["call"] = b"".join(map(build_frame, commands))
    for number, event in enumerate(world.events):
        seeds[f"event-{number:02}"] = build_frame(event)
    seeds["metrics"] = build_frame(control.WorkerMetrics(drops={"flood": 3}))
    return seeds
