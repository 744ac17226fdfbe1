// Data through the hub: topics, calls and what becomes of those that nobody answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CallError, Data } from '../../../static/js/data.js';

/** Two that hear each other at once, with what they sent. */
function pair() {
  const sent = [];
  const sides = {};
  for (const [me, other] of [
    ['p_a', 'p_b'],
    ['p_b', 'p_a'],
  ]) {
    sides[me] = new Data(async (message) => {
      sent.push(JSON.parse(JSON.stringify(message)));
      if (message.to && !message.to.includes(other))
        throw Object.assign(new Error('gone'), { code: 'unknown-participant' });
      if (JSON.stringify(message.content).length > 16384)
        throw Object.assign(new Error('large'), { code: 'bad-request' });
      sides[other].receive({ type: 'data', from: me, topic: message.topic, content: message.content });
    });
  }
  return { ada: sides.p_a, bob: sides.p_b, sent };
}

test('a message reaches those who listen to its topic', async () => {
  const { ada, bob, sent } = pair();
  const heard = [];
  const stop = bob.on('hand', (message) => heard.push(message.content));
  await ada.send({ up: true }, { topic: 'hand' });
  await ada.send('x', { topic: 'other', to: ['p_b'] });
  stop();
  await ada.send({ up: false }, { topic: 'hand' });
  assert.deepEqual(heard, [{ up: true }]);
  assert.deepEqual(sent[0], { type: 'data', topic: 'hand', content: { up: true } });
  assert.deepEqual(sent[1].to, ['p_b']);
});

test('bytes arrive as bytes, and what only looks like them as it is', async () => {
  const { ada, bob, sent } = pair();
  const heard = [];
  bob.on('', ({ content }) => heard.push(content));
  for (const content of [Uint8Array.of(0, 1, 255), { base64: '!' }, { base64: 'AA==', more: 1 }])
    await ada.send(content);
  assert.deepEqual(sent[0].content, { base64: 'AAH/' });
  assert.deepEqual(heard, [Uint8Array.of(0, 1, 255), { base64: '!' }, { base64: 'AA==', more: 1 }]);
});

test('a method is called and its result comes back', async () => {
  const { ada, bob } = pair();
  bob.method('add', async ([a, b], from) => ({ sum: a + b, from }));
  assert.deepEqual(await ada.call('p_b', 'add', [1, 2]), { sum: 3, from: 'p_a' });
});

test('every failed call says why', async () => {
  const { ada, bob } = pair();
  const code = (...call) =>
    ada.call(...call).then(
      () => 'none',
      (error) => (error instanceof CallError ? error.code : 'no CallError'),
    );
  assert.equal(await code('p_b', 'add', 1, { timeout: 5 }), 'timeout'); // it has no methods at all
  bob.method('throws', () => {
    throw new Error('secret');
  });
  bob.method('hot', () => {
    throw new CallError('too-hot', 'no');
  });
  bob.method('large', () => 'x'.repeat(20000));
  bob.method('hangs', () => new Promise(() => {}));
  assert.equal(await code('p_b', 'add'), 'unknown-method');
  assert.equal(await code('p_b', 'throws'), 'failed');
  assert.equal(await code('p_b', 'hot'), 'too-hot');
  assert.equal(await code('p_b', 'large'), 'failed');
  assert.equal(await code('p_c', 'add'), 'left');
  const waiting = code('p_b', 'hangs');
  ada.receive({ type: 'participant-left', participant: 'p_b', reason: 'left' });
  assert.equal(await waiting, 'left');
});

test('one caller cannot have methods run without end', async () => {
  const { ada, bob } = pair();
  let running = 0;
  bob.method(
    'hangs',
    () =>
      new Promise(() => {
        running += 1;
      }),
  );
  const codes = await Promise.all(
    Array.from({ length: 70 }, () => ada.call('p_b', 'hangs', null, { timeout: 20 }).catch((error) => error.code)),
  );
  assert.equal(running, 64);
  assert.equal(codes.filter((code) => code === 'busy').length, 6);
});

test('what is no call is passed over', () => {
  const { ada } = pair();
  ada.method('x', () => 1);
  for (const content of [null, 7, [], { id: 5 }, { id: 'x'.repeat(65) }, { payload: 1 }]) {
    ada.receive({ type: 'data', from: 'p_b', topic: 'rpc.call', content });
    ada.receive({ type: 'data', from: 'p_b', topic: 'rpc.reply', content });
  }
});
