"""A webrtcbin of GStreamer as a program of its own: it publishes by WHIP, plays by WHEP, or answers
the offers that come on its standard input, a JSON string a line.

Run by the Python that has `gi` (Debian's): `gstreamer_peer.py publish|play|answer URL CODEC`. It
says on standard output, a JSON object a line, what it has come to: `offer`, `answer`, `refused`,
`state`, twice a second `decoded`, the frames of each kind, and once a second `levels`, the sound's
in dB by channel. It ends when its standard input does, with DELETE.
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

RTP = "application/x-rtp,media={media},encoding-name={name},payload={payload},clock-rate={rate}"
BUNDLE = "webrtcbin name=peer bundle-policy=max-bundle latency=0 "
SOUND = (
    "audiotestsrc is-live=true freq=440 ! audio/x-raw,channels=2,rate=48000 ! {effect}"
    "opusenc ! rtpopuspay pt=97 ! "
    + RTP.format(media="audio", name="OPUS", payload=97, rate=48000)
    + " ! peer. "
)
PICTURE = "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=15/1 ! "
PAYLOADS = {
    "vp8": (
        "vp8enc deadline=1 keyframe-max-dist=999 ! rtpvp8pay pt=96 picture-id-mode=2 ! ",
        "VP8",
    ),
    # Parameter sets with the first picture alone, and in the SDP.
    "h264": (
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=1000 bitrate=200 ! "
        "video/x-h264,profile=constrained-baseline ! rtph264pay pt=96 config-interval=0 ! ",
        "H264",
    ),
}


def say(**words: Any) -> None:
    # In one piece: threads of GStreamer speak, too.
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


class Peer:
    def __init__(self, role: str, url: str, codec: str) -> None:
        self.role, self.url, self.codec = role, url, codec
        self.session: str | None = None
        self.decoded = {"audio": 0, "video": 0}
        self.loop = GLib.MainLoop()
        # What is linked to it later has to have the same parent.
        self.pipeline = Gst.parse_launch(self.describe())
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("pad-added", self.receive_pad)
        self.peer.connect("notify::connection-state", self.tell_state)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.receive_message)
        if role == "play":
            self.add_lines()
            GLib.timeout_add(300, self.negotiate)
        elif role == "publish":
            self.peer.connect("on-negotiation-needed", lambda _peer: self.negotiate())
        self.pipeline.set_state(Gst.State.PLAYING)

    def describe(self) -> str:
        if self.role != "publish":
            return BUNDLE + "fakesrc num-buffers=0 ! fakesink"
        encode, name = PAYLOADS[self.codec]
        caps = RTP.format(media="video", name=name, payload=96, rate=90000)
        left = "audiopanorama panorama=-1.0 ! "
        return BUNDLE + PICTURE + encode + caps + " ! peer. " + SOUND.format(effect=left)

    def add_lines(self) -> None:
        name = PAYLOADS[self.codec][1]
        video = RTP.format(media="video", name=name, payload=96, rate=90000)
        if name == "H264":
            video += ",packetization-mode=(string)1,profile-level-id=(string)42e01f"
        audio = RTP.format(media="audio", name="OPUS", payload=97, rate=48000)
        audio += ",encoding-params=(string)2"
        for caps in (video, audio):
            direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(caps))

    # -- Talking ------------------------------------------------------------------------

    def negotiate(self) -> bool:
        promise = Gst.Promise.new_with_change_func(self.receive_offer)
        self.peer.emit("create-offer", None, promise)
        return False

    def receive_offer(self, promise: Any) -> None:
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        self.peer.emit("set-local-description", offer, None)
        text = offer.sdp.as_text()
        say(event="offer", sdp=text)
        threading.Thread(target=self.post, args=(text,), daemon=True).start()

    def post(self, offer: str) -> None:
        headers = {"Content-Type": "application/sdp"}
        request = urllib.request.Request(self.url, offer.encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                text = response.read().decode()
                self.session = urljoin(self.url, response.headers["Location"])
        except urllib.error.HTTPError as error:
            say(event="refused", status=error.code, body=error.read().decode())
            return
        say(event="answer", sdp=text)
        self.take(text, GstWebRTC.WebRTCSDPType.ANSWER, None)

    def take(self, text: str, kind: Any, promise: Any) -> None:
        _, message = GstSdp.SDPMessage.new_from_text(text)
        description = GstWebRTC.WebRTCSessionDescription.new(kind, message)
        self.peer.emit("set-remote-description", description, promise)

    def answer(self, offer: str) -> bool:
        """One that came on standard input."""

        def create(_promise: Any) -> None:
            promise = Gst.Promise.new_with_change_func(self.receive_answer)
            self.peer.emit("create-answer", None, promise)

        promise = Gst.Promise.new_with_change_func(create)
        self.take(offer, GstWebRTC.WebRTCSDPType.OFFER, promise)
        return False

    def receive_answer(self, promise: Any) -> None:
        reply = promise.get_reply()
        answer = reply.get_value("answer")
        self.peer.emit("set-local-description", answer, None)
        say(event="answer", sdp=answer.sdp.as_text())

    def leave(self) -> None:
        if self.session is not None:
            request = urllib.request.Request(self.session, method="DELETE")
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    say(event="left", status=response.status)
            except urllib.error.HTTPError as error:
                say(event="left", status=error.code)
        self.loop.quit()

    # -- Media --------------------------------------------------------------------------

    def receive_pad(self, _peer: Any, pad: Any) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        decode = Gst.ElementFactory.make("decodebin")
        decode.connect("pad-added", self.receive_decoded)
        self.pipeline.add(decode)
        decode.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def receive_decoded(self, _decode: Any, pad: Any) -> None:
        kind = "audio" if pad.get_current_caps().to_string().startswith("audio") else "video"
        meter = "level interval=1000000000 ! " if kind == "audio" else ""
        end = Gst.parse_bin_from_description(meter + "fakesink sync=false name=end", True)
        sink = end.get_by_name("end")
        sink.set_property("signal-handoffs", True)
        sink.connect("handoff", lambda *_: self.count(kind))
        self.pipeline.add(end)
        end.sync_state_with_parent()
        pad.link(end.get_static_pad("sink"))

    def count(self, kind: str) -> None:
        self.decoded[kind] += 1

    def receive_message(self, _bus: Any, message: Any) -> None:
        if message.type == Gst.MessageType.ERROR:
            say(event="error", text=str(message.parse_error()[0]))
        structure = message.get_structure()
        if structure is not None and structure.get_name() == "level":
            say(event="levels", rms=list(structure.get_value("rms")))

    def tell_state(self, peer: Any, _property: Any) -> None:
        say(event="state", state=peer.get_property("connection-state").value_nick)

    def report(self) -> bool:
        say(event="decoded", **self.decoded)
        return True


def main() -> None:
    Gst.init(None)
    peer = Peer(*sys.argv[1:4])
    GLib.timeout_add(500, peer.report)

    def wait() -> None:
        for line in sys.stdin:
            GLib.idle_add(peer.answer, json.loads(line))
        GLib.idle_add(peer.leave)

    threading.Thread(target=wait, daemon=True).start()
    peer.loop.run()
    peer.pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
