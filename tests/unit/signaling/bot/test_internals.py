"""aiortc's private names that the bots lean on: an upgrade that moves one fails here."""

from __future__ import annotations

import inspect
from typing import Any, cast

from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from signaling.bot.internals import (
    DATAGRAMS_WAITING,
    Checkpoint,
    bound_inboxes,
    hook_key_frames,
    is_started,
    learn_ssrcs,
    local_addresses,
    machine_addresses,
    negotiated_codec,
    prefer_codec,
    set_stream_id,
    watch_packets,
)
from signaling.bot.sources import SenderTrack


async def negotiate() -> tuple[RTCPeerConnection, RTCPeerConnection]:
    one, other = RTCPeerConnection(), RTCPeerConnection()
    one.addTransceiver(SenderTrack("video"))
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    return one, other


async def test_key_frame_requests_reach_the_source() -> None:
    one, other = await negotiate()
    sender = one.getTransceivers()[0].sender
    asked: list[int] = []
    hook_key_frames(sender, lambda: asked.append(1))
    sender._send_keyframe()
    assert asked == [1]
    assert cast(Any, sender)._RTCRtpSender__force_keyframe is True
    assert not is_started(sender)
    await one.close()
    await other.close()


async def test_an_offer_is_taken_back_and_another_answered() -> None:
    one, other = RTCPeerConnection(), RTCPeerConnection()
    for pc in (one, other):
        pc.addTransceiver(SenderTrack("audio"))
        pc.addTransceiver(SenderTrack("video"))
    checkpoint = Checkpoint(one)
    await one.setLocalDescription(await one.createOffer())
    await other.setLocalDescription(await other.createOffer())
    checkpoint.rollback()
    assert one.signalingState == "stable"
    assert [t.mid for t in one.getTransceivers()] == [None, None]
    await one.setRemoteDescription(other.localDescription)
    await one.setLocalDescription(await one.createAnswer())
    await other.setRemoteDescription(one.localDescription)
    assert [t.mid for t in one.getTransceivers()] == ["0", "1"]
    assert one.signalingState == other.signalingState == "stable"
    await one.close()
    await other.close()


async def test_a_later_offer_taken_back_leaves_the_lines_that_were_agreed() -> None:
    one, other = await negotiate()
    await other.setLocalDescription(await other.createAnswer())
    await one.setRemoteDescription(other.localDescription)
    one.addTransceiver(SenderTrack("audio"))
    one.createDataChannel("data")
    checkpoint = Checkpoint(one)
    await one.setLocalDescription(await one.createOffer())
    checkpoint.rollback()
    assert [t.mid for t in one.getTransceivers()] == ["0", None]
    await one.setLocalDescription(await one.createOffer())
    assert len(one.localDescription.sdp.split("m=")) == 4
    await one.close()
    await other.close()


async def test_one_codec_can_be_insisted_on_and_read_back() -> None:
    one = RTCPeerConnection()
    transceiver = one.addTransceiver(SenderTrack("video"))
    assert negotiated_codec(transceiver) is None
    prefer_codec(transceiver, "H264")
    set_stream_id(transceiver.sender, "screen")
    await one.setLocalDescription(await one.createOffer())
    assert "VP8" not in one.localDescription.sdp
    assert "a=msid:screen " in one.localDescription.sdp
    assert negotiated_codec(transceiver) == "H264"
    await one.close()


async def test_new_streams_on_an_old_line_are_followed() -> None:
    one, other = await negotiate()
    transceiver = other.getTransceivers()[0]
    router = transceiver.receiver.transport._rtp_router
    router.receivers.add(transceiver.receiver)
    ssrc = one.getTransceivers()[0].sender._ssrc
    text = one.localDescription.sdp.replace(str(ssrc), "12345")
    await other.setRemoteDescription(RTCSessionDescription(sdp=text, type="offer"))
    learn_ssrcs(other)
    assert router.ssrc_table[12345] is transceiver.receiver
    await one.close()
    await other.close()


async def test_datagrams_that_nobody_takes_do_not_pile_up() -> None:
    one = RTCPeerConnection()
    one.addTransceiver(SenderTrack("audio"))
    bound_inboxes(one)
    await one.setLocalDescription(await one.createOffer())
    connection = one.getTransceivers()[0].receiver.transport.transport._connection
    for n in range(2 * DATAGRAMS_WAITING):
        connection.data_received(b"%d" % n, 1)
    assert connection._queue.qsize() == DATAGRAMS_WAITING
    assert connection._queue.get_nowait() == (b"%d" % DATAGRAMS_WAITING, 1)
    await one.close()


def test_a_connection_and_a_sender_have_the_names_that_are_replaced() -> None:
    connection, sender = inspect.getsource(RTCPeerConnection), inspect.getsource(RTCRtpSender)
    assert "asyncio.ensure_future(self.__connect())" in connection
    assert "self.__loop.run_in_executor(" in sender
    assert sender.count("self.__loop") == 2
    assert "await self._next_encoded_frame(codec)" in sender
    assert "self.__encoder = get_encoder(codec)" in sender


async def test_what_comes_in_is_noticed_and_the_machine_has_addresses() -> None:
    one = RTCPeerConnection()
    one.addTransceiver("audio")
    heard: list[int] = []
    await one.setLocalDescription(await one.createOffer())
    watch_packets(one, lambda: heard.append(1))
    watch_packets(one, lambda: heard.append(2))
    (transport,) = cast(Any, one)._RTCPeerConnection__iceTransports
    transport._connection.data_received(b"x", 1)
    assert heard == [1]
    assert local_addresses(one) == set()
    assert all("%" not in address for address in machine_addresses())
    await one.close()
