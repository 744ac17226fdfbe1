/**
 * One WebSocket to the hub that outlives its sockets: it reconnects, resumes the session, repeats
 * what was not answered, and joins anew when the session has expired. Knows no DOM and no media.
 */

/** @typedef {import('./messages.js').Joined} Joined */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./messages.js').ClientMessage} ClientMessage */
/** @typedef {'connecting' | 'knocking' | 'open' | 'reconnecting' | 'rejoining' | 'closed'} SignalingState */
/** @typedef {{room: string, name: string, token?: string, metadata?: object}} JoinParameters */
/**
 * @typedef {object} Environment  what a test replaces
 * @property {(url: string) => WebSocket} connect
 * @property {() => number} random
 * @property {(callback: () => void, milliseconds: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now  milliseconds since the epoch
 */
/**
 * @typedef {object} Pending
 * @property {string} id
 * @property {ClientMessage} message
 * @property {(reply: any) => void} resolve
 * @property {(error: SignalingError) => void} reject
 */

const BACKOFF_FIRST = 300; // ms; the first retry comes at once for the eye, yet not for a server that restarts
const BACKOFF_DRAINED = 500; // ms at most after the server has said that it goes away: it is back soon
const DRAINED_FOR = 60_000; // ms for which that is expected
const BACKOFF_MAX = 8_000; // ms; more would be felt as "it never comes back"
const PROBE_TIMEOUT = 1_000; // ms to wait for any answer when the network has just changed, on a line that is not known to be slower
const REOPEN_WITHIN = [2_500, 2_500, 5_000]; // ms, in turn: where the network is back, a new attempt's first packet is sooner than an old one's next
const BACKOFF_UNREACHABLE = 500; // ms at most before the next attempt where nobody has answered the last one at all
const OPEN_WITHIN = 15_000; // ms for a connection to open and be answered; a browser itself would wait for minutes
const PENDING_MAX = 512; // unanswered messages; a call in trouble makes a few dozen

/** Close codes after which coming back would only repeat the refusal. */
const FINAL_CLOSES = new Map([
  [1000, 'left'],
  [4400, 'bad-request'],
  [4401, 'unauthorized'],
  [4403, 'kicked'],
  [4409, 'replaced'],
]);
/** Refusals of a join that a person has to read. */
const FINAL_JOIN_ERRORS = new Set(['unauthorized', 'room-full', 'room-locked', 'bad-request', 'forbidden']);
/** Replies that only their request is interested in. */
const PRIVATE_REPLIES = new Set(['ok', 'error', 'answer']);

export class SignalingError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message || code);
    this.code = code;
  }
}

/**
 * The wait before attempt `attempt` (0, 1, …): exponential, with jitter so that a room whose
 * server restarted does not come back in one instant.
 * @param {number} attempt @param {() => number} random @param {number} [most]  ms
 */
export function backoff(attempt, random, most = BACKOFF_MAX) {
  const ceiling = Math.min(most, BACKOFF_FIRST * 2 ** attempt);
  return ceiling / 2 + (random() * ceiling) / 2;
}

/** The hub's address for a room, for proxies that go by it. @param {string} url @param {string} room */
export const addressOf = (url, room) => `${url}?room=${encodeURIComponent(room)}`;

/** @type {Environment} */
const BROWSER = {
  connect: (url) => new WebSocket(url),
  random: Math.random,
  setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer),
  now: () => Date.now(),
};

export class Signaling {
  /** @type {SignalingState} */
  state = 'closed';
  /** Round trip to the hub in ms, once a heartbeat has measured it. @type {number | null} */
  roundTrip = null;

  /** @type {WebSocket | null} */ #socket = null;
  /** @type {JoinParameters | null} */ #join = null;
  /** @type {{resolve: (joined: Joined) => void, reject: (error: SignalingError) => void} | null} */ #joining = null;
  /** @type {string | null} */ #session = null;
  /** @type {Map<string, Pending>} */ #pending = new Map();
  #seq = 0;
  #attempt = 0;
  /** The server said that it would go; until another takes over, that is the reason. */
  #drained = false;
  #drainedAt = Number.NEGATIVE_INFINITY;
  #lastId = 0;
  /** When the server was last heard, in ms since the epoch. */ heardAt = 0;
  /** Attempts that timed out in a row: the network is gone. */ #unanswerable = 0;
  /** Heartbeats sent since anything was heard. */ #unanswered = 0;
  #heartbeat = 25_000;
  /** @type {any} */ #retryTimer = null;
  /** @type {any} */ #heartbeatTimer = null;
  /** @type {any} */ #probeTimer = null;
  /** @type {any} */ #openTimer = null;

  /**
   * @param {string} url  ws:// or wss:// address of the hub; the room is added, for proxies that go by it
   * @param {object} events
   * @param {(message: ServerMessage) => void} events.onMessage  in order, each once
   * @param {(state: SignalingState, reason: string) => void} [events.onState]
   * @param {Partial<Environment>} [environment]
   */
  constructor(url, events, environment = {}) {
    this.url = url;
    this.events = events;
    /** @type {Environment} */
    this.environment = { ...BROWSER, ...environment };
  }

  /**
   * Connects and joins; rejects only when the hub refuses for good.
   * @param {JoinParameters} parameters @returns {Promise<Joined>}
   */
  join(parameters) {
    this.#join = parameters;
    this.#session = null;
    this.#attempt = 0;
    return new Promise((resolve, reject) => {
      this.#joining = { resolve, reject };
      this.#setState('connecting', '');
      this.#open();
    });
  }

  /**
   * Sends now, or once the connection is back, and resolves with the reply.
   * @param {ClientMessage} message @returns {Promise<any>}
   */
  request(message) {
    return new Promise((resolve, reject) => {
      if (this.state === 'closed') return reject(new SignalingError('not-joined', 'Not connected.'));
      if (this.#pending.size >= PENDING_MAX) return reject(new SignalingError('overloaded', 'Too much is unanswered.'));
      this.#enqueue({ id: String(++this.#lastId), message, resolve, reject });
    });
  }

  /** Like `request`, for when a refusal changes nothing. @param {ClientMessage} message */
  send(message) {
    this.request(message).catch(() => {});
  }

  /** Leaves the room; the hub closes the socket. */
  leave() {
    if (this.state === 'open') this.#write({ type: 'leave', id: String(++this.#lastId) });
    const socket = this.#socket;
    this.#end('left');
    socket?.close(1000);
  }

  /** The network may have changed: find out soon whether the socket still lives. */
  probe() {
    if (this.state === 'reconnecting' || (this.state === 'connecting' && this.#socket === null)) {
      this.#attempt = 0;
      this.environment.clearTimeout(this.#retryTimer);
      this.#open();
    } else if (this.#socket?.readyState === 1 && this.#probeTimer === null) {
      this.#beat();
      const asked = this.environment.now();
      this.#probeTimer = this.environment.setTimeout(
        () => {
          this.#probeTimer = null;
          if (this.heardAt < asked) this.#drop();
        },
        Math.max(PROBE_TIMEOUT, 4 * (this.roundTrip ?? 0)),
      );
    }
  }

  /** @param {Pending} pending */
  #enqueue(pending) {
    this.#pending.set(pending.id, pending);
    if (this.state === 'open') this.#write({ ...pending.message, id: pending.id });
  }

  #open() {
    const before = this.#socket;
    const socket = this.environment.connect(addressOf(this.url, this.#join?.room ?? ''));
    this.#socket = socket;
    before?.close(); // it was still trying
    this.environment.clearTimeout(this.#openTimer);
    this.#expectAnswer(this.#session ? REOPEN_WITHIN[this.#unanswerable % REOPEN_WITHIN.length] : OPEN_WITHIN);
    const opened = () => {
      if (socket !== this.#socket) return;
      this.heardAt = this.environment.now();
      this.#unanswerable = 0;
      this.#expectAnswer(OPEN_WITHIN);
      if (this.#session) this.#write({ type: 'resume', session: this.#session, seq: this.#seq });
      else this.#sendJoin();
    };
    if (socket.readyState === 1)
      opened(); // it was made ready before
    else socket.onopen = opened;
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#receive(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#unanswerable = 0; // refused is answered, too
      this.#lost(event.code, event.reason);
    };
  }

  /** @param {number} within  ms, after which the attempt is given up for another */
  #expectAnswer(within) {
    this.environment.clearTimeout(this.#openTimer);
    this.#openTimer = this.environment.setTimeout(() => {
      this.#unanswerable += 1;
      this.#drop();
    }, within);
  }

  #sendJoin() {
    this.#write({ type: 'join', id: String(++this.#lastId), ...this.#join });
  }

  /** @param {object} message */
  #write(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  /** @param {any} message */
  #receive(message) {
    this.heardAt = this.environment.now();
    this.#unanswered = 0;
    if (message.type === 'heartbeat') {
      this.roundTrip = this.heardAt - message.timestamp;
      return;
    }
    if (message.type === 'resumed') return this.#resumed();
    if (message.type === 'joined') return this.#joined(message);
    if (message.type === 'knocking') return this.#knocking();
    if (message.type === 'error' && this.state !== 'open' && !this.#pending.has(message.id)) {
      return this.#refused(message);
    }
    if (typeof message.seq === 'number') {
      if (message.seq <= this.#seq) return;
      if (message.seq !== this.#seq + 1) return this.#drop(); // a gap: resume asks for what is missing
      this.#seq = message.seq;
    }
    const answered = message.id !== undefined && this.#settle(message);
    if (!answered || !PRIVATE_REPLIES.has(message.type)) this.events.onMessage(message);
  }

  /** @param {any} reply @returns {boolean} whether it was the reply to something unanswered */
  #settle(reply) {
    const pending = this.#pending.get(reply.id);
    if (!pending) return false;
    this.#pending.delete(reply.id);
    if (reply.type !== 'error') pending.resolve(reply);
    else if (reply.code === 'rate-limited' && this.state !== 'closed') {
      // A new id: the old one stands for the refusal.
      const again = { ...pending, id: String(++this.#lastId) };
      this.environment.setTimeout(() => this.#enqueue(again), 1000 * (reply.retry_after ?? 1));
    } else pending.reject(new SignalingError(reply.code, reply.message));
    return true;
  }

  #resumed() {
    this.#attempt = 0;
    this.#setState('open', '');
    this.#scheduleHeartbeat();
    for (const { id, message } of this.#pending.values()) this.#write({ ...message, id });
  }

  /** The room has a lobby: the reply to the join comes when a moderator has answered. */
  #knocking() {
    this.#seq = 0;
    this.#attempt = 0;
    this.#setState('knocking', '');
    this.#scheduleHeartbeat();
  }

  /** @param {Joined} message */
  #joined(message) {
    this.#session = message.session;
    this.#seq = message.seq;
    this.#attempt = 0;
    this.#heartbeat = message.heartbeat * 1000;
    this.#setState('open', '');
    this.#scheduleHeartbeat();
    const left = [...this.#pending.values()];
    this.#pending.clear();
    this.events.onMessage(message);
    this.#joining?.resolve(message);
    this.#joining = null;
    for (const pending of left) {
      // Of an expired session only what was meant for the whole room still makes sense.
      if (pending.message.type === 'chat' && !pending.message.to) this.#enqueue(pending);
      else pending.reject(new SignalingError('session-expired', 'The session has expired.'));
    }
  }

  /** An error in place of `joined` or `resumed`. @param {{code: string, message: string}} error */
  #refused(error) {
    if (error.code === 'session-expired') {
      this.#session = null;
      this.#setState('rejoining', 'session-expired');
      this.#sendJoin();
    } else if (FINAL_JOIN_ERRORS.has(error.code)) {
      const socket = this.#socket;
      this.#end(this.state === 'knocking' && error.code === 'forbidden' ? 'declined' : error.code, error.message);
      socket?.close(1000);
    }
    // Anything else (draining, overloaded, rate-limited, internal) is followed by a close or by a retry.
    else if (error.code !== 'draining') this.#drop();
  }

  /** Gives up on a socket that may never say that it is dead. */
  #drop() {
    const socket = this.#socket;
    this.#lost(0);
    socket?.close();
  }

  /** @param {number} code  the close code, 0 when we gave up ourselves @param {string} [why] */
  #lost(code, why = '') {
    this.#socket = null;
    this.#stopTimers();
    const final = FINAL_CLOSES.get(code);
    if (final) return this.#end(code === 1000 && why === 'room-closed' ? why : final);
    if (code === 4413) {
      for (const pending of this.#pending.values()) pending.reject(new SignalingError('too-large', 'Too large.'));
      this.#pending.clear();
    }
    if (code === 1001 && !this.#drained) {
      this.#drained = true;
      this.#drainedAt = this.environment.now();
    }
    const reason = this.#drained ? 'draining' : code === 4503 ? 'overloaded' : 'lost';
    this.#setState(this.#session || this.#joining === null ? 'reconnecting' : 'connecting', reason);
    const now = this.environment.now();
    const gone = this.#session && this.#unanswerable > 0;
    const most = gone ? BACKOFF_UNREACHABLE : now < this.#drainedAt + DRAINED_FOR ? BACKOFF_DRAINED : BACKOFF_MAX;
    const wait = backoff(code === 4429 ? this.#attempt + 4 : this.#attempt, this.environment.random, most);
    this.#attempt += 1;
    this.#retryTimer = this.environment.setTimeout(() => this.#open(), wait);
  }

  /** @param {string} reason @param {string} [message] */
  #end(reason, message = '') {
    this.#socket = null;
    this.#session = null;
    this.#stopTimers();
    const error = new SignalingError(reason, message);
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.#joining?.reject(error);
    this.#joining = null;
    this.#setState('closed', reason);
  }

  #scheduleHeartbeat() {
    this.environment.clearTimeout(this.#openTimer);
    this.environment.clearTimeout(this.#heartbeatTimer);
    this.#unanswered = 0;
    this.#beat();
    const tick = () => {
      const silent = this.environment.now() - this.heardAt > 2 * this.#heartbeat;
      if (silent && this.#unanswered >= 2) return this.#drop();
      // Silent because nothing was asked: timers come late in a background tab, and after sleep.
      if (silent) this.probe();
      else this.#beat();
      this.#heartbeatTimer = this.environment.setTimeout(tick, this.#heartbeat);
    };
    this.#heartbeatTimer = this.environment.setTimeout(tick, this.#heartbeat);
  }

  #beat() {
    this.#unanswered += 1;
    this.#write({ type: 'heartbeat', timestamp: this.environment.now(), seq: this.#seq });
  }

  #stopTimers() {
    for (const timer of [this.#retryTimer, this.#heartbeatTimer, this.#probeTimer, this.#openTimer])
      this.environment.clearTimeout(timer);
    this.#probeTimer = null;
  }

  /** @param {SignalingState} state @param {string} reason */
  #setState(state, reason) {
    this.state = state;
    if (state === 'open' || state === 'knocking') this.#drained = false;
    this.events.onState?.(state, reason);
  }
}
