import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Liveness } from '../../../static/js/liveness.js';

const STEP = 250;

/** A call on a network that is gone from `from` to `to`; what is `forgotten` is not heard afterwards. */
function play({ from, to, forgotten = [], until = to + 10_000 }) {
  const rules = new Liveness();
  const seen = { probes: [], restarted: [] };
  const lost = new Set();
  let heardAt = 0;
  let asked = null;
  let connected = true;
  for (let now = STEP; now <= until; now += STEP) {
    const there = now < from || now >= to;
    if (!there) for (const key of forgotten) lost.add(key);
    for (const key of ['publisher', 'subscriber', 'p_1']) if (there && !lost.has(key)) rules.hear(key, now);
    if (there && (asked !== null || !connected)) {
      heardAt = now;
      connected = true;
      asked = null;
    } else if (asked !== null && now - asked > 1_500) connected = false;
    const { probe, restart } = rules.check(now, { connected, heardAt });
    if (probe) {
      seen.probes.push(now);
      asked ??= now;
    }
    for (const key of restart) {
      seen.restarted.push([now, key]);
      lost.delete(key);
    }
  }
  return seen;
}

test('a quiet network is left alone', () => {
  assert.deepEqual(play({ from: Infinity, to: Infinity, until: 100_000 }), { probes: [], restarted: [] });
});

for (const length of [5_000, 12_000, 20_000, 35_000, 600_000]) {
  test(`what is heard again after ${length} ms without a network is kept`, () => {
    assert.deepEqual(play({ from: 10_000, to: 10_000 + length }).restarted, []);
  });

  test(`what is not heard again after ${length} ms is restarted within 1.25 s, once`, () => {
    const { restarted } = play({ from: 10_000, to: 10_000 + length, forgotten: ['subscriber', 'p_1'] });
    assert.deepEqual(
      restarted.map(([, key]) => key),
      ['subscriber', 'p_1'],
    );
    for (const [at] of restarted) assert.ok(at - 10_000 - length <= 1_250);
  });
}

test('after a move to another network all are restarted that are not heard there', () => {
  const rules = new Liveness();
  for (let now = 0; now < 2_000; now += STEP) rules.hear('subscriber', now);
  rules.move(2_000);
  assert.deepEqual(rules.check(2_100, { connected: true, heardAt: 1_900 }).restart, []);
  assert.deepEqual(rules.check(2_300, { connected: true, heardAt: 2_200 }).restart, []);
  assert.deepEqual(rules.check(3_100, { connected: true, heardAt: 2_200 }).restart, ['subscriber']);
});

test('who has said next to nothing is expected to say nothing', () => {
  const rules = new Liveness();
  rules.hear('p_1', 0);
  rules.hear('p_1', 10);
  assert.deepEqual(rules.check(50_000, { connected: true, heardAt: 49_000 }), { probe: false, restart: [] });
  rules.hear('p_1', 20);
  assert.equal(rules.isSilent('p_1', 50_000), true);
  rules.keep(new Set());
  assert.equal(rules.isSilent('p_1', 50_000), false);
});
