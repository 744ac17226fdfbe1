/**
 * Pictures that fit everybody's line, on this side: a camera is sent to the relay in several sizes,
 * of those only what somebody takes, and the relay is told how large each picture is shown. Knows no
 * DOM and no socket.
 */

/** @typedef {import('./room.js').State} State */
/** @typedef {import('./messages.js').Preference} Preference */
/** @typedef {import('./messages.js').Source} Source */
/** @typedef {{width: number, height: number}} Size  in device pixels; 0 is not shown */

/** A camera's sizes, the smallest first, as browsers want them. */
const LAYERS = [
  { rid: 'q', scaleResolutionDownBy: 4 },
  { rid: 'h', scaleResolutionDownBy: 2 },
  { rid: 'f', scaleResolutionDownBy: 1 },
];
const FRAME_RATE = 30;
const SMALLEST = 160; // px of height: what is smaller is worth no layer of its own
/** What a picture of so many px in height may cost at most. */
const BITRATES = [
  { height: 540, maxBitrate: 1_500_000 },
  { height: 400, maxBitrate: 800_000 },
  { height: 300, maxBitrate: 500_000 },
  { height: 200, maxBitrate: 220_000 },
  { height: 0, maxBitrate: 150_000 },
];
const SCREEN = { maxBitrate: 2_500_000, maxFramerate: 15 };
const STEADY = 0.1; // the share by which a tile may change without being told of
const DEBOUNCE = 250; // ms
/** As the protocol has it: 0 is the highest. */
const PRIORITY = { pinned: 0, screen: 1, other: 2 };

/**
 * What a source is sent to the relay in; nothing for sound.
 * @param {Source} source @param {number} [height]  of the camera's picture, where it is known
 * @returns {RTCRtpEncodingParameters[] | undefined}
 */
export function encodingsOf(source, height = 720) {
  if (source === 'screen') return [{ ...SCREEN }];
  if (source !== 'camera') return undefined;
  const layers = LAYERS.map(({ rid, scaleResolutionDownBy }) => ({
    rid,
    scaleResolutionDownBy,
    maxBitrate: BITRATES.find((one) => height / scaleResolutionDownBy >= one.height)?.maxBitrate,
    maxFramerate: FRAME_RATE,
  })).filter(({ scaleResolutionDownBy: scale }) => scale === 1 || height / scale >= SMALLEST);
  if (layers.length > 1) return layers;
  return layers.map(({ maxBitrate, maxFramerate }) => ({ maxBitrate, maxFramerate }));
}

/**
 * Sends only these layers. One change after the other: `setParameters` wants what was read last.
 */
export class ActiveLayers {
  /** @type {Promise<void>} */ #turn = Promise.resolve();

  /** @param {RTCRtpSender} sender @param {string[]} rids @returns {Promise<void>} */
  set(sender, rids) {
    this.#turn = this.#turn.then(async () => {
      const parameters = sender.getParameters();
      let changed = false;
      for (const encoding of parameters.encodings ?? []) {
        const active = encoding.rid === undefined || rids.includes(encoding.rid);
        changed ||= encoding.active !== active;
        encoding.active = active;
      }
      if (changed) await sender.setParameters(parameters).catch(() => {}); // closed meanwhile
    });
    return this.#turn;
  }
}

/**
 * What there is to tell of each track that others publish, given how large tiles are.
 * @param {State} state @param {Map<string, Size>} sizes  by tile id
 * @returns {Preference[]}
 */
export function preferences(state, sizes) {
  return state.participants.flatMap((one) =>
    one.tracks.flatMap(({ id, kind, source }) => {
      if (kind !== 'video') return [];
      const tile = source === 'screen' ? `${one.id}/screen` : one.id;
      const size = sizes.get(tile);
      if (!size) return [];
      const pinned = state.pinned.includes(tile);
      const priority = pinned ? PRIORITY.pinned : source === 'screen' ? PRIORITY.screen : PRIORITY.other;
      return [{ track: id, width: Math.round(size.width), height: Math.round(size.height), priority }];
    }),
  );
}

/** @param {Preference | undefined} before @param {Preference} now */
function isOther(before, now) {
  if (!before || before.priority !== now.priority) return true;
  if ((before.width === 0) !== (now.width === 0)) return true;
  return (
    Math.abs(now.width - before.width) > STEADY * before.width ||
    Math.abs(now.height - before.height) > STEADY * before.height
  );
}

/** Tells the relay what is shown, not more often than it is of use. */
export class Wishes {
  /** What was told, by track. @type {Map<string, Preference>} */ #told = new Map();
  /** @type {Map<string, Size>} */ #sizes = new Map();
  /** @type {any} */ #timer = null;

  /**
   * @param {object} options
   * @param {() => State} options.state
   * @param {(message: {type: 'prefer', tracks: Preference[]}) => void} options.send
   */
  constructor({ state, send }) {
    this.state = state;
    this.send = send;
  }

  /** How large tiles are now. @param {Map<string, Size>} sizes */
  setSizes(sizes) {
    this.#sizes = sizes;
    this.look();
  }

  /** Something may be other than it was told: the room, or what is pinned. */
  look() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#tell();
    }, DEBOUNCE);
  }

  /** The relay knows nothing of us any more. */
  forget() {
    this.#told.clear();
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #tell() {
    const { phase } = this.state();
    if (phase !== 'call') return;
    const now = preferences(this.state(), this.#sizes);
    const changed = now.filter((one) => isOther(this.#told.get(one.track), one));
    this.#told = new Map(now.map((one) => [one.track, this.#told.get(one.track) ?? one]));
    for (const one of changed) this.#told.set(one.track, one);
    if (changed.length) this.send({ type: 'prefer', tracks: changed });
  }
}
