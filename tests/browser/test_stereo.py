"""Sound that is on the left ear alone is heard there, and not on the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.browser import PATIENCE, Hub, Participant, running_hub

# A microphone of two channels: 440 Hz on the left one.
LEFT_ALONE = """() => {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async () => {
    // A page that records may make sounds, too.
    await real({ audio: true });
    const audio = new AudioContext();
    const tone = new OscillatorNode(audio);
    const sides = new ChannelMergerNode(audio, { numberOfInputs: 2 });
    const out = new MediaStreamAudioDestinationNode(audio, { channelCount: 2 });
    tone.connect(sides, 0, 0);
    sides.connect(out);
    tone.start();
    return out.stream;
  };
}"""
HEARD = """async () => {
  const element = [...document.querySelectorAll('audio')]
    .find((one) => one.srcObject?.getAudioTracks().length);
  if (!element) return null;
  const audio = new AudioContext();
  const source = audio.createMediaStreamSource(element.srcObject);
  const sides = new ChannelSplitterNode(audio, { numberOfOutputs: 2 });
  source.connect(sides);
  await audio.resume();
  const meters = [0, 1].map((side) => {
    const meter = new AnalyserNode(audio);
    sides.connect(meter, side);
    return meter;
  });
  await new Promise((done) => setTimeout(done, 500));
  return meters.map((meter) => {
    const samples = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(samples);
    return Math.max(...samples.map(Math.abs));
  });
}"""
Enter = Callable[..., Participant]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def test_what_is_on_the_left_is_heard_on_the_left(enter: Enter) -> None:
    speaker = enter()
    speaker.page.context.add_init_script(f"({LEFT_ALONE})()")
    speaker.page.goto(speaker.page.url + "&name=Ada&join=1" + "&relay=1")
    listener = enter("Bob", relay=1)
    listener.page.wait_for_function(
        f"async () => (await ({HEARD})())?.[0] > 0.1", timeout=PATIENCE, polling=50
    )
    left, right = listener.page.evaluate(HEARD)
    assert left > 0.1
    assert right < 0.02
