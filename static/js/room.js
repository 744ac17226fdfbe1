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
 * @property {ChatLine[]} chat
 * @property {number} unread
 * @property {'' | 'chat' | 'people' | 'stats'} panel
 * @property {string} pinned       tile id, '' for none
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
  chat: [],
  unread: 0,
  panel: '',
  pinned: '',
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

/** @param {State} state @param {Extract<Event, {type: 'chat'}>} message @returns {State} */
function addChat(state, message) {
  const line = {
    key: (state.chat.at(-1)?.key ?? 0) + 1,
    from: message.from,
    user: message.user,
    content: message.content,
    timestamp: message.timestamp,
    own: message.from === state.self,
  };
  const unread = line.own || state.panel === 'chat' ? state.unread : state.unread + 1;
  return { ...state, chat: [...state.chat, line].slice(-CHAT_MAX), unread };
}

/** @param {State} state @param {import('./messages.js').Joined} message @returns {State} */
function enterRoom(state, message) {
  return {
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
    pinned: '',
    generation: state.generation + 1,
  };
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
      return {
        ...state,
        participants: state.participants.filter((one) => one.id !== event.participant),
        speakers: state.speakers.filter((one) => one.participant !== event.participant),
        pinned: state.pinned.startsWith(event.participant) ? '' : state.pinned,
      };
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
      return changeTracks(state, event.participant, (tracks) => tracks.filter((one) => one.id !== event.track));
    case 'relay-restarted':
      return {
        ...state,
        ownTracks: [],
        participants: state.participants.map((one) => ({ ...one, tracks: [], relay: /** @type {Flow} */ ('none') })),
      };
    case 'speakers':
      return { ...state, speakers: event.speakers };
    case 'chat':
      return addChat(state, event);
    case 'panel':
      return { ...state, panel: event.panel, unread: event.panel === 'chat' ? 0 : state.unread };
    case 'pin':
      return { ...state, pinned: state.pinned === event.tile ? '' : event.tile };
    case 'flow': {
      const one = state.participants.find(({ id }) => id === event.participant);
      if (!one || one[event.path] === event.flow) return state;
      return change(state, event.participant, () => ({ [event.path]: event.flow }));
    }
    default:
      return state;
  }
}

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

/** @param {ParticipantState} participant */
export function screenShared(participant) {
  return Boolean(participant.metadata.screen) || participant.tracks.some((track) => track.source === 'screen');
}
