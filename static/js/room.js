/**
 * The state of the call as a pure reducer: what the hub says and what the person does come in as
 * events, a new state comes out. No socket, no DOM, no media.
 */

/** @typedef {import('./messages.js').Participant} WireParticipant */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./messages.js').Grants} Grants */
/** @typedef {import('./signaling.js').SignalingState} SignalingState */
/** @typedef {'none' | 'waiting' | 'flowing'} Flow  whether media arrives on a path */
/**
 * @typedef {object} ParticipantState
 * @property {string} id
 * @property {string} name
 * @property {import('./messages.js').Metadata} metadata
 * @property {import('./messages.js').Track[]} tracks
 * @property {boolean} elder     was there before this side, which is therefore the polite one
 * @property {boolean} viaRelay  this pair uses the relay whatever the room does
 * @property {boolean} away      the hub has given them up, yet their media still flow directly
 * @property {boolean} silent    nothing comes of what they send, for the moment
 * @property {Flow} p2p
 * @property {Flow} relay
 */
/**
 * @typedef {object} ChatLine
 * @property {number} key
 * @property {string | null} from   participant; null for what the page itself says
 * @property {string} user
 * @property {string} content
 * @property {number} timestamp
 * @property {boolean} own
 * @property {string} to            whom it was meant for alone, '' for everyone
 * @property {boolean} past         was written before we came
 */
/** @typedef {{id: string, name: string}} Knock */
/**
 * @typedef {object} State
 * @property {'lobby' | 'joining' | 'call' | 'left'} phase
 * @property {string} leftBecause  why the call ended
 * @property {SignalingState} connection
 * @property {string} connectionReason
 * @property {boolean} waiting      we have knocked, and nobody has answered yet
 * @property {string} self         own participant id, '' before joining
 * @property {string} name
 * @property {string} room
 * @property {import('./messages.js').Topology} topology
 * @property {boolean} locked
 * @property {boolean} lobby        those who come have to knock
 * @property {boolean} relayAvailable
 * @property {boolean} relayForced
 * @property {Grants} grants
 * @property {RTCIceServer[]} iceServers
 * @property {ParticipantState[]} participants  the others, in order of arrival
 * @property {import('./messages.js').Track[]} ownTracks  published through the relay
 * @property {Knock[]} knocks       who waits to be let in, for moderators
 * @property {{participant: string, level: number}[]} speakers
 * @property {Readonly<Record<string, import('./messages.js').Reception>>} reception  of tracks that do not come as they were asked for
 * @property {Readonly<Record<string, {up?: number, down?: number}>>} quality  0 to 4, of the ways to the relay and from it
 * @property {ChatLine[]} chat
 * @property {number} unread
 * @property {'' | 'chat' | 'people' | 'stats'} panel
 * @property {boolean} hidden      nobody looks at the page now
 * @property {number} hand         when our own hand went up, ms since the epoch; 0 while it is down
 * @property {string[]} pinned     tile ids
 * @property {number} generation   grows with each `joined`: nothing of the last session counts any more
 */
/**
 * @typedef {ServerMessage
 *   | {type: 'joining', room: string, name: string, relayForced: boolean}
 *   | {type: 'connection', state: SignalingState, reason: string}
 *   | {type: 'left', reason: string}
 *   | {type: 'lobby'}
 *   | {type: 'ice-servers', iceServers: RTCIceServer[]}
 *   | {type: 'panel', panel: State['panel']}
 *   | {type: 'pin', tile: string}
 *   | {type: 'hidden', hidden: boolean}
 *   | {type: 'hand', at: number}
 *   | {type: 'reaction', from: string, reaction: string}
 *   | {type: 'participant-lost', participant: string}
 *   | {type: 'silence', participant: string, silent: boolean}
 *   | {type: 'flow', participant: string, path: 'p2p' | 'relay', flow: Flow}} Event
 */

const CHAT_MAX = 500; // lines kept: a long meeting's worth, and a bounded page
const NO_GRANTS = { publish: false, subscribe: false, chat: false, moderate: false };

/** @type {Readonly<State>} */
export const INITIAL = Object.freeze({
  phase: 'lobby',
  leftBecause: '',
  connection: 'closed',
  connectionReason: '',
  waiting: false,
  self: '',
  name: '',
  room: '',
  topology: 'mesh',
  locked: false,
  lobby: false,
  relayAvailable: false,
  relayForced: false,
  grants: NO_GRANTS,
  iceServers: [],
  participants: [],
  ownTracks: [],
  knocks: [],
  speakers: [],
  reception: {},
  quality: {},
  chat: [],
  unread: 0,
  panel: '',
  hidden: false,
  hand: 0,
  pinned: [],
  generation: 0,
});

/** @param {WireParticipant} participant @param {boolean} elder @returns {ParticipantState} */
function enter(participant, elder) {
  return {
    id: participant.id,
    name: participant.name,
    metadata: participant.metadata ?? {},
    tracks: participant.tracks ?? [],
    elder,
    viaRelay: participant.via === 'relay',
    away: false,
    silent: false,
    p2p: 'none',
    relay: 'none',
  };
}

/**
 * @param {State} state @param {string} id @param {(one: ParticipantState) => Partial<ParticipantState>} change
 * @returns {State}
 */
function change(state, id, change) {
  return {
    ...state,
    participants: state.participants.map((one) => (one.id === id ? { ...one, ...change(one) } : one)),
  };
}

/**
 * @param {State} state @param {string} id
 * @param {(tracks: import('./messages.js').Track[]) => import('./messages.js').Track[]} update @returns {State}
 */
function changeTracks(state, id, update) {
  if (id === state.self) return { ...state, ownTracks: update(state.ownTracks) };
  return change(state, id, ({ tracks }) => ({ tracks: update(tracks) }));
}

/**
 * @param {State} state @param {import('./messages.js').ChatMessage} message @param {boolean} [past]
 * @returns {State}
 */
function addChat(state, message, past = false) {
  const line = {
    key: (state.chat.at(-1)?.key ?? 0) + 1,
    from: message.from,
    user: message.user,
    content: message.content,
    timestamp: message.timestamp,
    own: message.from === state.self,
    to: message.to ?? '',
    past,
  };
  const read = past || line.own || (state.panel === 'chat' && !state.hidden);
  return { ...state, chat: [...state.chat, line].slice(-CHAT_MAX), unread: read ? state.unread : state.unread + 1 };
}

/** Of what was written before we came, what is not here yet. @param {State} state @param {import('./messages.js').ChatMessage[]} history */
function addHistory(state, history) {
  const known = new Set(state.chat.map(({ from, timestamp, content }) => `${from} ${timestamp} ${content}`));
  return history
    .filter(({ from, timestamp, content }) => !known.has(`${from} ${timestamp} ${content}`))
    .reduce((all, message) => addChat(all, message, true), state);
}

/** @param {State} state @param {import('./messages.js').Joined} message @returns {State} */
function enterRoom(state, message) {
  /** @type {State} */
  const entered = {
    ...state,
    phase: 'call',
    waiting: false,
    self: message.participant,
    room: message.room.name,
    topology: message.room.topology,
    locked: message.room.locked,
    lobby: message.room.lobby ?? false,
    relayAvailable: message.relay,
    grants: message.grants,
    iceServers: message.ice_servers,
    participants: message.participants.map((one) => enter(one, true)),
    ownTracks: [],
    knocks: [],
    speakers: [],
    reception: {},
    quality: {},
    pinned: [],
    generation: state.generation + 1,
  };
  return addHistory(entered, message.history ?? []);
}

/**
 * @param {State['reception']} before
 * @param {{track: string, state: import('./messages.js').Reception}[]} tracks @returns {State['reception']}
 */
function receive(before, tracks) {
  const after = { ...before };
  for (const { track, state } of tracks) {
    if (state === 'full') delete after[track];
    else after[track] = state;
  }
  return after;
}

/** Somebody is gone for good. @param {State} state @param {string} id @returns {State} */
function remove(state, id) {
  return {
    ...state,
    participants: state.participants.filter((one) => one.id !== id),
    speakers: state.speakers.filter(({ participant }) => participant !== id),
    pinned: state.pinned.filter((tile) => tile !== id && tile !== `${id}/screen`),
  };
}

/**
 * The hub has given somebody up. If what they send directly still arrives, they are in trouble with
 * the hub alone: the call with them goes on.
 * @param {State} state @param {Extract<Event, {type: 'participant-left'}>} event @returns {State}
 */
function leave(state, { participant, reason }) {
  const one = state.participants.find(({ id }) => id === participant);
  if (reason !== 'timeout' || one?.p2p !== 'flowing') return remove(state, participant);
  return change(state, participant, () => ({ away: true, relay: /** @type {Flow} */ ('none'), tracks: [] }));
}

/** Before the door; that is also where one who comes back too late finds a lobby. @param {State} state @returns {State} */
function wait(state) {
  return { ...state, phase: 'joining', waiting: true, participants: [], ownTracks: [], knocks: [], speakers: [] };
}

/** @param {State} state @param {Event} event @returns {State} */
export function reduce(state, event) {
  switch (event.type) {
    case 'joining':
      return {
        ...INITIAL,
        hidden: state.hidden,
        phase: 'joining',
        room: event.room,
        name: event.name,
        relayForced: event.relayForced,
        generation: state.generation,
      };
    case 'joined':
      return enterRoom(state, event);
    case 'connection':
      return {
        ...(event.state === 'knocking' ? wait(state) : state),
        connection: event.state,
        connectionReason: event.reason,
      };
    case 'left':
      return {
        ...INITIAL,
        phase: 'left',
        leftBecause: event.reason,
        room: state.room,
        name: state.name,
        generation: state.generation,
      };
    case 'lobby':
      return { ...INITIAL, room: state.room, name: state.name, generation: state.generation };
    case 'participant-joined':
      if (state.participants.some((one) => one.id === event.participant.id)) return state;
      return { ...state, participants: [...state.participants, enter(event.participant, false)] };
    case 'participant-updated':
      if (event.participant.id === state.self) return { ...state, name: event.participant.name };
      return change(state, event.participant.id, (one) => ({
        name: event.participant.name ?? one.name,
        metadata: event.participant.metadata ?? one.metadata,
      }));
    case 'participant-left':
      return leave(state, event);
    case 'participant-lost':
      return remove(state, event.participant);
    case 'room-updated':
      return {
        ...state,
        locked: event.room.locked,
        lobby: event.room.lobby ?? false,
        relayAvailable: event.relay ?? state.relayAvailable,
      };
    case 'grants-updated':
      return { ...state, grants: event.grants, knocks: event.grants.moderate ? state.knocks : [] };
    case 'knock':
      if (state.knocks.some(({ id }) => id === event.knock)) return state;
      return { ...state, knocks: [...state.knocks, { id: event.knock, name: event.name }] };
    case 'knock-ended':
      return { ...state, knocks: state.knocks.filter(({ id }) => id !== event.knock) };
    case 'ice-servers':
      return { ...state, iceServers: event.iceServers };
    case 'topology':
      return { ...state, topology: event.topology };
    case 'route':
      return change(state, event.participant, () => ({ viaRelay: event.via === 'relay' }));
    case 'track-published':
      return changeTracks(state, event.participant, (tracks) => [
        ...tracks.filter((one) => one.id !== event.track.id),
        event.track,
      ]);
    case 'track-updated':
      return changeTracks(state, event.participant, (tracks) =>
        tracks.map((one) => (one.id === event.track.id ? event.track : one)),
      );
    case 'track-unpublished':
      return changeTracks(
        { ...state, reception: receive(state.reception, [{ track: event.track, state: 'full' }]) },
        event.participant,
        (tracks) => tracks.filter((one) => one.id !== event.track),
      );
    case 'relay-restarted':
      return {
        ...state,
        ownTracks: [],
        reception: {},
        participants: state.participants.map((one) => ({ ...one, tracks: [], relay: /** @type {Flow} */ ('none') })),
      };
    case 'speakers':
      return { ...state, speakers: event.speakers };
    case 'reception':
      return { ...state, reception: receive(state.reception, event.tracks) };
    case 'quality': {
      const told = event.participants.map(({ participant, up, down }) => [participant, { up, down }]);
      return { ...state, quality: { ...state.quality, ...Object.fromEntries(told) } };
    }
    case 'chat':
      return addChat(state, event);
    case 'panel':
      return { ...state, panel: event.panel, unread: event.panel === 'chat' ? 0 : state.unread };
    case 'hand':
      return { ...state, hand: event.at };
    case 'hidden': {
      const read = !event.hidden && state.panel === 'chat';
      return { ...state, hidden: event.hidden, unread: read ? 0 : state.unread };
    }
    case 'pin':
      return { ...state, pinned: toggled(state.pinned, event.tile) };
    case 'silence':
      return change(state, event.participant, () => ({ silent: event.silent }));
    case 'flow': {
      const one = state.participants.find(({ id }) => id === event.participant);
      if (!one || one[event.path] === event.flow) return state;
      return change(arrived(state, event, one.name), event.participant, () => ({ [event.path]: event.flow }));
    }
    default:
      return state;
  }
}

/**
 * Somebody whom the hub had given up is here again, under a new id, and is seen: the old one can go.
 * @param {State} state @param {{flow: Flow}} event @param {string} name @returns {State}
 */
function arrived(state, { flow }, name) {
  if (flow !== 'flowing') return state;
  const old = state.participants.filter((one) => one.away && one.name === name);
  return old.reduce((rest, { id }) => remove(rest, id), state);
}

/** @param {string[]} list @param {string} item */
const toggled = (list, item) => (list.includes(item) ? list.filter((one) => one !== item) : [...list, item]);

/**
 * Whether to show a picture for someone's camera. Clients that say nothing are taken by what they send.
 * @param {ParticipantState} participant
 */
export function cameraOn(participant) {
  const published = participant.tracks.find((track) => track.source === 'camera');
  return participant.metadata.camera ?? (published ? !published.muted : true);
}

/** @param {ParticipantState} participant */
export function microphoneOn(participant) {
  const published = participant.tracks.find((track) => track.source === 'microphone');
  if (published?.muted) return false;
  return participant.metadata.microphone ?? true;
}

/** Whether media of somebody's have stopped that are not turned off: their program or network has. @param {ParticipantState} participant */
export const stoppedOf = ({ tracks }) =>
  tracks.some(({ source, stopped }) => !!stopped && !source.startsWith('screen'));

/** When somebody's hand went up, ms since the epoch; 0 while it is down. @param {ParticipantState} participant */
export function handOf({ metadata: { hand } }) {
  if (hand === true) return 1; // a client that does not say when was first
  return typeof hand === 'number' && Number.isFinite(hand) && hand > 0 ? hand : 0;
}

/** Who has a hand up, in the order in which they went up. @param {State} state @returns {string[]} */
export function handsOf(state) {
  const own = { id: state.self, at: state.hand };
  const all = [own, ...state.participants.map((one) => ({ id: one.id, at: handOf(one) }))];
  const up = all.filter(({ at }) => at > 0).sort((one, two) => one.at - two.at || (one.id < two.id ? -1 : 1));
  return up.map(({ id }) => id);
}

/** What somebody's system has taken away for now: a call that came in, another app. @param {ParticipantState} participant */
export function pausedOf({ metadata: { paused } }) {
  if (!Array.isArray(paused)) return [];
  return /** @type {const} */ (['camera', 'microphone']).filter((device) => paused.includes(device));
}

/** @param {ParticipantState} participant */
export function screenShared(participant) {
  return Boolean(participant.metadata.screen) || participant.tracks.some((track) => track.source === 'screen');
}
