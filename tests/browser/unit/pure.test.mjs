// Layout, statistics, words and addresses.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chooseLanguage } from '../../../static/js/i18n.js';
import { conversation, grid, spotlight } from '../../../static/js/layout.js';
import { loudness } from '../../../static/js/media.js';
import { cameraLimits } from '../../../static/js/peer.js';
import { keepCall, readAddress, roomName, suggestRoom, takeCall, withoutToken } from '../../../static/js/settings.js';
import { History, WINDOW, quality, readReport } from '../../../static/js/stats.js';
import { en } from '../../../static/js/strings/en.js';
import { zh } from '../../../static/js/strings/zh.js';

const SIZES = [
  { width: 1416, height: 816 },
  { width: 374, height: 716 },
  { width: 800, height: 340 },
];

function assertApart(rects, area) {
  rects.forEach((one, index) => {
    assert.ok(one.x >= 0 && one.y >= 0 && one.width > 0 && one.height > 0, JSON.stringify(one));
    assert.ok(
      one.x + one.width <= area.width + 1 && one.y + one.height <= area.height + 1,
      JSON.stringify({ one, area }),
    );
    for (const two of rects.slice(index + 1)) {
      const apart =
        one.x + one.width <= two.x ||
        two.x + two.width <= one.x ||
        one.y + one.height <= two.y ||
        two.y + two.height <= one.y;
      assert.ok(apart, JSON.stringify([one, two]));
    }
  });
}

test('a grid of 1 to 25 fits, does not overlap, and uses most of the room there is', () => {
  for (const area of SIZES) {
    for (let count = 1; count <= 25; count += 1) {
      const rects = grid(count, area);
      assert.equal(rects.length, count);
      assertApart(rects, area);
      const used = rects.reduce((sum, { width, height }) => sum + width * height, 0) / (area.width * area.height);
      assert.ok(used > 0.52, `${count} in ${area.width}x${area.height}: ${used}`);
    }
  }
});

test('a spotlight with any number of others fits and does not overlap', () => {
  for (const area of SIZES) {
    for (const wide of [true, false]) {
      for (let others = 0; others <= 12; others += 1) assertApart(spotlight(others, area, wide), area);
    }
  }
});

test('in a conversation the small picture lies inside of the large one', () => {
  for (const area of SIZES) {
    const [large, small] = conversation(area);
    assert.ok(small.x >= large.x && small.x + small.width <= large.x + large.width);
    assert.ok(small.y >= large.y && small.y + small.height <= large.y + large.height);
  }
});

const report = (bytes, lost, type = 'host') =>
  new Map([
    ['T', { type: 'transport', selectedCandidatePairId: 'P' }],
    ['P', { type: 'candidate-pair', localCandidateId: 'L', remoteCandidateId: 'R', currentRoundTripTime: 0.05 }],
    ['L', { type: 'local-candidate', candidateType: type }],
    ['R', { type: 'remote-candidate', candidateType: 'host' }],
    [
      'V',
      {
        type: 'inbound-rtp',
        trackIdentifier: 'v',
        bytesReceived: bytes,
        packetsReceived: bytes / 1000,
        packetsLost: lost,
        framesDecoded: bytes / 4000,
        frameWidth: 640,
        frameHeight: 360,
      },
    ],
    ['O', { type: 'outbound-rtp', bytesSent: 2 * bytes }],
  ]);

test('a report tells how the pair is connected', () => {
  assert.equal(readReport(report(0, 0), { viaRelay: false, at: 0 }).path, 'direct');
  assert.equal(readReport(report(0, 0, 'relay'), { viaRelay: false, at: 0 }).path, 'turn');
  assert.equal(readReport(report(0, 0), { viaRelay: true, at: 0 }).path, 'relay');
  assert.equal(readReport(new Map(), { viaRelay: false, at: 0 }).path, '');
});

test('two reports make a second of rates', () => {
  const history = new History();
  history.add('a', readReport(report(100_000, 0), { viaRelay: false, at: 1_000 }));
  history.add('a', readReport(report(200_000, 25), { viaRelay: false, at: 2_000 }));
  assert.deepEqual(history.of('a'), [
    {
      at: 2_000,
      path: 'direct',
      roundTrip: 50,
      bitrateIn: 800,
      bitrateOut: 1_600,
      loss: 20,
      frameRate: 25,
      width: 640,
      height: 360,
    },
  ]);
  assert.equal(quality(history.of('a')), 'poor');
});

test('only the tracks of one participant count, and a new path starts anew', () => {
  const counters = readReport(report(100_000, 0), { viaRelay: true, tracks: new Set(['x']), at: 0 });
  assert.equal(counters.bytesIn, 0);
  const history = new History();
  history.add('a', readReport(report(100_000, 0), { viaRelay: false, at: 1_000 }));
  history.add('a', readReport(report(900_000, 0), { viaRelay: true, at: 2_000 }));
  assert.deepEqual(history.of('a'), []);
});

test('a minute is kept, and those who left are forgotten', () => {
  const history = new History();
  for (let second = 0; second < 100; second += 1)
    history.add('a', readReport(report(1_000 * second, 0), { viaRelay: false, at: 1_000 * second }));
  assert.equal(history.of('a').length, WINDOW);
  assert.equal(quality(history.of('a')), 'good');
  history.keep(new Set());
  assert.deepEqual(history.of('a'), []);
});

test('both languages say the same things, with the same blanks', () => {
  assert.deepEqual(Object.keys(zh), Object.keys(en));
  const blanks = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
  for (const key of Object.keys(en)) assert.deepEqual(blanks(zh[key]), blanks(en[key]), key);
});

test('the language is the first that we have', () => {
  assert.equal(chooseLanguage(['zh-CN', 'en']), 'zh-Hans');
  assert.equal(chooseLanguage(['de', 'en-GB', 'zh']), 'en');
  assert.equal(chooseLanguage([]), 'en');
});

test('the address fills the form', () => {
  assert.deepEqual(readAddress('?room=demo&name=Ada&join=1&relay=1'), {
    room: 'demo',
    name: 'Ada',
    token: undefined,
    join: true,
    relay: true,
    turn: false,
  });
  assert.deepEqual(readAddress(''), { room: '', name: '', token: undefined, join: false, relay: false, turn: false });
  assert.equal(readAddress('?turn=1').turn, true);
  assert.equal(readAddress('?token=seen', '#token=unseen').token, 'unseen');
  assert.equal(withoutToken('?room=demo&token=seen&name=Ada'), '?room=demo&name=Ada');
  assert.equal(withoutToken('?token=seen'), '');
});

test('a reload comes back into the call, once and soon; without storage it does not', () => {
  const kept = new Map();
  globalThis.sessionStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  keepCall('demo', 1_000_000);
  assert.equal(takeCall(1_002_000), 'demo');
  assert.equal(takeCall(1_002_000), '');
  keepCall('demo', 1_000_000);
  assert.equal(takeCall(90_000_000), '');
  Object.defineProperty(globalThis, 'sessionStorage', {
    get() {
      throw new Error('denied');
    },
  });
  keepCall('demo', 1_000_000);
  assert.equal(takeCall(1_002_000), '');
});

test('a room name is one that the hub takes', () => {
  assert.equal(roomName('  Team Meeting! '), 'Team-Meeting');
  assert.equal(roomName('Café'), 'Cafe');
  assert.equal(roomName('会议'), '');
  assert.match(
    suggestRoom(() => new Uint32Array([1, 2, 3])),
    /^[a-z]+-[a-z]+-[a-z0-9]{3}$/,
  );
});

test('louder samples make a higher level', () => {
  const tone = (amplitude) =>
    loudness(Float32Array.from({ length: 512 }, (_, index) => amplitude * Math.sin(index / 5)));
  assert.equal(tone(0), 0);
  assert.ok(tone(0.01) < tone(0.1) && tone(0.1) < tone(1));
  assert.equal(tone(1), 1);
});

test('the more copies a camera sends, the smaller each', () => {
  const limits = [1, 2, 3, 4].map(cameraLimits);
  for (let index = 1; index < limits.length; index += 1)
    assert.ok(
      limits[index].maxBitrate <= limits[index - 1].maxBitrate && limits[index].scale >= limits[index - 1].scale,
    );
});
