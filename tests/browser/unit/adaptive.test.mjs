// What is published in which sizes, and what the relay is told of tiles.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { ActiveLayers, encodingsOf, preferences, Wishes } from '../../../static/js/adaptive.js';
import { INITIAL, reduce } from '../../../static/js/room.js';

const track = (id, source = 'camera') => ({
  id,
  kind: source.startsWith('mic') ? 'audio' : 'video',
  source,
  muted: false,
});
const person = (id, tracks) => ({ id, name: id, metadata: {}, tracks });
const room = (...participants) => ({
  ...INITIAL,
  phase: 'call',
  participants: participants.map((one) => ({ ...one, p2p: 'none', relay: 'flowing' })),
});

test('a camera is sent in as many sizes as fit it', () => {
  const sizes = (height) => encodingsOf('camera', height).map(({ rid, maxBitrate }) => [rid, maxBitrate]);
  assert.deepEqual(sizes(720), [
    ['q', 150_000],
    ['h', 500_000],
    ['f', 1_500_000],
  ]);
  assert.deepEqual(sizes(360), [
    ['h', 150_000],
    ['f', 500_000],
  ]);
  assert.deepEqual(sizes(180), [[undefined, 150_000]]);
  assert.equal(encodingsOf('microphone'), undefined);
  assert.equal(encodingsOf('screen').length, 1);
});

test('only the layers that somebody takes are sent, one change after the other', async () => {
  const set = [];
  let encodings = ['q', 'h', 'f'].map((rid) => ({ rid, active: true }));
  const sender = {
    getParameters: () => ({ encodings: encodings.map((one) => ({ ...one })) }),
    setParameters: async (parameters) => {
      encodings = parameters.encodings;
      set.push(encodings.filter(({ active }) => active).map(({ rid }) => rid));
    },
  };
  const layers = new ActiveLayers();
  layers.set(sender, ['q']);
  layers.set(sender, ['q', 'f']);
  layers.set(sender, ['q', 'f']);
  await layers.set(sender, []);
  assert.deepEqual(set, [['q'], ['q', 'f'], []]);
});

test('a track is wanted as large as its tile, a pinned one first', () => {
  const state = {
    ...room(person('p', [track('t_1'), track('t_2', 'screen'), track('t_3', 'microphone')])),
    pinned: ['p'],
  };
  const sizes = new Map([
    ['p', { width: 320.4, height: 180 }],
    ['p/screen', { width: 0, height: 0 }],
    ['self', { width: 100, height: 100 }],
  ]);
  assert.deepEqual(preferences(state, sizes), [
    { track: 't_1', width: 320, height: 180, priority: 0 },
    { track: 't_2', width: 0, height: 0, priority: 1 },
  ]);
});

test('the relay is told of changes alone, gathered', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const sent = [];
  let state = room(person('p', [track('t_1')]), person('r', [track('t_2')]));
  const wishes = new Wishes({
    state: () => state,
    send: ({ tracks }) => sent.push(tracks.map(({ track, width }) => [track, width])),
  });
  const show = (p, r) =>
    wishes.setSizes(
      new Map([
        ['p', { width: p, height: p }],
        ['r', { width: r, height: r }],
      ]),
    );
  show(100, 100);
  show(200, 100);
  mock.timers.tick(300);
  show(210, 100); // hardly anything
  mock.timers.tick(300);
  show(210, 0);
  mock.timers.tick(300);
  wishes.look();
  mock.timers.tick(300);
  assert.deepEqual(sent, [
    [
      ['t_1', 200],
      ['t_2', 100],
    ],
    [['t_2', 0]],
  ]);
  // A track under another id is another one; a relay that began anew knows nothing.
  state = room(person('p', [track('t_9')]));
  wishes.look();
  mock.timers.tick(300);
  wishes.forget();
  wishes.look();
  mock.timers.tick(300);
  assert.deepEqual(sent.slice(2), [[['t_9', 210]], [['t_9', 210]]]);
  mock.timers.reset();
});

test('what the line does not carry is known until it does again, or the track ends', () => {
  let state = room(person('p', [track('t_1'), track('t_2')]));
  const told = (id, how) => reduce(state, { type: 'reception', tracks: [{ track: id, state: how }] });
  state = told('t_1', 'paused');
  state = told('t_2', 'reduced');
  assert.deepEqual(state.reception, { t_1: 'paused', t_2: 'reduced' });
  state = told('t_2', 'full');
  assert.deepEqual(state.reception, { t_1: 'paused' });
  state = reduce(state, { type: 'track-unpublished', participant: 'p', track: 't_1' });
  assert.deepEqual(state.reception, {});
  state = reduce(state, { type: 'quality', participants: [{ participant: 'p', up: 3, down: 1 }] });
  assert.deepEqual(state.quality, { p: { up: 3, down: 1 } });
});
