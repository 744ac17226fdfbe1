// Devices that are given out when the test says so, as a browser does that asks a person first.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

class Track {
  constructor(kind, id) {
    Object.assign(this, { kind, id, readyState: 'live', enabled: true });
  }
  stop() {
    this.readyState = 'ended';
  }
}

class Stream {
  constructor(tracks = []) {
    this.tracks = [...tracks];
  }
  addTrack(track) {
    this.tracks.push(track);
  }
  removeTrack(track) {
    this.tracks = this.tracks.filter((one) => one !== track);
  }
  getTracks() {
    return this.tracks;
  }
  getVideoTracks() {
    return this.tracks.filter(({ kind }) => kind === 'video');
  }
  getAudioTracks() {
    return this.tracks.filter(({ kind }) => kind === 'audio');
  }
}

let questions;
let given;
let media;
let lost;
let unplugged;
const ask = ({ video, audio }) =>
  new Promise((resolve, reject) => {
    if (unplugged) return reject(Object.assign(new Error(), { name: 'NotFoundError' }));
    questions.push(() => {
      const tracks = [];
      if (video) tracks.push(new Track('video', video.deviceId?.ideal ?? 'first'));
      if (audio) tracks.push(new Track('audio', audio.deviceId?.ideal ?? 'first'));
      given.push(...tracks);
      resolve(new Stream(tracks));
    });
  });
globalThis.MediaStream = Stream;
globalThis.AudioContext = class {
  createMediaStreamSource() {
    return { connect() {}, disconnect() {} };
  }
};
globalThis.AnalyserNode = class {};
globalThis.window = { isSecureContext: true };
const mediaDevices = {
  addEventListener() {},
  getUserMedia: ask,
  getDisplayMedia: ask,
  enumerateDevices: async () => [],
};
Object.defineProperty(globalThis, 'navigator', { value: { languages: ['en'], mediaDevices } });
const { Media } = await import('../../../static/js/media.js');

const settle = () =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });
async function allow() {
  while (questions.length > 0) {
    questions.shift()();
    await settle();
  }
}
const live = () => given.filter(({ readyState }) => readyState === 'live').map(({ kind, id }) => `${kind} ${id}`);

beforeEach(() => {
  questions = [];
  given = [];
  unplugged = false;
  lost = [];
  media = new Media({ onChange: () => {}, onLost: (device, problem) => lost.push(`${device} ${problem}`) });
});

/** Nothing is switched on, and nothing asked for. */
async function idle() {
  media.devices.camera.on = media.devices.microphone.on = false;
  await media.start();
}

test('a camera that was switched off while the browser asked is not left running', async () => {
  media.start();
  await media.toggle('camera', false);
  await allow();
  assert.deepEqual(live(), ['audio first']);
});

test('what the browser gives out after the call has ended goes back', async () => {
  media.start();
  media.stop();
  await allow();
  assert.deepEqual(live(), []);
  await idle();
  media.toggle('camera', true);
  media.stop();
  await allow();
  assert.deepEqual(live(), []);
});

test('one who has come back meanwhile gets what the browser was asked for before', async () => {
  media.start();
  media.stop();
  media.start();
  await allow();
  assert.deepEqual(live(), ['video first', 'audio first']);
});

test('another device may be chosen while the first one opens', async () => {
  media.start();
  media.choose('microphone', 'headset');
  await allow();
  assert.deepEqual(live(), ['video first', 'audio headset']);
  media.choose('camera', 'desk');
  media.choose('camera', 'door');
  await allow();
  assert.deepEqual(live(), ['audio headset', 'video door']);
});

test('a microphone that was chosen while muted is the one that is heard then', async () => {
  media.start();
  await allow();
  await media.toggle('microphone', false);
  await media.choose('microphone', 'headset');
  media.toggle('microphone', true);
  await allow();
  assert.deepEqual(live(), ['video first', 'audio headset']);
});

test('a device that was unplugged gives way to another, and is missed when there is none', async () => {
  media.start();
  await allow();
  media.devices.microphone.track.onended();
  await allow();
  assert.equal(media.live('microphone'), true);
  assert.deepEqual(lost, []);
  unplugged = true;
  media.devices.microphone.track.onended();
  await settle();
  assert.equal(media.live('microphone'), false);
  assert.deepEqual(lost, ['microphone missing']);
});

test('a screen is asked for once, and not kept when the call ended over the question', async () => {
  await idle();
  media.shareScreen();
  assert.equal(await media.shareScreen(), false);
  await allow();
  assert.deepEqual(live(), ['video first', 'audio first']);
  media.stopScreen();
  assert.deepEqual(live(), []);
  const shared = media.shareScreen();
  media.stop();
  await allow();
  assert.equal(await shared, false);
  assert.deepEqual(live(), []);
});
