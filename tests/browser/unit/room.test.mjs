// The reducer and the routes: what the room says, and which connections follow from it.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  INITIAL,
  cameraOn,
  handOf,
  handsOf,
  microphoneOn,
  pausedOf,
  reduce,
  stoppedOf,
} from '../../../static/js/room.js';
import { routes } from '../../../static/js/routes.js';

const someone = (id, more = {}) => ({ id, name: id, metadata: {}, tracks: [], ...more });
const joined = (more = {}) => ({
  type: 'joined',
  participant: 'me',
  session: 's',
  room: { name: 'demo', topology: 'mesh', locked: false },
  participants: [someone('a'), someone('b')],
  ice_servers: [],
  relay: true,
  heartbeat: 25,
  resume_within: 30,
  seq: 1,
  grants: { publish: true, subscribe: true, chat: true, moderate: false },
  ...more,
});
const after = (...events) => events.reduce(reduce, INITIAL);
const flow = (participant, path, to = 'flowing') => ({ type: 'flow', participant, path, flow: to });
const shown = (state) => Object.fromEntries(routes(state).show);

test('those who were there first are elders; who comes later is not', () => {
  const state = after(joined(), { type: 'participant-joined', participant: someone('c') });
  assert.deepEqual(
    state.participants.map(({ id, elder }) => [id, elder]),
    [
      ['a', true],
      ['b', true],
      ['c', false],
    ],
  );
});

test('a repeated arrival and an unknown departure change nothing', () => {
  const state = after(joined());
  assert.equal(reduce(state, { type: 'participant-joined', participant: someone('a') }), state);
  assert.deepEqual(
    reduce(state, { type: 'participant-left', participant: 'x', reason: 'left' }).participants,
    state.participants,
  );
});

test('unread counts what others write while the chat is closed', () => {
  const line = (from) => ({ type: 'chat', from, user: from, content: 'hi', timestamp: 1 });
  let state = after(joined(), line('a'), line('me'), line('b'));
  assert.equal(state.unread, 2);
  state = reduce(state, { type: 'panel', panel: 'chat' });
  assert.equal(state.unread, 0);
  assert.equal(reduce(state, line('a')).unread, 0);
  assert.deepEqual(
    state.chat.map(({ own }) => own),
    [false, true, false],
  );
});

test('the chat is bounded', () => {
  let state = after(joined());
  for (let index = 0; index < 600; index += 1)
    state = reduce(state, { type: 'chat', from: 'a', user: 'a', content: `${index}`, timestamp: index });
  assert.equal(state.chat.length, 500);
  assert.equal(state.chat.at(-1).content, '599');
});

test('joining anew forgets the last session but keeps the conversation', () => {
  const state = after(
    joined(),
    { type: 'chat', from: 'a', user: 'a', content: 'hi', timestamp: 1 },
    flow('a', 'p2p'),
    joined({ participant: 'me2' }),
  );
  assert.equal(state.self, 'me2');
  assert.equal(state.chat.length, 1);
  assert.equal(state.participants[0].p2p, 'none');
  assert.equal(state.generation, 2);
});

test('a track that is muted in the relay, or said to be off, is off', () => {
  const track = (source, muted) => ({ id: source, kind: 'audio', source, muted });
  assert.equal(
    microphoneOn({ ...someone('a'), tracks: [track('microphone', true)], metadata: { microphone: true } }),
    false,
  );
  assert.equal(microphoneOn({ ...someone('a'), metadata: { microphone: false } }), false);
  assert.equal(microphoneOn(someone('a')), true);
  assert.equal(cameraOn({ ...someone('a'), metadata: { camera: false } }), false);
  assert.equal(cameraOn({ ...someone('a'), tracks: [track('camera', true)] }), false);
});

test('a mesh connects to everyone directly and does not publish', () => {
  const { connect, publish, refuse } = routes(after(joined()));
  assert.deepEqual([...connect], ['a', 'b']);
  assert.equal(publish, false);
  assert.equal(refuse.size, 0);
});

test('one pair through the relay leaves the others direct', () => {
  const state = after(joined(), { type: 'route', participant: 'a', via: 'relay', reason: 'p2p-failed' });
  const { connect, publish } = routes(state);
  assert.deepEqual([...connect], ['b']);
  assert.equal(publish, true);
  assert.deepEqual(shown(state), { a: 'relay', b: 'p2p' });
});

test('a guest that always takes the relay never gets a direct connection', () => {
  const state = after(joined(), { type: 'participant-joined', participant: someone('whip', { via: 'relay' }) });
  assert.equal(routes(state).connect.has('whip'), false);
});

test('a growing room shows the direct pictures until the relayed ones flow', () => {
  let state = after(joined(), flow('a', 'p2p'), flow('b', 'p2p'), {
    type: 'topology',
    topology: 'relay',
    reason: 'size',
  });
  assert.deepEqual(shown(state), { a: 'p2p', b: 'p2p' });
  assert.deepEqual([...routes(state).keep], ['a', 'b']);
  assert.equal(routes(state).connect.size, 0);
  state = reduce(state, flow('a', 'relay'));
  assert.deepEqual(shown(state), { a: 'relay', b: 'p2p' });
  assert.deepEqual([...routes(state).keep], ['b']);
});

test('a shrinking room shows the relayed pictures, and publishes, until the direct ones flow', () => {
  let state = after(
    joined({ room: { name: 'demo', topology: 'relay', locked: false } }),
    flow('a', 'relay'),
    flow('b', 'relay'),
    { type: 'topology', topology: 'mesh', reason: 'size' },
  );
  assert.deepEqual([...routes(state).connect], ['a', 'b']);
  assert.deepEqual(shown(state), { a: 'relay', b: 'relay' });
  assert.equal(routes(state).publish, true);
  state = [flow('a', 'p2p'), flow('b', 'p2p')].reduce(reduce, state);
  assert.deepEqual(shown(state), { a: 'p2p', b: 'p2p' });
  assert.equal(routes(state).publish, false);
});

test('a forced relay refuses the direct way to each, once the room is a mesh', () => {
  const forced = reduce(after({ type: 'joining', room: 'demo', name: 'Ada', relayForced: true }), joined());
  assert.deepEqual([...routes(forced).refuse], ['a', 'b']);
  assert.equal(routes(forced).connect.size, 0);
  const moved = reduce(forced, { type: 'route', participant: 'a', via: 'relay', reason: 'p2p-failed' });
  assert.deepEqual([...routes(moved).refuse], ['b']);
});

test('where there is no relay, everything stays direct', () => {
  const state = after(joined({ relay: false }));
  assert.deepEqual([...routes(state).connect], ['a', 'b']);
  assert.equal(routes(state).publish, false);
});

test('who asked for the relay alone connects directly with nobody, also while there is no relay', () => {
  const forced = reduce(after({ type: 'joining', room: 'demo', name: 'Ada', relayForced: true }), joined());
  const away = [
    { type: 'room-updated', room: { name: 'demo', topology: 'mesh', locked: false }, relay: false },
    { type: 'route', participant: 'a', via: 'direct', reason: 'relay-unavailable' },
    { type: 'topology', topology: 'mesh', reason: 'relay-unavailable' },
  ];
  const state = away.reduce(reduce, forced);
  assert.equal(routes(state).connect.size, 0);
  assert.deepEqual([routes(state).publish, routes(state).refuse.size], [false, 0]);
  const back = reduce(state, { ...away[0], relay: true });
  assert.deepEqual([routes(back).connect.size, [...routes(back).refuse]], [0, ['a', 'b']]);
});

test('a relay that is away for a moment moves nobody', () => {
  const state = after(
    joined(),
    { type: 'route', participant: 'a', via: 'relay', reason: 'grants' },
    { type: 'room-updated', room: { name: 'demo', topology: 'mesh', locked: false }, relay: false },
  );
  assert.deepEqual([...routes(state).connect], ['b']);
});

test('a relay that restarted has no tracks and no flow', () => {
  const track = { id: 't', kind: 'video', source: 'camera', muted: false };
  const state = after(
    joined(),
    { type: 'track-published', participant: 'a', track },
    { type: 'track-published', participant: 'me', track },
    flow('a', 'relay'),
    { type: 'relay-restarted' },
  );
  assert.deepEqual(state.ownTracks, []);
  assert.deepEqual([state.participants[0].tracks, state.participants[0].relay], [[], 'none']);
});

test('who waits before the door has nobody in the room, and is in it once let in', () => {
  const knocking = { type: 'connection', state: 'knocking', reason: '' };
  let state = after({ type: 'joining', room: 'demo', name: 'Eve', relayForced: false }, knocking);
  assert.deepEqual([state.phase, state.waiting], ['joining', true]);
  state = reduce(state, { type: 'connection', state: 'connecting', reason: 'lost' });
  assert.equal(state.waiting, true);
  state = reduce(state, joined());
  assert.deepEqual([state.phase, state.waiting], ['call', false]);
  state = reduce(state, knocking); // came back too late, and found a lobby
  assert.deepEqual([state.phase, state.waiting, state.participants], ['joining', true, []]);
  assert.equal(routes(state).connect.size, 0);
  assert.equal(reduce(state, { type: 'lobby' }).waiting, false);
});

test('knocks are listed once, in order, until they are answered or we moderate no more', () => {
  const knock = (id) => ({ type: 'knock', knock: id, name: `name of ${id}` });
  let state = after(joined(), knock('k_1'), knock('k_2'), knock('k_1'));
  assert.deepEqual(state.knocks, [
    { id: 'k_1', name: 'name of k_1' },
    { id: 'k_2', name: 'name of k_2' },
  ]);
  state = reduce(state, { type: 'knock-ended', knock: 'k_1', reason: 'admitted' });
  assert.deepEqual(
    state.knocks.map(({ id }) => id),
    ['k_2'],
  );
  const grants = { publish: true, subscribe: true, chat: true, moderate: false };
  assert.deepEqual(reduce(state, { type: 'grants-updated', grants }).knocks, []);
  assert.deepEqual(reduce(state, joined()).knocks, []);
});

test('the room says whether it has a lobby; saying nothing means none', () => {
  const room = { name: 'demo', topology: 'mesh', locked: false };
  let state = after(joined({ room: { ...room, lobby: true } }));
  assert.equal(state.lobby, true);
  state = reduce(state, { type: 'room-updated', room });
  assert.equal(state.lobby, false);
});

test('whom the hub gives up stays as long as what they send directly arrives', () => {
  const lost = { type: 'participant-left', participant: 'a', reason: 'timeout' };
  assert.equal(after(joined(), lost).participants.length, 1);
  const left = { ...lost, reason: 'left' };
  assert.equal(after(joined(), flow('a', 'p2p'), left).participants.length, 1);
  assert.equal(after(joined(), flow('a', 'relay'), lost).participants.length, 1);
  let state = after(joined(), flow('a', 'p2p'), lost);
  assert.deepEqual(
    state.participants.map(({ id, away }) => [id, away]),
    [
      ['a', true],
      ['b', false],
    ],
  );
  assert.equal(routes(state).connect.has('a'), false);
  assert.equal(routes(state).keep.has('a'), true);
  assert.equal(shown(state).a, 'p2p');
  state = reduce(state, { type: 'participant-joined', participant: someone('a2', { name: 'a' }) });
  assert.equal(state.participants.length, 3);
  state = reduce(state, flow('a2', 'p2p')); // here again, under a new id
  assert.deepEqual(
    state.participants.map(({ id }) => id),
    ['b', 'a2'],
  );
});

test('several are pinned, and let go one by one, or by leaving', () => {
  const pin = (tile) => ({ type: 'pin', tile });
  const state = after(joined(), pin('a'), pin('b/screen'), pin('self'), pin('self'));
  assert.deepEqual(state.pinned, ['a', 'b/screen']);
  assert.deepEqual(reduce(state, { type: 'participant-left', participant: 'b', reason: 'left' }).pinned, ['a']);
});

test('in a page that nobody looks at a message is unread though the chat is open', () => {
  const line = { type: 'chat', from: 'a', user: 'a', content: 'hi', timestamp: 1 };
  const open = after(joined(), { type: 'panel', panel: 'chat' }, { type: 'hidden', hidden: true }, line);
  assert.equal(open.unread, 1);
  assert.equal(reduce(open, { type: 'hidden', hidden: false }).unread, 0);
});

test('who comes late reads what was written before, once, and it is not new', () => {
  const line = (content, timestamp, more) => ({ type: 'chat', from: 'a', user: 'a', content, timestamp, ...more });
  const state = after(joined({ history: [line('one', 1), line('two', 2, { to: 'me' })] }), line('three', 3));
  assert.deepEqual(
    state.chat.map(({ content, past, to, key }) => [content, past, to, key]),
    [
      ['one', true, '', 1],
      ['two', true, 'me', 2],
      ['three', false, '', 3],
    ],
  );
  assert.equal(state.unread, 1);
  const again = reduce(state, joined({ history: [line('two', 2), line('three', 3), line('four', 4)] }));
  assert.deepEqual(
    again.chat.map(({ content }) => content),
    ['one', 'two', 'three', 'four'],
  );
});

test('whose media have stopped is told from who turned them off, and from a screen that stands still', () => {
  const track = (more) => ({ id: 't', kind: 'video', source: 'camera', muted: false, ...more });
  const state = after(joined({ participants: [someone('a', { tracks: [track({})] })] }));
  const now = (more) =>
    stoppedOf(reduce(state, { type: 'track-updated', participant: 'a', track: track(more) }).participants[0]);
  assert.equal(stoppedOf(state.participants[0]), false);
  assert.equal(now({ stopped: true }), true);
  assert.equal(now({ stopped: true, source: 'screen' }), false);
  assert.equal(now({ muted: true }), false);
});

test('what the system has taken away is told', () => {
  const state = after(joined({ participants: [someone('a', { metadata: { paused: ['microphone', 'x', 7] } })] }));
  assert.deepEqual(pausedOf(state.participants[0]), ['microphone']);
  assert.deepEqual(pausedOf({ metadata: { paused: 'camera' } }), []);
});

test('hands are in the order in which they went up', () => {
  const people = [someone('a', { metadata: { hand: 300 } }), someone('b', { metadata: { hand: true } }), someone('c')];
  const state = after(joined({ participants: people }), { type: 'hand', at: 200 });
  assert.deepEqual(handsOf(state), ['b', 'me', 'a']);
  assert.deepEqual(handsOf(reduce(state, { type: 'hand', at: 0 })), ['b', 'a']);
  assert.equal(handOf({ metadata: { hand: 'up' } }), 0);
});
