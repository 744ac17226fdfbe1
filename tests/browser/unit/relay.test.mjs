// The connections to the relay, over a peer connection that only notes what it is given.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Publisher, Subscriber } from '../../../static/js/relay.js';

test('an offer of another session is for another connection', async () => {
  const opened = [];
  globalThis.RTCPeerConnection = class {
    constructor() {
      Object.assign(this, { offers: [], closed: false, localDescription: { sdp: `answer ${opened.push(this)}` } });
    }
    async setRemoteDescription({ sdp }) {
      this.offers.push(sdp);
    }
    async setLocalDescription() {}
    close() {
      this.closed = true;
    }
  };
  const answers = [];
  const subscriber = new Subscriber({
    ice: () => ({}),
    answer: (sdp) => answers.push(sdp),
    requestRestart: () => {},
    onTracks: () => {},
  });
  const offer = (session, version) => `v=0\r\no=- ${session} ${version} IN IP4 0.0.0.0\r\n`;
  await subscriber.receiveOffer(offer(7, 1), []);
  await subscriber.receiveOffer(offer(7, 2), []);
  await subscriber.receiveOffer(offer(9, 1), []);
  assert.deepEqual(
    opened.map(({ offers, closed }) => [offers, closed]),
    [
      [[offer(7, 1), offer(7, 2)], true],
      [[offer(9, 1)], false],
    ],
  );
  assert.deepEqual(answers, ['answer 1', 'answer 1', 'answer 2']);
  subscriber.close();
  assert.ok(opened[1].closed);
});

test('an offer is not answered any more once a newer one has come', async () => {
  const begun = [];
  globalThis.RTCPeerConnection = class {
    setRemoteDescription({ sdp }) {
      return new Promise((resolve) => {
        begun.push([sdp, resolve]);
      });
    }
    async setLocalDescription() {}
    get localDescription() {
      return { sdp: `answer to ${begun.at(-1)[0]}` };
    }
    close() {}
  };
  const answers = [];
  const subscriber = new Subscriber({
    ice: () => ({}),
    answer: (sdp) => answers.push(sdp),
    requestRestart: () => {},
    onTracks: () => {},
  });
  const settle = () =>
    new Promise((resolve) => {
      setImmediate(resolve);
    });
  subscriber.receiveOffer('o=- 7 1', []);
  await settle();
  subscriber.receiveOffer('o=- 7 2', []);
  subscriber.receiveOffer('o=- 7 3', []);
  begun[0][1]();
  await settle();
  begun[1][1]();
  await settle();
  assert.deepEqual(answers, ['answer to o=- 7 3']);
  subscriber.receiveOffer('o=- 7 4', []);
  await settle();
  subscriber.receiveOffer('o=- 7 5', []);
  subscriber.close();
  begun[2][1]();
  await settle();
  assert.equal(subscriber.pc, null);
});

test('one who may not publish every source still publishes the others, and asks no more', async () => {
  const made = [];
  globalThis.RTCPeerConnection = class {
    constructor() {
      Object.assign(this, { signalingState: 'stable', localDescription: { sdp: '' } });
    }
    addTransceiver(track, { direction }) {
      made.push(track);
      return { mid: track, direction, sender: { replaceTrack: async () => {}, getParameters: () => ({}) } };
    }
    async setLocalDescription() {}
    async setRemoteDescription() {}
  };
  for (const [allowed, offers] of [
    [['microphone', 'camera'], 2],
    [['microphone'], 3],
    [['other'], 3],
  ]) {
    const asked = [];
    const publisher = new Publisher({
      ice: {},
      onState: () => {},
      exchange: async (_sdp, tracks) => {
        asked.push(tracks.map(({ source }) => source));
        if (asked.at(-1).some((source) => !allowed.includes(source)))
          throw Object.assign(new Error('no'), { code: 'forbidden' });
        return '';
      },
    });
    for (const source of ['microphone', 'camera', 'screen']) publisher.setSource(source, source, null);
    const { info } = console;
    console.info = () => {};
    await publisher.pc.onnegotiationneeded();
    console.info = info;
    assert.equal(asked.length, offers);
    if (allowed[0] === 'microphone') assert.deepEqual(asked.at(-1), allowed);
    publisher.setSource('screen', 'again', null);
    assert.equal(publisher.lines.get('screen').direction, 'inactive');
  }
});

test('a connection that the relay has forgotten is given up', async () => {
  let pc;
  const taken = [];
  globalThis.RTCPeerConnection = class {
    constructor() {
      pc = this;
      this.localDescription = { sdp: 'offer' };
    }
    async setRemoteDescription({ sdp }) {
      taken.push(sdp);
    }
    async setLocalDescription() {}
  };
  const answers = [7, 7, 9].map((session, index) => `v=0\r\no=- ${session} ${index} IN IP4 0.0.0.0\r\n`);
  let asked = 0;
  let forgotten = 0;
  new Publisher({
    ice: {},
    exchange: async () => answers[asked++],
    onState: () => {},
    onForgotten: () => {
      forgotten += 1;
    },
  });
  for (const expected of [0, 0, 1]) {
    await pc.onnegotiationneeded();
    assert.equal(forgotten, expected);
  }
  assert.deepEqual(taken, answers.slice(0, 2));
});
