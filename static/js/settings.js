/** What the page remembers between visits, and what its address asks for. */

import { roomToText, roomToWire } from './roomname.js';
import { shorten } from './text.js';

/**
 * @typedef {object} Settings
 * @property {string} name
 * @property {string} camera       device id, '' for the default
 * @property {string} microphone
 * @property {string} speaker
 * @property {boolean} cameraOn
 * @property {boolean} microphoneOn
 * @property {boolean} shortcuts
 * @property {string} language     '' for the browser's
 * @property {boolean} sounds       for knocks, and for messages that nobody sees
 * @property {import('./view/stage.js').View} view
 * @property {import('./layout.js').Corner} corner  where one's own small picture is
 * @property {boolean} selfHidden
 */

export const NAME_MAX = 64; // characters: what a hub takes by default
const KEY = 'tandem';
/** @type {Settings} */
const DEFAULTS = {
  name: '',
  camera: '',
  microphone: '',
  speaker: '',
  cameraOn: true,
  microphoneOn: true,
  shortcuts: true,
  language: '',
  sounds: true,
  view: 'auto',
  corner: 'bottom-right',
  selfHidden: false,
};

/** @returns {Settings} */
export function loadSettings() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    const settings = { ...DEFAULTS };
    for (const key of /** @type {(keyof Settings)[]} */ (Object.keys(DEFAULTS))) {
      if (typeof stored[key] === typeof DEFAULTS[key]) Object.assign(settings, { [key]: stored[key] });
    }
    return settings;
  } catch {
    return { ...DEFAULTS }; // storage is switched off, or holds something else
  }
}

/** @param {Settings} settings */
export function saveSettings(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Storage is full or switched off: the visit works all the same.
  }
}

const FIRST = [
  'amber',
  'calm',
  'clear',
  'early',
  'gentle',
  'golden',
  'green',
  'kind',
  'light',
  'quiet',
  'silver',
  'warm',
];
const SECOND = [
  'birch',
  'brook',
  'cedar',
  'field',
  'harbor',
  'lake',
  'maple',
  'meadow',
  'orchard',
  'river',
  'shore',
  'willow',
];

/** A name that is easy to say and hard to guess. @param {(size: number) => Uint32Array} random */
export function suggestRoom(random = (size) => crypto.getRandomValues(new Uint32Array(size))) {
  const [first, second, third] = random(3);
  return `${FIRST[first % FIRST.length]}-${SECOND[second % SECOND.length]}-${(third % 46656).toString(36).padStart(3, '0')}`;
}

/**
 * @param {string} search  of the page's address
 * @param {string} fragment  what no server is told, and so where a token belongs
 */
export function readAddress(search, fragment = '') {
  const query = new URLSearchParams(search);
  const asked = query.get('room') ?? '';
  const room = roomToWire(asked);
  return {
    room,
    unreadable: Boolean(asked.trim()) && !room,
    name: shorten(query.get('name') ?? '', NAME_MAX),
    token: new URLSearchParams(fragment.slice(1)).get('token') ?? query.get('token') ?? undefined,
    join: query.get('join') === '1',
    relay: query.get('relay') === '1',
    turn: query.get('turn') === '1',
  };
}

/** The same address without a token: it is a secret, and addresses are shown, kept and passed on. @param {string} search */
export function withoutToken(search) {
  const query = new URLSearchParams(search);
  query.delete('token');
  return query.size ? `?${query}` : '';
}

const TOKEN = 'tandem-token'; // in sessionStorage: a reload in this tab still has it

/** @param {string} room @param {string | undefined} token */
export function keepToken(room, token) {
  try {
    if (token) sessionStorage.setItem(TOKEN, JSON.stringify({ room, token }));
  } catch {
    // Storage is switched off: after a reload the link is needed again.
  }
}

const IN_CALL = 'tandem-in-call'; // in sessionStorage: a reload comes straight back
const COME_BACK_WITHIN = 60_000; // ms: a reload takes seconds; a tab that is opened again much later asks first

/** The page goes away in mid-call. @param {string} room @param {number} wall  ms since the epoch */
export function keepCall(room, wall) {
  try {
    sessionStorage.setItem(IN_CALL, JSON.stringify({ room, wall }));
  } catch {
    // Storage is switched off: a reload asks first.
  }
}

/** The room whose call this tab was in a moment ago, once: a copy of the tab is no second participant. @param {number} wall */
export function takeCall(wall) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(IN_CALL) ?? '{}');
    sessionStorage.removeItem(IN_CALL);
    return typeof kept.room === 'string' && Math.abs(wall - kept.wall) < COME_BACK_WITHIN ? kept.room : '';
  } catch {
    return '';
  }
}

/** The token that was kept for a room. @param {string} room @returns {string | undefined} */
export function keptToken(room) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(TOKEN) ?? '{}');
    return kept.room === room && typeof kept.token === 'string' ? kept.token : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the page's address leads others to nobody but themselves. */
export function isOnlyHere() {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(location.hostname);
}

/**
 * The address that brings someone else into the room.
 * @param {string} room @param {string} [token]  an invitation, where one is needed
 */
export function inviteLink(room, token) {
  const fragment = token ? `#${new URLSearchParams({ token })}` : '';
  return `${location.origin}${location.pathname}?room=${encodeURIComponent(roomToText(room))}${fragment}`;
}
