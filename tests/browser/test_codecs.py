"""What Chromium prefers is sent so that those can have it who know less: H.264 in the profile that
everybody decodes, and sound out of RED."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import PATIENCE, Hub, running_hub
from tests.support.gstreamer import PROGRAM, PYTHON

PUBLISH = """async ({ url, audio, video }) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
  const context = canvas.getContext('2d');
  let hue = 0;
  setInterval(() => {
    context.fillStyle = `hsl(${(hue += 9)} 80% 50%)`;
    context.fillRect(0, 0, 320, 180);
  }, 66);
  const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
  const pc = (window.pc = new RTCPeerConnection());
  const tracks = [sound.getAudioTracks()[0], canvas.captureStream(15).getVideoTracks()[0]];
  for (const [track, first] of [[tracks[0], audio], [tracks[1], video]]) {
    const line = pc.addTransceiver(track, { direction: 'sendonly' });
    const { codecs } = RTCRtpSender.getCapabilities(track.kind);
    const preferred = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === first);
    line.setCodecPreferences([...preferred, ...codecs.filter((one) => !preferred.includes(one))]);
  }
  await pc.setLocalDescription();
  const headers = { 'Content-Type': 'application/sdp' };
  const response = await fetch(url, { method: 'POST', headers, body: pc.localDescription.sdp });
  await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
}"""
SENT = """async () => {
  const report = [...(await window.pc.getStats()).values()];
  const sends = ({ type, packetsSent }) => type === 'outbound-rtp' && packetsSent > 20;
  const streams = report.filter(sends);
  return streams.map(({ codecId }) => report.find(({ id }) => id === codecId)).map(
    ({ mimeType, sdpFmtpLine }) => `${mimeType} ${sdpFmtpLine ?? ''}`).sort();
}"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.mark.needs("gstreamer")
def test_a_player_without_red_and_with_one_profile_of_h264_sees_and_hears_chromium(
    browser: Browser, hub: Hub, room: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://localhost:{hub.port}/static/example/")
    wanted = {"url": f"/whip/{room}", "audio": "audio/red", "video": "video/h264"}
    page.evaluate(PUBLISH, wanted)
    sent: list[str] = []
    for _ in range(PATIENCE // 200):
        sent = page.evaluate(SENT)
        if len(sent) == 2:
            break
        page.wait_for_timeout(200)
    assert "42e01f" in sent[1]
    # Chromium reports what it wraps; the relay reports what came.
    show = "async (url) => JSON.stringify(await (await fetch(url)).json())"
    room_now = page.evaluate(show, f"/api/rooms/{room}")
    for _ in range(PATIENCE // 200):
        if '"red"' in room_now:
            break
        page.wait_for_timeout(200)
        room_now = page.evaluate(show, f"/api/rooms/{room}")
    assert '"codec":"red"' in room_now, room_now
    url = f"http://localhost:{hub.port}/whep/{room}"
    player = subprocess.Popen(
        [PYTHON, str(PROGRAM), "play", url, "h264"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert player.stdout is not None
    try:
        for line in player.stdout:
            words = json.loads(line)
            assert words["event"] != "refused", words
            if words["event"] == "decoded" and words["audio"] > 20 and words["video"] > 20:
                break
        else:
            raise AssertionError("the player ended")
    finally:
        player.kill()
        player.wait()
        player.stdout.close()
        if player.stdin is not None:
            player.stdin.close()
    context.close()
