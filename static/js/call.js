/**
 * The call itself: keeps the peer connections in step with what `routes` says should exist, carries
 * signals between them and the hub, and knows from which path each participant is seen and heard.
 * No DOM; the view reads `state` and `tracksOf` whenever `onChange` is called.
 * Above 400 lines, because what opens, watches and closes a path is read side by side.
 */

import { Direct } from './direct.js';
import { Freshness, fetchIceServers } from './ice.js';
import { Publisher, Subscriber } from './relay.js';
import { INITIAL, cameraOn, reduce } from './room.js';
import { routes } from './routes.js';
import { Signaling } from './signaling.js';
import { History, readReport } from './stats.js';

/** @typedef {import('./room.js').State} State */
/** @typedef {import('./room.js').Event} Event */
/** @typedef {import('./room.js').ParticipantState} ParticipantState */
/** @typedef {import('./messages.js').Source} Source */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {{track: MediaStreamTrack, receiver: RTCRtpReceiver}} Received */
/** @typedef {Partial<Record<Source, Received>>} Tracks */

const LINGER = 8_000; // ms that a path stays up after a switch: the other side may still be looking through it
const FLOW_POLL = 200; // ms between looks whether media has arrived on a new path
const FLOW_PATIENCE = 6_000; // ms after which a path counts as flowing though nobody sends on it (all muted)
const LEVEL_POLL = 150; // ms
const STATS_POLL = 1_000; // ms
/** Linear audio levels: louder begins, quieter ends "talking". */
const TALKING = { from: 0.03, until: 0.01, hold: 700 };

export class Call {
  /** @type {State} */ state = INITIAL;
  history = new History();
  /** Who is talking; our own id included. @type {Set<string>} */ talking = new Set();

  /** @type {Signaling | null} */ #signaling = null;
  /** @type {Map<string, Direct>} */ #direct = new Map();
  /** @type {Publisher | null} */ #publisher = null;
  /** @type {Subscriber | null} */ #subscriber = null;
  /** Ends of what a switch of path left behind. @type {Map<string, any>} */ #lingering = new Map();
  /** When each path was first looked at for media. @type {Map<string, number>} */ #watched = new Map();
  /** @type {Set<string>} */ #refused = new Set();
  /** @type {Map<string, number>} */ #heardAt = new Map();
  /** @type {any[]} */ #timers = [];
  #sentMetadata = '';
  #mutedSent = new Map();
  #measuring = false;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {import('./media.js').Media} options.media
   * @param {() => void} options.onChange  something that is shown may have changed
   * @param {(event: Event, before: State) => void} options.onEvent  after each event, for sounds and words
   */
  constructor({ url, media, onChange, onEvent }) {
    this.url = url;
    this.media = media;
    this.onChange = onChange;
    this.onEvent = onEvent;
  }

  #turnForced = false;
  /** @type {string | undefined} */ #token;
  #freshness = new Freshness({ fetch: () => fetchIceServers(this.#token), onServers: (servers) => this.#renewIce(servers) });

  /** What every peer connection is made with; `turn=1` in the address shows whether TURN works. @returns {RTCConfiguration} */
  get #ice() {
    return { iceServers: this.state.iceServers, iceTransportPolicy: this.#turnForced ? 'relay' : 'all' };
  }

  /**
   * @param {{room: string, name: string, token?: string, relayForced: boolean, turnForced?: boolean}} options
   */
  async join({ room, name, token, relayForced, turnForced = false }) {
    this.#turnForced = turnForced;
    this.#token = token;
    this.dispatch({ type: 'joining', room, name, relayForced });
    this.#sentMetadata = JSON.stringify(this.#metadata());
    const signaling = new Signaling(this.url, {
      onMessage: (message) => this.#receive(message),
      onState: (state, reason) => this.#onSignalingState(state, reason),
    });
    this.#signaling = signaling;
    await signaling.join({ room, name, token, metadata: this.#metadata() });
    this.#timers = [
      setInterval(() => this.#watchFlow(), FLOW_POLL),
      setInterval(() => this.#listen(), LEVEL_POLL),
      setInterval(() => this.#measure(), STATS_POLL),
      setInterval(() => this.#freshness.check(Date.now()), STATS_POLL),
    ];
  }

  leave() {
    this.#signaling?.leave();
  }

  /** @param {Event} event */
  dispatch(event) {
    const before = this.state;
    this.state = reduce(before, event);
    if (this.state !== before) this.sync();
    this.onEvent(event, before);
    this.onChange();
  }

  /** @param {string} content */
  sendChat(content) {
    return this.#request({ type: 'chat', content });
  }

  /** @param {string} participant @param {boolean} ban  keep the person out, too */
  kick(participant, ban) {
    return this.#request({ type: 'kick', participant, ...(ban && { ban }) });
  }

  /** Lets someone who knocks in, or not. @param {string} knock @param {boolean} welcome */
  answerKnock(knock, welcome) {
    return this.#request({ type: welcome ? 'admit' : 'decline', knock });
  }

  /** @param {boolean} enabled */
  setLobby(enabled) {
    return this.#request({ type: 'lobby', enabled });
  }

  /** What somebody else needs to come in: a token until a time in ms, or nothing. @returns {Promise<{token?: string, expires?: number}>} */
  async invite() {
    return this.state.grants.moderate ? this.#request({ type: 'invite' }) : {};
  }

  /** Asks the hub to silence someone. @param {ParticipantState} participant */
  async silence(participant) {
    const published = participant.tracks.find((track) => track.source === 'microphone');
    if (published) await this.#request({ type: 'mute', track: published.id, muted: true });
    else await this.#request({ type: 'silence', participant: participant.id });
  }

  /** @param {boolean} locked */
  lock(locked) {
    return this.#request({ type: 'lock', locked });
  }

  /** The direct connections there are. */
  connections() {
    return [...this.#direct.values()].map(({ pc }) => pc);
  }

  /** The connections to the relay, if there are any. */
  relayConnections() {
    return { publisher: this.#publisher, subscriber: this.#subscriber };
  }

  /** Round trip to the hub in ms. @returns {number | null} */
  get serverRoundTrip() {
    return this.#signaling?.roundTrip ?? null;
  }

  /** The network changed, or the computer woke up. */
  probe() {
    this.#signaling?.probe();
  }

  /** The local media changed: send what there is now, on every connection. */
  mediaChanged() {
    for (const { source, track, stream } of this.media.outgoing()) {
      for (const direct of this.#direct.values()) direct.setSource(source, track, stream);
      this.#publisher?.setSource(source, track, stream);
    }
    this.#announce();
    this.onChange();
  }

  /** What arrives from a participant, on the path that is shown. @param {string} id @returns {Tracks} */
  tracksOf(id) {
    const path = routes(this.state).show.get(id);
    return this.#received(id, path ?? 'p2p');
  }

  /** @param {string} id @param {'p2p' | 'relay'} path @returns {Tracks} */
  #received(id, path) {
    const participant = this.state.participants.find((one) => one.id === id);
    if (!participant) return {};
    if (path === 'p2p') return this.#direct.get(id)?.tracks(participant.metadata.screen ?? null) ?? {};
    /** @type {Tracks} */
    const tracks = {};
    for (const { id: track, source } of participant.tracks) {
      const receiver = this.#subscriber?.receiverOf(track);
      if (receiver) tracks[source] = { track: receiver.track, receiver };
    }
    return tracks;
  }

  /** @param {import('./messages.js').ClientMessage} message @returns {Promise<any>} */
  #request(message) {
    if (!this.#signaling) return Promise.reject(new Error('not joined'));
    return this.#signaling.request(message);
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    switch (message.type) {
      case 'offer':
      case 'answer':
      case 'candidate':
        return this.#receiveSignal(message);
      case 'joined':
        this.#closeConnections();
        this.#freshness.receive(message.ice_servers, Date.now());
        break;
      case 'relay-restarted':
        this.#closeRelay();
        break;
      case 'route':
      case 'topology':
        // What it knew of us is gone: when it is back, it is another one.
        if (message.reason === 'relay-unavailable') this.#closeRelay();
        break;
      case 'participant-left':
        this.#direct.get(message.participant)?.close();
        this.#direct.delete(message.participant);
        break;
      case 'track-updated':
        if (message.participant === this.state.self) this.#ownTrackUpdated(message.track);
        break;
      case 'silenced':
        this.media.toggle('microphone', false).then(() => this.mediaChanged());
        break;
      default:
    }
    this.dispatch(message);
    if (message.type === 'joined') this.mediaChanged();
    if (message.type === 'track-published' && message.participant === this.state.self) this.#announce();
  }

  /** @param {Extract<ServerMessage, {type: 'offer' | 'answer' | 'candidate'}>} message */
  #receiveSignal(message) {
    if (message.from !== 'relay') {
      const direct = this.#direct.get(message.from);
      if (direct?.expected && message.type === 'offer' && direct.peer.isAnother(message.sdp)) {
        this.#disconnect(message.from);
        if (!this.#direct.has(message.from)) this.#connect(message.from);
      }
      this.#direct.get(message.from)?.receive(message);
    } else if (message.type === 'offer') {
      this.#subscriber ??= new Subscriber({
        ice: () => this.#ice,
        answer: (sdp) => this.#signaling?.send({ type: 'answer', to: 'relay', sdp }),
        requestRestart: () => this.#signaling?.send({ type: 'restart-ice' }),
        onTracks: () => this.onChange(),
      });
      this.#subscriber.receiveOffer(message.sdp, message.tracks ?? []);
    }
  }

  /** A moderator may have muted us through the relay. @param {import('./messages.js').Track} track */
  #ownTrackUpdated(track) {
    const before = this.#mutedSent.get(track.id);
    if (track.source !== 'microphone' || !track.muted || before === true || !this.media.live('microphone')) return;
    this.#mutedSent.set(track.id, true);
    this.media.toggle('microphone', false).then(() => this.mediaChanged());
    this.dispatch({ type: 'silenced', by: '' });
  }

  /** @param {import('./signaling.js').SignalingState} state @param {string} reason */
  #onSignalingState(state, reason) {
    if (state === 'closed') {
      for (const timer of this.#timers) clearInterval(timer);
      this.#closeConnections();
      this.#signaling = null;
      this.talking = new Set();
      this.dispatch({ type: 'left', reason });
      return;
    }
    if (state === 'knocking') this.#closeConnections();
    this.dispatch({ type: 'connection', state, reason });
    for (const direct of this.#direct.values()) direct.setReachable(state === 'open');
  }

  /** Makes the connections that should be there, and ends those that should not. */
  sync() {
    const wanted = routes(this.state);
    for (const id of wanted.connect) {
      if (!this.#direct.has(id)) this.#connect(id);
    }
    for (const [id, direct] of this.#direct) {
      if (wanted.connect.has(id)) {
        this.#stay(id);
        direct.expected = true;
      } else if (wanted.keep.has(id)) {
        this.#stay(id);
        direct.expected = false;
      } else this.#linger(id, () => this.#disconnect(id));
    }
    for (const id of this.#refused) {
      if (!wanted.refuse.has(id)) this.#refused.delete(id);
    }
    for (const id of wanted.refuse) {
      if (this.#refused.has(id)) continue;
      this.#refused.add(id);
      this.#signaling?.send({ type: 'p2p-failed', participant: id, reason: 'relay-forced' });
    }
    if (wanted.publish) {
      this.#stay('relay');
      if (this.state.grants.publish) this.#publisher ??= this.#publish();
    } else if (this.#publisher || this.#subscriber) this.#linger('relay', () => this.#closeRelay());
    for (const direct of this.#direct.values()) direct.setPeers(this.#direct.size);
  }

  /** @param {string} key */
  #stay(key) {
    clearTimeout(this.#lingering.get(key));
    this.#lingering.delete(key);
  }

  /** @param {string} key @param {() => void} end */
  #linger(key, end) {
    if (this.#lingering.has(key)) return;
    this.#lingering.set(key, setTimeout(() => {
      this.#lingering.delete(key);
      end();
      this.onChange();
    }, LINGER));
  }

  /** @param {string} id */
  #connect(id) {
    const participant = /** @type {ParticipantState} */ (this.state.participants.find((one) => one.id === id));
    const direct = new Direct({
      polite: participant.elder,
      ice: this.#ice,
      signal: (signal) => this.#signaling?.send({ ...signal, to: id }),
      onTracks: () => this.onChange(),
      onFlow: (flow) => this.dispatch({ type: 'flow', participant: id, path: 'p2p', flow }),
      onFailed: (reason) => this.#reportFailure(id, reason),
    });
    this.#direct.set(id, direct);
    for (const { source, track, stream } of this.media.outgoing()) direct.setSource(source, track, stream);
    direct.start();
  }

  /** @param {string} id @param {string} reason */
  #reportFailure(id, reason) {
    this.#request({ type: 'p2p-failed', participant: id, reason }).catch((error) => {
      if (error.code !== 'relay-unavailable') console.info('p2p-failed:', error.message);
    });
  }

  /** @param {string} id */
  #disconnect(id) {
    this.#direct.get(id)?.close();
    this.#direct.delete(id);
    this.#watched.delete(`${id} p2p`);
    this.dispatch({ type: 'flow', participant: id, path: 'p2p', flow: 'none' });
  }

  /** @returns {Publisher} */
  #publish() {
    const publisher = new Publisher({
      ice: this.#ice,
      exchange: async (sdp, tracks) => (await this.#request({ type: 'offer', to: 'relay', sdp, tracks })).sdp,
      onState: () => this.onChange(),
      onForgotten: () => {
        publisher.close();
        if (publisher === this.#publisher) this.#publisher = this.#publish();
      },
    });
    for (const { source, track, stream } of this.media.outgoing()) publisher.setSource(source, track, stream);
    return publisher;
  }

  #closeRelay() {
    this.#stay('relay');
    this.#publisher?.close();
    this.#subscriber?.close();
    this.#publisher = this.#subscriber = null;
    this.#mutedSent.clear();
    for (const { id, relay } of this.state.participants) {
      this.#watched.delete(`${id} relay`);
      if (relay !== 'none') this.dispatch({ type: 'flow', participant: id, path: 'relay', flow: 'none' });
    }
  }

  #closeConnections() {
    for (const direct of this.#direct.values()) direct.close();
    this.#direct.clear();
    for (const timer of this.#lingering.values()) clearTimeout(timer);
    this.#lingering.clear();
    this.#publisher?.close();
    this.#subscriber?.close();
    this.#publisher = this.#subscriber = null;
    this.#watched.clear();
    this.#refused.clear();
    this.#mutedSent.clear();
    this.#heardAt.clear();
    this.#sentMetadata = '';
  }

  /** Whatever gathers candidates from now on, on either side's wish, does so with these. @param {RTCIceServer[]} servers */
  #renewIce(servers) {
    this.dispatch({ type: 'ice-servers', iceServers: servers });
    for (const pc of [...this.connections(), this.#publisher?.pc, this.#subscriber?.pc]) {
      if (pc && pc.signalingState !== 'closed') pc.setConfiguration({ ...pc.getConfiguration(), ...this.#ice });
    }
  }

  #metadata() {
    return {
      camera: this.media.live('camera'),
      microphone: this.media.live('microphone'),
      screen: this.media.screen ? this.media.screenStream.id : null,
    };
  }

  /** Tells the room, and the relay, what is on and what is off. */
  #announce() {
    if (this.state.phase !== 'call') return;
    const metadata = this.#metadata();
    const text = JSON.stringify(metadata);
    if (text !== this.#sentMetadata) {
      this.#sentMetadata = text;
      this.#signaling?.send({ type: 'update', name: this.state.name, metadata });
    }
    for (const track of this.state.ownTracks) {
      if (track.source !== 'camera' && track.source !== 'microphone') continue;
      const muted = !this.media.live(track.source);
      if (muted === (this.#mutedSent.get(track.id) ?? track.muted)) continue;
      this.#mutedSent.set(track.id, muted);
      this.#signaling?.send({ type: 'mute', track: track.id, muted });
    }
  }

  /** Looks on each path that has just been opened whether media has arrived. */
  async #watchFlow() {
    for (const one of this.state.participants) {
      for (const path of /** @type {const} */ (['p2p', 'relay'])) {
        if (one[path] === 'flowing') continue;
        const tracks = Object.values(this.#received(one.id, path));
        if (tracks.length === 0 || (path === 'p2p' && !this.#direct.get(one.id)?.connected)) continue;
        const key = `${one.id} ${path}`;
        const since = this.#watched.get(key) ?? performance.now();
        this.#watched.set(key, since);
        const arrived = await haveArrived(this.#received(one.id, path), cameraOn(one));
        if (arrived || performance.now() - since > FLOW_PATIENCE) {
          this.dispatch({ type: 'flow', participant: one.id, path, flow: 'flowing' });
        }
      }
    }
  }

  #listen() {
    const now = performance.now();
    const loud = new Map(this.state.speakers.map(({ participant, level }) => [participant, 10 ** (level / 20)]));
    for (const { id } of this.state.participants) {
      const [source] = this.tracksOf(id).microphone?.receiver.getSynchronizationSources?.() ?? [];
      if (source?.audioLevel !== undefined) loud.set(id, source.audioLevel);
    }
    if (this.state.self) loud.set(this.state.self, this.media.level() > 0.45 ? 1 : 0);
    const talking = new Set();
    for (const [id, level] of loud) {
      if (level >= TALKING.from || (level >= TALKING.until && this.talking.has(id))) this.#heardAt.set(id, now);
      if (now - (this.#heardAt.get(id) ?? -Infinity) < TALKING.hold) talking.add(id);
    }
    const same = talking.size === this.talking.size && [...talking].every((id) => this.talking.has(id));
    this.talking = talking;
    if (!same) this.onChange();
  }

  /** Once a second: the counters of each connection, by participant. */
  async #measure() {
    if (this.#measuring) return;
    this.#measuring = true;
    const at = performance.now();
    const shown = routes(this.state).show;
    const [subscribed, published] = await Promise.all(
      [this.#subscriber?.pc, this.#publisher?.pc].map((pc) => pc?.getStats().catch(() => null)),
    );
    for (const { id } of this.state.participants) {
      if (shown.get(id) === 'relay') {
        if (!subscribed) continue;
        const tracks = new Set(Object.values(this.#received(id, 'relay')).map(({ track }) => track.id));
        const counters = readReport(subscribed, { viaRelay: true, tracks, at });
        if (published) counters.bytesOut = readReport(published, { viaRelay: true, at }).bytesOut;
        this.history.add(id, counters);
      } else {
        const report = await this.#direct.get(id)?.pc.getStats().catch(() => null);
        if (report) this.history.add(id, readReport(report, { viaRelay: false, at }));
      }
    }
    this.history.keep(new Set(this.state.participants.map(({ id }) => id)));
    this.#measuring = false;
    this.onChange();
  }
}

/**
 * Whether there is something to see, or, where nobody shows anything, something to hear.
 * @param {Tracks} tracks @param {boolean} picture  whether a picture of the camera is to be expected
 */
async function haveArrived({ camera, microphone, screen }, picture) {
  const awaited = picture ? camera : microphone ?? screen;
  const report = await awaited?.receiver.getStats().catch(() => null);
  for (const entry of report?.values() ?? []) {
    if (entry.type !== 'inbound-rtp') continue;
    if (picture ? entry.framesDecoded > 0 : entry.packetsReceived > 0) return true;
  }
  return false;
}
