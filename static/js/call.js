/**
 * The call itself: carries messages between the hub and the connections, says what this side has on
 * and off, and asks the hub for what people do. No DOM; the view reads `state` and `tracksOf`
 * whenever `onChange` is called.
 */

import { Wishes } from './adaptive.js';
import { Connections } from './connections.js';
import { Data } from './data.js';
import { FlowWatch } from './flow.js';
import { Freshness, fetchIceServers } from './ice.js';
import { INITIAL, reduce } from './room.js';
import { routes } from './routes.js';
import { addressOf, Signaling } from './signaling.js';
import { Statistics } from './statistics.js';
import { Talking } from './talking.js';
import { mark } from './marks.js';
import { ReadySocket } from './warmup.js';

/** @typedef {import('./room.js').State} State */
/** @typedef {import('./room.js').Event} Event */
/** @typedef {import('./room.js').ParticipantState} ParticipantState */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./messages.js').ClientMessage} ClientMessage */

const LIVENESS_POLL = 250; // ms between two looks at what still comes
const FLOW_POLL = 200; // ms between looks whether media has arrived on a new path
const LEVEL_POLL = 150; // ms
const STATS_POLL = 1_000; // ms
/** What can be said without a word. */
export const REACTIONS = ['👍', '❤️', '😂', '😮', '👏'];
const OWN_VOICE = 0.45; // of the meter: what the others would call talking

export class Call {
  /** @type {State} */ state = INITIAL;

  /** @type {Signaling | null} */ #signaling = null;
  /** @type {Connections} */ #connections;
  /** @type {FlowWatch} */ #flow;
  /** @type {Statistics} */ #statistics;
  /** @type {Freshness} */ #freshness;
  #ready = new ReadySocket();
  #talking = new Talking();
  #wishes = new Wishes({ state: () => this.state, send: (message) => this.#prefer(message) });
  #turnForced = false;
  /** @type {string | undefined} */ #token;
  /** @type {any[]} */ #timers = [];
  #sentMetadata = '';
  /** What the relay was told of each track. @type {Map<string, boolean>} */ #mutedSent = new Map();

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
    this.#connections = new Connections({
      state: () => this.state,
      ice: () => this.#ice,
      media,
      send: (message) => this.#signaling?.send(message),
      request: (message) => this.#request(message),
      dispatch: (event) => this.dispatch(event),
      onChange: () => this.onChange(),
    });
    this.#flow = new FlowWatch({
      connections: this.#connections,
      onFlowing: (participant, path) => this.dispatch({ type: 'flow', participant, path, flow: 'flowing' }),
    });
    this.#statistics = new Statistics(this.#connections);
    this.data = new Data((message) => this.#request(message));
    this.data.on('reaction', ({ from, content }) => {
      const reaction = content?.reaction;
      if (REACTIONS.includes(reaction)) this.dispatch({ type: 'reaction', from, reaction });
    });
    this.data.on('hand', ({ content }) => {
      if (content?.lower === true && this.state.hand) this.raiseHand(false);
    });
    this.#freshness = new Freshness({
      fetch: () => fetchIceServers(this.#token),
      onServers: (iceServers) => {
        this.dispatch({ type: 'ice-servers', iceServers });
        this.#connections.renewIce();
      },
    });
  }

  /** `turn=1` in the address shows whether TURN works. @returns {RTCConfiguration} */
  get #ice() {
    return { iceServers: this.state.iceServers, iceTransportPolicy: this.#turnForced ? 'relay' : 'all' };
  }

  /** Who is talking; our own id included. */
  get talking() {
    return this.#talking.who;
  }

  /** The last minute's numbers. */
  get history() {
    return this.#statistics.history;
  }

  /** Round trip to the hub in ms. @returns {number | null} */
  get serverRoundTrip() {
    return this.#signaling?.roundTrip ?? null;
  }

  /**
   * @param {{room: string, name: string, token?: string, relayForced: boolean, turnForced?: boolean}} options
   */
  async join({ room, name, token, relayForced, turnForced = false }) {
    this.#turnForced = turnForced;
    this.#token = token;
    this.dispatch({ type: 'joining', room, name, relayForced });
    this.#sentMetadata = JSON.stringify(this.#metadata());
    mark('join');
    const signaling = new Signaling(
      this.url,
      {
        onMessage: (message) => this.#receive(message),
        onState: (state, reason) => this.#onSignalingState(state, reason),
      },
      { connect: (url) => this.#ready.take(url) ?? new WebSocket(url) },
    );
    this.#signaling = signaling;
    await signaling.join({ room, name, token, metadata: this.#metadata() });
    this.#timers = [
      setInterval(() => this.#flow.look(this.state.participants, performance.now()), FLOW_POLL),
      setInterval(() => this.#look(), LIVENESS_POLL),
      setInterval(() => this.#listen(), LEVEL_POLL),
      setInterval(() => this.#measure(), STATS_POLL),
      setInterval(() => this.#freshness.check(Date.now()), STATS_POLL),
    ];
  }

  /** Somebody is about to join: the way to the hub is opened. @param {string} room */
  prepare(room) {
    if (this.state.phase === 'lobby') this.#ready.prepare(addressOf(this.url, room));
  }

  leave() {
    this.#signaling?.leave();
  }

  /** @param {Event} event */
  dispatch(event) {
    const before = this.state;
    this.state = reduce(before, event);
    if (event.type === 'flow' && event.flow === 'none') this.#flow.forget(event.participant, event.path);
    if (this.state !== before) {
      this.sync();
      this.#wishes.look();
    }
    this.onEvent(event, before);
    this.onChange();
  }

  /** Makes the connections that should be there, and ends those that should not. */
  sync() {
    this.#connections.sync();
  }

  /** @param {string} content @param {string} [to]  one participant alone */
  sendChat(content, to) {
    return this.#request({ type: 'chat', content, ...(to && { to }) });
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

  /**
   * What somebody else needs to come in: a token until a time in ms, or nothing.
   * @returns {Promise<{token?: string, expires?: number}>}
   */
  async invite() {
    return this.state.grants.moderate ? this.#request({ type: 'invite' }) : {};
  }

  /** @param {boolean} up */
  raiseHand(up) {
    this.dispatch({ type: 'hand', at: up ? Date.now() : 0 });
    this.#announce();
  }

  /** Asks somebody's page to take the hand down, as a moderator may. @param {ParticipantState} participant */
  lowerHand({ id }) {
    return this.data.send({ lower: true }, { topic: 'hand', to: [id] });
  }

  /** @param {string} reaction  one of `REACTIONS` */
  async react(reaction) {
    this.dispatch({ type: 'reaction', from: this.state.self, reaction });
    await this.data.send({ reaction }, { topic: 'reaction' });
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
    return [...this.#connections.direct.values()].map(({ pc }) => pc);
  }

  /** The connections to the relay, if there are any. */
  relayConnections() {
    const { publisher, subscriber } = this.#connections;
    return { publisher, subscriber };
  }

  /** Whether anything still flows, with the hub or without. */
  get alive() {
    return this.#connections.alive;
  }

  /** The network changed, or the computer woke up. */
  probe() {
    this.#signaling?.probe();
  }

  /** The machine is in another network, or in one again. */
  moved() {
    this.#connections.moved(Date.now());
    this.probe();
  }

  async #look() {
    const signaling = this.#signaling;
    if (!signaling) return;
    const hub = { connected: signaling.state === 'open', heardAt: signaling.heardAt };
    if (await this.#connections.look(Date.now(), hub)) signaling.probe();
  }

  /** The local media changed: send what there is now, on every connection. */
  mediaChanged() {
    this.#connections.mediaChanged();
    this.#announce();
    this.onChange();
  }

  /** What arrives from a participant, on the path that is shown. @param {string} id */
  tracksOf(id) {
    return this.#connections.received(id, routes(this.state).show.get(id) ?? 'p2p');
  }

  /** How large each tile is, in device pixels; 0 where nobody sees it. @param {Map<string, {width: number, height: number}>} sizes */
  setSizes(sizes) {
    this.#wishes.setSizes(sizes);
  }

  /** A track may have ended while this was under way: the rest counts all the same. @param {ClientMessage} message */
  #prefer(message) {
    if (this.state.relayAvailable) this.#request(message).catch(() => {});
  }

  /** @param {ClientMessage} message @returns {Promise<any>} */
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
        return this.#connections.receive(message);
      case 'joined':
        mark('joined');
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
      case 'track-updated':
        if (message.participant === this.state.self) this.#ownTrackUpdated(message.track);
        break;
      case 'layers': {
        const track = this.state.ownTracks.find(({ id }) => id === message.track);
        if (track) this.#connections.publisher?.setLayers(track.source, message.active);
        return;
      }
      case 'silenced':
        this.media.toggle('microphone', false).then(() => this.mediaChanged());
        break;
      default:
    }
    this.dispatch(message);
    this.data.receive(message);
    if (message.type === 'route' && message.reason === 'grants' && message.via === 'relay') {
      this.#connections.forbid(message.participant);
    }
    if (message.type === 'participant-left') this.#connections.left(message.participant);
    if (message.type === 'joined') this.mediaChanged();
    if (message.type === 'track-published' && message.participant === this.state.self) this.#announce();
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
      this.dispatch({ type: 'left', reason });
      return;
    }
    if (state === 'knocking') this.#closeConnections();
    this.dispatch({ type: 'connection', state, reason });
    this.#connections.setReachable(state === 'open');
  }

  #closeRelay() {
    this.#mutedSent.clear();
    this.#wishes.forget();
    this.#connections.closeRelay();
  }

  #closeConnections() {
    this.#connections.close();
    this.#flow.clear();
    this.#talking.clear();
    this.#wishes.forget();
    this.#mutedSent.clear();
    this.#sentMetadata = '';
  }

  #metadata() {
    const paused = this.media.paused();
    return {
      camera: this.media.live('camera') && !paused.includes('camera'),
      microphone: this.media.live('microphone') && !paused.includes('microphone'),
      screen: this.media.screen ? this.media.screenStream.id : null,
      ...(paused.length && { paused }),
      ...(this.state.hand && { hand: this.state.hand }),
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

  #listen() {
    const levels = new Map(this.state.speakers.map(({ participant, level }) => [participant, 10 ** (level / 20)]));
    for (const { id } of this.state.participants) {
      const [source] = this.tracksOf(id).microphone?.receiver.getSynchronizationSources?.() ?? [];
      if (source?.audioLevel !== undefined) levels.set(id, source.audioLevel);
    }
    if (this.state.self) levels.set(this.state.self, this.media.level() > OWN_VOICE ? 1 : 0);
    if (this.#talking.hear(levels, performance.now())) this.onChange();
  }

  async #measure() {
    await this.#statistics.measure(this.state, performance.now());
    this.onChange();
  }
}
