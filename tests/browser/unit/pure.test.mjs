// Layout, statistics, words and addresses.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chooseLanguage, LANGUAGES } from '../../../static/js/i18n.js';
import { loudness } from '../../../static/js/media.js';
import { cameraLimits } from '../../../static/js/peer.js';
import { keepCall, readAddress, suggestRoom, takeCall, withoutToken } from '../../../static/js/settings.js';
import { History, WINDOW, quality, readReport } from '../../../static/js/stats.js';

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

const { strings: en } = await import('../../../static/js/strings/en.js');

for (const language of Object.keys(LANGUAGES)) {
  test(`${language} says all that English says, with the same blanks and nothing more`, async () => {
    const { strings } = await import(`../../../static/js/strings/${language}.js`);
    assert.deepEqual(Object.keys(strings).sort(), Object.keys(en).sort());
    const blanks = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
    for (const key of Object.keys(en)) {
      assert.deepEqual(blanks(strings[key]), blanks(en[key]), key);
      assert.equal(strings[key].trim(), strings[key], key);
      if (en[key]) assert.ok(strings[key], key);
    }
  });
}

test('the language is the first that we have', () => {
  assert.equal(chooseLanguage(['zh-CN', 'en']), 'zh');
  assert.equal(chooseLanguage(['', 'tlh', 'en-GB', 'zh']), 'en');
  assert.equal(chooseLanguage([]), 'en');
});

test('the address fills the form', () => {
  assert.deepEqual(readAddress('?room=demo&name=Ada&join=1&relay=1'), {
    room: 'demo',
    unreadable: false,
    name: 'Ada',
    token: undefined,
    join: true,
    relay: true,
    turn: false,
  });
  assert.deepEqual(readAddress(''), {
    room: '',
    unreadable: false,
    name: '',
    token: undefined,
    join: false,
    relay: false,
    turn: false,
  });
  assert.equal(readAddress('?room=%E4%BC%9A').room, 'xn--6oq');
  assert.equal(readAddress('?room=%E4%BC').unreadable, true);
  assert.equal(readAddress(`?name=${encodeURIComponent(`${'a'.repeat(64)}👍`)}`).name, 'a'.repeat(64));
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
