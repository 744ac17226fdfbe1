/**
 * The peer connections of a call, kept in step with what `routes` says should exist: one with each
 * participant who is reached directly, two with the relay. Knows no DOM and no socket.
 */

import { Direct } from './direct.js';
import { Liveness } from './liveness.js';
import { mark } from './marks.js';
import { Publisher, Subscriber } from './relay.js';
import { routes } from './routes.js';

/** @typedef {import('./room.js').State} State */
/** @typedef {import('./room.js').Event} Event */
/** @typedef {import('./room.js').ParticipantState} ParticipantState */
/** @typedef {import('./messages.js').Source} Source */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./messages.js').ClientMessage} ClientMessage */
/** @typedef {{track: MediaStreamTrack, receiver: RTCRtpReceiver}} Received */
/** @typedef {Partial<Record<Source, Received>>} Tracks */
/** @typedef {'p2p' | 'relay'} Path */

const LINGER = 8_000; // ms that a path stays up after a switch: the other side may still be looking through it

export class Connections {
  /** By participant. @type {Map<string, Direct>} */ direct = new Map();
  /** @type {Publisher | null} */ publisher = null;
  /** @type {Subscriber | null} */ subscriber = null;
  /** Ends of what a switch of path left behind. @type {Map<string, any>} */ #lingering = new Map();
  /** @type {Set<string>} */ #refused = new Set();
  #liveness = new Liveness();
  /** What each connection had received when it was last looked at. @type {Map<string, number>} */ #received =
    new Map();
  #looking = false;

  /**
   * @param {object} options
   * @param {() => State} options.state
   * @param {() => RTCConfiguration} options.ice  what every connection is made with
   * @param {import('./media.js').Media} options.media
   * @param {(message: ClientMessage) => void} options.send
   * @param {(message: ClientMessage) => Promise<any>} options.request
   * @param {(event: Event) => void} options.dispatch
   * @param {() => void} options.onChange
   */
  constructor({ state, ice, media, send, request, dispatch, onChange }) {
    this.state = state;
    this.ice = ice;
    this.media = media;
    this.send = send;
    this.request = request;
    this.dispatch = dispatch;
    this.onChange = onChange;
  }

  /** What arrives from a participant on a path. @param {string} id @param {Path} path @returns {Tracks} */
  received(id, path) {
    const participant = this.state().participants.find((one) => one.id === id);
    if (!participant) return {};
    if (path === 'p2p') return this.direct.get(id)?.tracks(participant.metadata.screen ?? null) ?? {};
    /** @type {Tracks} */
    const tracks = {};
    for (const { id: track, source } of participant.tracks) {
      const receiver = this.subscriber?.receiverOf(track);
      if (receiver) tracks[source] = { track: receiver.track, receiver };
    }
    return tracks;
  }

  /** @param {Extract<ServerMessage, {type: 'offer' | 'answer' | 'candidate'}>} message */
  receive(message) {
    if (message.type !== 'candidate') mark(message.type);
    if (message.from === 'relay') {
      if (message.type === 'offer') this.#subscribe().receiveOffer(message.sdp, message.tracks ?? []);
      return;
    }
    const direct = this.direct.get(message.from);
    if (direct?.expected && message.type === 'offer' && direct.peer.isAnother(message.sdp)) {
      this.#disconnect(message.from);
      if (!this.direct.has(message.from)) this.#connect(message.from);
    }
    this.direct.get(message.from)?.receive(message);
  }

  /** Makes the connections that should be there, and ends those that should not. */
  sync() {
    const wanted = routes(this.state());
    for (const id of wanted.connect) {
      if (!this.direct.has(id)) this.#connect(id);
    }
    for (const [id, direct] of this.direct) {
      if (wanted.connect.has(id)) {
        this.#stay(id);
        direct.expected = true;
      } else if (wanted.keep.has(id)) {
        this.#stay(id);
        direct.expected = false;
      } else this.#linger(id, () => this.#disconnect(id));
    }
    this.#refuse(wanted.refuse);
    if (wanted.publish) {
      this.#stay('relay');
      if (this.state().grants.publish) this.publisher ??= this.#publish();
      else this.#endPublisher();
    } else if (this.publisher || this.subscriber) this.#linger('relay', () => this.closeRelay());
    for (const direct of this.direct.values()) direct.setPeers(this.direct.size);
  }

  /** Without the hub nothing can be negotiated. @param {boolean} reachable */
  setReachable(reachable) {
    const away = new Set(
      this.state()
        .participants.filter((one) => one.away)
        .map(({ id }) => id),
    );
    for (const [id, direct] of this.direct) if (!away.has(id)) direct.setReachable(reachable);
  }

  /** Whether anything is connected: then a call goes on without the hub. */
  get alive() {
    const direct = [...this.direct.values()].map(({ pc }) => pc);
    return [...direct, this.subscriber?.pc].some((pc) => pc?.connectionState === 'connected');
  }

  /**
   * Looks which connections bring anything, and restarts those that a break of the network has cut.
   * @param {number} now  ms since the epoch
   * @param {{connected: boolean, heardAt: number}} hub
   * @returns {Promise<boolean>} whether the hub is to be asked if it is there
   */
  async look(now, hub) {
    if (this.#looking) return false;
    this.#looking = true;
    const watched = this.#watched();
    const totals = await Promise.all([...watched].map(async ([key, pc]) => [key, await receivedBy(pc)]));
    this.#liveness.keep(new Set(watched.keys()));
    for (const [key, total] of /** @type {[string, number][]} */ (totals)) {
      if (total > (this.#received.get(key) ?? 0)) this.#liveness.hear(key, now);
      this.#received.set(key, total);
    }
    const { probe, restart } = this.#liveness.check(now, hub);
    for (const key of restart) this.#restart(key);
    this.#showSilent(now);
    this.#looking = false;
    return probe;
  }

  /** The network is another one. @param {number} now */
  moved(now) {
    this.#liveness.move(now);
  }

  #watched() {
    /** @type {Map<string, RTCPeerConnection>} */
    const watched = new Map([...this.direct].map(([id, { pc }]) => [id, pc]));
    if (this.publisher) watched.set('publisher', this.publisher.pc);
    if (this.subscriber?.pc) watched.set('subscriber', this.subscriber.pc);
    return watched;
  }

  /** @param {string} key */
  #restart(key) {
    if (key === 'publisher') this.publisher?.restart();
    else if (key === 'subscriber') this.subscriber?.restart();
    else this.direct.get(key)?.restart();
  }

  /** Tells of whom nothing comes that should, until it does. @param {number} now */
  #showSilent(now) {
    const relay = this.#liveness.inTrouble && this.#liveness.isSilent('subscriber', now);
    for (const { id, silent, metadata } of this.state().participants) {
      const sends = metadata.camera || metadata.microphone;
      const is = this.direct.has(id) ? Boolean(sends) && this.#liveness.isSilent(id, now) : relay;
      if (is !== silent) this.dispatch({ type: 'silence', participant: id, silent: is });
    }
  }

  /** Sends what there is now on every connection. */
  mediaChanged() {
    for (const { source, track, stream } of this.media.outgoing()) {
      for (const direct of this.direct.values()) direct.setSource(source, track, stream);
      this.publisher?.setSource(source, track, stream);
    }
  }

  /** Whatever gathers candidates from now on, on either side's wish, does so with the new servers. */
  renewIce() {
    const direct = [...this.direct.values()].map(({ pc }) => pc);
    for (const pc of [...direct, this.publisher?.pc, this.subscriber?.pc]) {
      if (pc && pc.signalingState !== 'closed') pc.setConfiguration({ ...pc.getConfiguration(), ...this.ice() });
    }
  }

  /** The grants of the two allow no direct connection any more. @param {string} id */
  forbid(id) {
    if (this.direct.has(id)) this.#disconnect(id);
  }

  /**
   * The hub has given somebody up. Where they are still shown, their media flow: the connection
   * stays as long as it lasts, though nothing can be negotiated on it any more.
   * @param {string} id
   */
  left(id) {
    const away = this.state().participants.some((one) => one.id === id && one.away);
    if (away) this.direct.get(id)?.abandon();
    else this.#remove(id);
  }

  /** @param {string} id */
  #remove(id) {
    this.direct.get(id)?.close();
    this.direct.delete(id);
  }

  closeRelay() {
    this.#stay('relay');
    this.#endRelay();
    for (const { id, relay } of this.state().participants) {
      if (relay !== 'none') this.dispatch({ type: 'flow', participant: id, path: 'relay', flow: 'none' });
    }
  }

  close() {
    for (const direct of this.direct.values()) direct.close();
    this.direct.clear();
    for (const timer of this.#lingering.values()) clearTimeout(timer);
    this.#lingering.clear();
    this.#refused.clear();
    this.#endRelay();
  }

  #endRelay() {
    this.#endPublisher();
    this.subscriber?.close();
    this.subscriber = null;
  }

  #endPublisher() {
    this.publisher?.close();
    this.publisher = null;
  }

  /** Tells the hub of whom it wants direct although the relay is forced here. @param {Set<string>} refuse */
  #refuse(refuse) {
    for (const id of this.#refused) {
      if (!refuse.has(id)) this.#refused.delete(id);
    }
    for (const id of refuse) {
      if (this.#refused.has(id)) continue;
      this.#refused.add(id);
      this.send({ type: 'p2p-failed', participant: id, reason: 'relay-forced' });
    }
  }

  /** @param {string} key */
  #stay(key) {
    clearTimeout(this.#lingering.get(key));
    this.#lingering.delete(key);
  }

  /** @param {string} key @param {() => void} end */
  #linger(key, end) {
    if (this.#lingering.has(key)) return;
    const timer = setTimeout(() => {
      this.#lingering.delete(key);
      end();
      this.onChange();
    }, LINGER);
    this.#lingering.set(key, timer);
  }

  /** @param {string} id */
  #connect(id) {
    const participant = /** @type {ParticipantState} */ (this.state().participants.find((one) => one.id === id));
    const direct = new Direct({
      polite: participant.elder,
      ice: this.ice(),
      signal: (signal) => {
        if (signal.type !== 'candidate') mark(signal.type);
        this.send({ ...signal, to: id });
      },
      onTracks: () => {
        mark('track');
        this.onChange();
      },
      onFlow: (flow) => this.#onFlow(id, flow),
      onFailed: (reason) => this.#reportFailure(id, reason),
    });
    this.direct.set(id, direct);
    for (const { source, track, stream } of this.media.outgoing()) direct.setSource(source, track, stream);
    direct.start();
  }

  /** @param {string} id @param {'none' | 'waiting'} flow */
  #onFlow(id, flow) {
    if (flow === 'waiting') mark('connected');
    const away = this.state().participants.some((one) => one.id === id && one.away);
    if (!away) return this.dispatch({ type: 'flow', participant: id, path: 'p2p', flow });
    if (flow !== 'none') return;
    this.#remove(id);
    this.dispatch({ type: 'participant-lost', participant: id });
  }

  /** @param {string} id @param {string} reason */
  #reportFailure(id, reason) {
    this.request({ type: 'p2p-failed', participant: id, reason }).catch((error) => {
      if (error.code !== 'relay-unavailable') console.info('p2p-failed:', error.message);
    });
  }

  /** @param {string} id */
  #disconnect(id) {
    this.#remove(id);
    this.dispatch({ type: 'flow', participant: id, path: 'p2p', flow: 'none' });
  }

  /** @returns {Publisher} */
  #publish() {
    const publisher = new Publisher({
      ice: this.ice(),
      exchange: async (sdp, tracks) => (await this.request({ type: 'offer', to: 'relay', sdp, tracks })).sdp,
      onState: () => this.onChange(),
      onForgotten: () => {
        publisher.close();
        if (publisher === this.publisher) this.publisher = this.#publish();
      },
    });
    for (const { source, track, stream } of this.media.outgoing()) publisher.setSource(source, track, stream);
    return publisher;
  }

  #subscribe() {
    this.subscriber ??= new Subscriber({
      ice: () => this.ice(),
      answer: (sdp) => this.send({ type: 'answer', to: 'relay', sdp }),
      requestRestart: () => this.send({ type: 'restart-ice' }),
      onTracks: () => {
        mark('track');
        this.onChange();
      },
    });
    return this.subscriber;
  }
}

/** Bytes that have come in, reports and media. @param {RTCPeerConnection} pc @returns {Promise<number>} */
async function receivedBy(pc) {
  let total = 0;
  const report = await pc.getStats().catch(() => null);
  for (const entry of report?.values() ?? []) {
    if (entry.type === 'candidate-pair') total += entry.bytesReceived ?? 0;
  }
  return total;
}
