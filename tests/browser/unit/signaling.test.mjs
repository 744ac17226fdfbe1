// The signaling client against a server that is played by hand, on a clock that is turned by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Signaling, backoff } from '../../../static/js/signaling.js';

const JOINED = {
  type: 'joined',
  seq: 1,
  participant: 'p_1',
  session: 's_1',
  room: { name: 'demo', topology: 'mesh', locked: false },
  participants: [],
  ice_servers: [],
  grants: {},
  relay: false,
  heartbeat: 25,
  resume_within: 30,
};

class World {
  constructor() {
    this.sockets = [];
    this.addresses = [];
    this.messages = [];
    this.states = [];
    this.time = 1_000_000;
    this.timers = new Map();
    this.grain = 1; // ms: a browser lets a tab in the background wait for the next whole minute
    this.last = 0;
    this.signaling = new Signaling(
      'ws://hub/ws',
      {
        onMessage: (message) => this.messages.push(message),
        onState: (state, reason) => this.states.push(reason ? `${state}:${reason}` : state),
      },
      {
        connect: (url) => this.connect(url),
        random: () => 0.5,
        setTimeout: (callback, milliseconds) => {
          const at = Math.ceil((this.time + milliseconds) / this.grain) * this.grain;
          this.timers.set(++this.last, { at, callback });
          return this.last;
        },
        clearTimeout: (timer) => this.timers.delete(timer),
        now: () => this.time,
      },
    );
  }

  connect(url) {
    this.addresses.push(url);
    const socket = {
      readyState: 0,
      sent: [],
      closed: false,
      send(text) {
        this.sent.push(JSON.parse(text));
      },
      close() {
        this.closed = true;
        this.readyState = 3;
      },
    };
    this.sockets.push(socket);
    return socket;
  }

  get socket() {
    return this.sockets.at(-1);
  }

  open() {
    this.socket.readyState = 1;
    this.socket.onopen();
  }

  say(...messages) {
    for (const message of messages) this.socket.onmessage({ data: JSON.stringify(message) });
  }

  lose(code = 1006, reason = '') {
    this.socket.readyState = 3;
    this.socket.onclose({ code, reason });
  }

  pass(milliseconds) {
    const until = this.time + milliseconds;
    for (;;) {
      const next = [...this.timers].filter(([, { at }]) => at <= until).sort((one, two) => one[1].at - two[1].at)[0];
      if (!next) break;
      this.timers.delete(next[0]);
      this.time = Math.max(this.time, next[1].at);
      next[1].callback();
    }
    this.time = until;
  }

  sent(type) {
    return this.socket.sent.filter((message) => message.type === type);
  }

  async join() {
    const joined = this.signaling.join({ room: 'demo', name: 'Ada' });
    this.open();
    this.say({ ...JOINED, id: this.socket.sent[0].id });
    return joined;
  }
}

test('joins and tells what was joined', async () => {
  const world = new World();
  const joined = await world.join();
  assert.equal(joined.participant, 'p_1');
  assert.deepEqual(world.socket.sent[0], { type: 'join', id: '1', room: 'demo', name: 'Ada' });
  assert.deepEqual(world.states, ['connecting', 'open']);
});

test('resumes after the last message seen and repeats what was not answered, with the same id', async () => {
  const world = new World();
  await world.join();
  const first = world.signaling.request({ type: 'chat', content: 'one' });
  world.signaling.request({ type: 'chat', content: 'two' });
  const [one, two] = world.sent('chat');
  world.say({ type: 'ok', id: one.id, seq: 2 });
  await first;
  world.lose();
  world.signaling.request({ type: 'chat', content: 'three' });
  world.pass(1_000);
  world.open();
  assert.deepEqual(world.socket.sent, [{ type: 'resume', session: 's_1', seq: 2 }]);
  world.say({ type: 'resumed', participant: 'p_1' });
  assert.deepEqual(
    world.sent('chat').map(({ id, content }) => [id, content]),
    [
      [two.id, 'two'],
      ['4', 'three'],
    ],
  );
  assert.deepEqual(world.states.slice(-2), ['reconnecting:lost', 'open']);
});

test('delivers each message once and in order, whatever is replayed', async () => {
  const world = new World();
  await world.join();
  world.say({ type: 'speakers', seq: 2, speakers: [] }, { type: 'speakers', seq: 2, speakers: [] });
  world.lose();
  world.pass(1_000);
  world.open();
  world.say({ type: 'resumed', participant: 'p_1' }, { type: 'topology', seq: 3, topology: 'relay' });
  assert.deepEqual(
    world.messages.map(({ type }) => type),
    ['joined', 'speakers', 'topology'],
  );
});

test('asks again for what is missing when a number is skipped', async () => {
  const world = new World();
  await world.join();
  world.say({ type: 'speakers', seq: 5, speakers: [] });
  assert.equal(world.messages.length, 1);
  world.pass(1_000);
  world.open();
  assert.deepEqual(world.sent('resume'), [{ type: 'resume', session: 's_1', seq: 1 }]);
});

test('joins anew when the session has expired, and sends the room what it was to hear', async () => {
  const world = new World();
  await world.join();
  const offer = world.signaling.request({ type: 'offer', to: 'p_2', sdp: '' });
  world.signaling.request({ type: 'chat', content: 'still true' });
  world.lose();
  world.pass(1_000);
  world.open();
  world.say({ type: 'error', code: 'session-expired', message: '' });
  assert.equal(world.socket.sent.at(-1).type, 'join');
  world.say({ ...JOINED, participant: 'p_9', session: 's_9' });
  await assert.rejects(offer, { code: 'session-expired' });
  assert.deepEqual(
    world.sent('chat').map(({ content }) => content),
    ['still true'],
  );
  assert.deepEqual(world.states.slice(-2), ['rejoining:session-expired', 'open']);
});

test('does not come back after it was removed, replaced or has left', async () => {
  for (const [code, reason, told] of [
    [4403, '', 'kicked'],
    [4409, '', 'replaced'],
    [1000, 'room-closed', 'room-closed'],
  ]) {
    const world = new World();
    await world.join();
    world.lose(code, reason);
    world.pass(60_000);
    assert.equal(world.sockets.length, 1);
    assert.equal(world.states.at(-1), `closed:${told}`);
  }
});

test('comes back from a server that drains', async () => {
  const world = new World();
  await world.join();
  world.say({ type: 'error', seq: 2, code: 'draining', message: '' });
  world.lose(1001);
  assert.equal(world.states.at(-1), 'reconnecting:draining');
  world.pass(1_000);
  assert.equal(world.sockets.length, 2);
});

test('asks a server that drains often for a minute, and then ever slower', async () => {
  const world = new World();
  await world.join();
  world.lose(1001);
  for (let attempt = 2; attempt < 60; attempt += 1) {
    world.pass(500);
    assert.equal(world.sockets.length, attempt);
    world.lose();
  }
  world.pass(60_000);
  const tried = world.sockets.length;
  world.lose();
  world.pass(3_000);
  assert.equal(world.sockets.length, tried);
});

test('rejects a join that a person has to hear about', async () => {
  const world = new World();
  const joined = world.signaling.join({ room: 'demo', name: 'Ada' });
  world.open();
  world.say({ type: 'error', id: '1', code: 'room-locked', message: 'locked' });
  await assert.rejects(joined, { code: 'room-locked' });
});

test('keeps trying while the server cannot be reached', () => {
  const world = new World();
  world.signaling.join({ room: 'demo', name: 'Ada' });
  for (let attempt = 0; attempt < 5; attempt += 1) {
    world.lose();
    world.pass(10_000);
  }
  assert.equal(world.sockets.length, 6);
  assert.equal(world.states.at(-1), 'connecting:lost');
});

test('gives a silent connection up after two heartbeats', async () => {
  const world = new World();
  await world.join();
  world.say({ type: 'heartbeat', timestamp: world.time - 40, server_time: 0 });
  assert.equal(world.signaling.roundTrip, 40);
  world.pass(24_000);
  assert.equal(world.sockets.length, 1);
  world.pass(60_000);
  assert.ok(world.sockets.length > 1);
});

test('keeps a connection that answers in the background, where timers come once a minute', async () => {
  const world = new World();
  await world.join();
  world.grain = 60_000;
  for (let minute = 0; minute < 5; minute += 1) {
    world.pass(60_000);
    world.say({ type: 'heartbeat', timestamp: world.time, server_time: world.time });
  }
  assert.equal(world.sockets.length, 1);
  assert.equal(world.sent('heartbeat').length, 6);
  world.pass(240_000);
  assert.equal(world.sockets.length, 2);
});

test('finds out soon after sleep that the connection is dead', async () => {
  const world = new World();
  await world.join();
  world.say({ type: 'heartbeat', timestamp: world.time, server_time: world.time });
  world.time += 600_000;
  world.pass(3_000);
  assert.equal(world.sockets.length, 2);
});

test('a connection on which nobody answers is given up for another', async () => {
  const world = new World();
  await world.join();
  world.lose();
  world.pass(1_000);
  world.open();
  world.pass(16_000);
  assert.equal(world.sockets.length, 3);
  assert.equal(world.sockets[1].closed, true);
  world.open();
  world.say({ type: 'resumed', participant: 'p_1' });
  world.pass(20_000);
  assert.equal(world.sockets.length, 3);
});

test('where no connection opens, the network is tried again at least every six seconds, however long', async () => {
  const world = new World();
  await world.join();
  world.lose();
  world.pass(120_000);
  assert.ok(world.sockets.length > 120 / 5.5);
  assert.ok(world.sockets.slice(1, -1).every(({ closed }) => closed));
  world.open();
  world.say({ type: 'resumed', participant: 'p_1' });
  assert.equal(world.signaling.state, 'open');
});

test('a change of network while a connection opens leaves only the newest', async () => {
  const world = new World();
  await world.join();
  world.lose();
  world.pass(1_000);
  const [, late] = world.sockets;
  world.signaling.probe();
  assert.equal(late.closed, true);
  world.open();
  late.onopen();
  late.onclose({ code: 1006, reason: '' });
  assert.deepEqual(
    world.socket.sent.map(({ type }) => type),
    ['resume'],
  );
  assert.equal(world.sockets.length, 3);
});

test('finds out soon after a change of network that the connection is dead', async () => {
  const world = new World();
  await world.join();
  world.pass(1_000);
  world.signaling.probe();
  world.pass(3_000);
  assert.equal(world.sockets.length, 2);
});

test('asks again, with a new id, when it was too fast', async () => {
  const world = new World();
  await world.join();
  const chat = world.signaling.request({ type: 'chat', content: 'hello' });
  const { id } = world.sent('chat')[0];
  world.say({ type: 'error', id, seq: 2, code: 'rate-limited', message: '', retry_after: 2 });
  world.pass(2_000);
  const again = world.sent('chat')[1];
  assert.notEqual(again.id, id);
  world.say({ type: 'ok', id: again.id, seq: 3 });
  await chat;
});

test('waits longer each time, up to a bound, and never the same for everyone', () => {
  const waits = [0, 1, 2, 3, 4, 5, 10].map((attempt) => backoff(attempt, () => 1));
  assert.deepEqual(waits, [300, 600, 1200, 2400, 4800, 8000, 8000]);
  assert.equal(
    backoff(3, () => 0),
    1200,
  );
});

test('names the room in the address, for proxies that go by it', async () => {
  const world = new World();
  await world.join();
  assert.deepEqual(world.addresses, ['ws://hub/ws?room=demo']);
});

test('waits where it has to knock, keeps the connection alive, and is let in', async () => {
  const world = new World();
  const joined = world.signaling.join({ room: 'demo', name: 'Eve' });
  world.open();
  world.say({ type: 'knocking', id: '1' });
  world.pass(60_000 - 15_000);
  assert.deepEqual(
    world.sent('heartbeat').map(({ seq }) => seq),
    [0, 0],
  );
  world.say({ ...JOINED, id: '1' });
  assert.equal((await joined).participant, 'p_1');
  assert.deepEqual(world.states, ['connecting', 'knocking', 'open']);
});

test('one who is declined is told so, and not knocked for again', async () => {
  const world = new World();
  const joined = world.signaling.join({ room: 'demo', name: 'Eve' });
  world.open();
  world.say({ type: 'knocking', id: '1' }, { type: 'error', id: '1', code: 'forbidden', message: 'no' });
  await assert.rejects(joined, { code: 'declined' });
  world.pass(60_000);
  assert.equal(world.sockets.length, 1);
  assert.equal(world.states.at(-1), 'closed:declined');
});

test('one who waits knocks again after the connection was lost, and after the server drained', async () => {
  for (const [code, reason] of [
    [1006, 'lost'],
    [1001, 'draining'],
  ]) {
    const world = new World();
    const joined = world.signaling.join({ room: 'demo', name: 'Eve' });
    world.open();
    world.say({ type: 'knocking', id: '1' });
    if (code === 1001) world.say({ type: 'error', code: 'draining', message: '' });
    world.lose(code);
    world.pass(1_000);
    world.open();
    assert.deepEqual(
      world.socket.sent.map(({ type }) => type),
      ['join'],
    );
    world.say({ type: 'knocking', id: '2' }, { ...JOINED, id: '2' });
    await joined;
    assert.deepEqual(world.states, ['connecting', 'knocking', `connecting:${reason}`, 'knocking', 'open']);
  }
});

test('who gives up waiting closes the connection and says nothing more', async () => {
  const world = new World();
  const joined = world.signaling.join({ room: 'demo', name: 'Eve' });
  world.open();
  world.say({ type: 'knocking', id: '1' });
  world.signaling.leave();
  await assert.rejects(joined, { code: 'left' });
  assert.equal(world.sent('leave').length, 0);
  assert.equal(world.socket.closed, true);
});

test('one whose session has expired may find a lobby, and waits there', async () => {
  const world = new World();
  await world.join();
  world.lose();
  world.pass(1_000);
  world.open();
  world.say({ type: 'error', code: 'session-expired', message: '' }, { type: 'knocking', id: '2' });
  assert.equal(world.states.at(-1), 'knocking');
  world.say({ ...JOINED, participant: 'p_9', session: 's_9', id: '2' });
  assert.equal(world.states.at(-1), 'open');
});
