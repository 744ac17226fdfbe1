// TURN credentials in a long call: asked for anew at half their life, and without haste after a failure.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Freshness, expiryOf } from '../../../static/js/ice.js';

const NOW = 1_700_000_000_000;
const turn = (seconds) => ({
  urls: ['turn:turn.example.org'],
  username: `${NOW / 1000 + seconds}:p_1`,
  credential: 'x',
});
const STUN = { urls: ['stun:turn.example.org'] };

test('the first that ends counts, and what has no end does not', () => {
  assert.equal(expiryOf([STUN, turn(7200), turn(3600)]), NOW + 3_600_000);
  assert.equal(expiryOf([STUN, { urls: ['turn:x'], username: 'fixed', credential: 'x' }]), null);
  assert.equal(expiryOf([]), null);
});

test('asks at half of their life, and then at half of the new ones', async () => {
  const asked = [];
  const got = [];
  const fresh = new Freshness({
    fetch: async () => {
      asked.push(1);
      return [turn(7200)];
    },
    onServers: (servers) => got.push(servers),
  });
  fresh.receive([turn(3600)], NOW);
  await fresh.check(NOW + 1_799_000);
  assert.equal(asked.length, 0);
  await fresh.check(NOW + 1_800_000);
  assert.deepEqual(got, [[turn(7200)]]);
  await fresh.check(NOW + 4_499_000);
  assert.equal(asked.length, 1);
  await fresh.check(NOW + 4_500_000);
  assert.equal(asked.length, 2);
});

test('a server that does not answer is asked once a minute', async () => {
  let asked = 0;
  const fresh = new Freshness({
    fetch: async () => {
      asked += 1;
      throw new Error('HTTP 503');
    },
    onServers: () => assert.fail(),
  });
  fresh.receive([turn(600)], NOW);
  for (let second = 300; second < 480; second += 1) await fresh.check(NOW + 1000 * second);
  assert.equal(asked, 3);
});

test('without credentials nobody is asked', async () => {
  const fresh = new Freshness({ fetch: () => assert.fail(), onServers: () => {} });
  await fresh.check(NOW);
  fresh.receive([STUN], NOW);
  await fresh.check(NOW + 1e12);
});
