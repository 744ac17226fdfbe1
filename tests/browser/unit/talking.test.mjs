import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Talking } from '../../../static/js/talking.js';

test('a loud voice talks, and goes on for a breath after it is quiet', () => {
  const talking = new Talking();
  assert.equal(talking.hear(new Map([['ada', 0.05]]), 0), true);
  assert.deepEqual([...talking.who], ['ada']);
  assert.equal(talking.hear(new Map([['ada', 0]]), 600), false);
  assert.equal(talking.hear(new Map([['ada', 0]]), 800), true);
  assert.deepEqual([...talking.who], []);
});

test('what begins as a murmur is no talking, what ends as one still is', () => {
  const talking = new Talking();
  talking.hear(new Map([['ada', 0.02]]), 0);
  assert.deepEqual([...talking.who], []);
  talking.hear(new Map([['ada', 0.04]]), 100);
  talking.hear(new Map([['ada', 0.02]]), 900);
  talking.hear(new Map([['ada', 0.02]]), 1_500);
  assert.deepEqual([...talking.who], ['ada']);
});

test('nobody talks any more after a clear', () => {
  const talking = new Talking();
  talking.hear(new Map([['ada', 1]]), 0);
  talking.clear();
  assert.deepEqual([...talking.who], []);
});
