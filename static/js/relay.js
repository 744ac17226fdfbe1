/**
 * The two peer connections to the media relay: `Publisher` offers what this side sends,
 * `Subscriber` answers the relay's offers. Knows no DOM and no socket.
 *
 * The relay is ICE-lite with its candidates in its SDP, so none are trickled either way.
 */

import { ActiveLayers, encodingsOf } from './adaptive.js';
import { describe } from './stereo.js';
import { takeCertificate } from './warmup.js';

/** @typedef {import('./messages.js').Source} Source */
/** @typedef {import('./messages.js').SlotTrack} SlotTrack */

const RETRY = 1_500; // ms before a refused or failed negotiation is tried again
const LOST_AFTER = 3_000; // ms that "disconnected" may last: short losses heal by themselves

/** What to leave out, one after the other, where not all of it may be published. @type {Source[][]} */
const LEFT_OUT_FIRST = [['screen', 'screen-audio'], ['camera'], ['microphone']];

export class Publisher {
  /** @type {Map<Source, RTCRtpTransceiver>} */ lines = new Map();
  /** @type {Map<Source, {track: MediaStreamTrack | null, stream: MediaStream}>} */ #outgoing = new Map();
  #layers = new ActiveLayers();
  #busy = false;
  #wanted = false;
  #closed = false;
  /** @type {Set<Source>} */ #forbidden = new Set();
  /** What the relay calls the connection, in `o=`. */ #session = '';
  /** @type {any} */ #timer = null;

  /**
   * @param {object} options
   * @param {RTCConfiguration} options.ice
   * @param {(sdp: string, tracks: {mid: string, source: Source}[]) => Promise<string>} options.exchange
   *   sends the offer and resolves with the relay's answer
   * @param {(state: RTCPeerConnectionState) => void} options.onState
   * @param {() => void} options.onForgotten
   *   the relay has given this connection up meanwhile: only a new one can be heard there
   */
  constructor({ ice, exchange, onState, onForgotten }) {
    this.exchange = exchange;
    this.onForgotten = onForgotten;
    const pc = new RTCPeerConnection({ ...ice, bundlePolicy: 'max-bundle', ...takeCertificate() });
    this.pc = pc;
    pc.onnegotiationneeded = () => this.#negotiate();
    pc.onconnectionstatechange = () => {
      clearTimeout(this.#timer);
      if (pc.connectionState === 'failed') this.restart();
      if (pc.connectionState === 'disconnected') this.#timer = setTimeout(() => this.restart(), LOST_AFTER);
      onState(pc.connectionState);
    };
  }

  /**
   * Publishes `track` as `source` from now on. A camera or microphone that is off keeps its line.
   * @param {Source} source @param {MediaStreamTrack | null} track @param {MediaStream} stream
   */
  setSource(source, track, stream) {
    this.#outgoing.set(source, { track, stream });
    if (this.#forbidden.has(source)) return;
    const line = this.lines.get(source);
    if (line) {
      line.sender.replaceTrack(track).catch(() => {});
      if (source.startsWith('screen')) line.direction = track ? 'sendonly' : 'inactive';
    } else if (track) {
      const sendEncodings = encodingsOf(source, track.getSettings?.().height);
      this.lines.set(
        source,
        this.pc.addTransceiver(track, {
          direction: 'sendonly',
          streams: [stream],
          ...(sendEncodings && { sendEncodings }),
        }),
      );
    }
  }

  /** Sends a source in these layers only. @param {Source} source @param {string[]} rids */
  setLayers(source, rids) {
    const line = this.lines.get(source);
    if (line && !this.#closed) this.#layers.set(line.sender, rids);
  }

  restart() {
    if (!this.#closed) this.pc.restartIce();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.pc.onnegotiationneeded = this.pc.onconnectionstatechange = null;
    this.pc.close();
  }

  /** One offer at a time; what comes up meanwhile is in the next. */
  async #negotiate() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted && !this.#closed) {
      this.#wanted = false;
      try {
        await describe(this.pc);
        const sdp = /** @type {RTCSessionDescription} */ (this.pc.localDescription).sdp;
        const answer = await this.exchange(sdp, this.#tracks());
        if (this.#closed) break;
        const session = sessionOf(answer);
        if (this.#session && session !== this.#session) return this.onForgotten();
        this.#session = session;
        await this.pc.setRemoteDescription({ type: 'answer', sdp: answer });
      } catch (error) {
        if (this.#closed) break;
        console.info('publishing:', /** @type {Error} */ (error).message);
        if (this.pc.signalingState === 'have-local-offer') await this.pc.setLocalDescription({ type: 'rollback' });
        if (/** @type {{code?: string}} */ (error).code === 'forbidden') {
          this.#wanted = this.#leaveOut();
          continue;
        }
        await new Promise((resolve) => {
          setTimeout(resolve, RETRY);
        });
        this.#wanted = true;
      }
    }
    this.#busy = false;
  }

  /** The hub does not say which source it refuses, and refuses the others with it. @returns {boolean} whether one is left */
  #leaveOut() {
    const sending = (/** @type {Source} */ source) => this.lines.get(source)?.direction === 'sendonly';
    const sources = LEFT_OUT_FIRST.find((some) => some.some(sending)) ?? [];
    for (const source of sources) {
      this.#forbidden.add(source);
      const line = this.lines.get(source);
      if (!line) continue;
      line.direction = 'inactive';
      line.sender.replaceTrack(null).catch(() => {});
    }
    return [...this.lines.keys()].some(sending);
  }

  #tracks() {
    const tracks = [];
    for (const [source, line] of this.lines) {
      if (line.mid !== null && line.direction === 'sendonly') tracks.push({ mid: line.mid, source });
    }
    return tracks;
  }
}

export class Subscriber {
  /** What each m-line carries now, by mid. @type {Map<string, SlotTrack>} */ slots = new Map();
  /** @type {RTCPeerConnection | null} */ pc = null;
  /** What the relay calls the connection, in `o=`. */ #session = '';
  /** How many offers have come: only the newest counts. */ #offers = 0;
  /** @type {Promise<void>} */ #inbox = Promise.resolve();
  /** @type {any} */ #timer = null;

  /**
   * @param {object} options
   * @param {() => RTCConfiguration} options.ice
   * @param {(sdp: string) => void} options.answer
   * @param {() => void} options.requestRestart  asks the relay for an offer with a new ICE session
   * @param {() => void} options.onTracks
   */
  constructor({ ice, answer, requestRestart, onTracks }) {
    this.ice = ice;
    this.answer = answer;
    this.requestRestart = requestRestart;
    this.onTracks = onTracks;
  }

  /** Takes the relay's offer. @param {string} sdp @param {SlotTrack[]} tracks @returns {Promise<void>} */
  receiveOffer(sdp, tracks) {
    const number = ++this.#offers;
    this.#inbox = this.#inbox
      .then(async () => {
        if (number !== this.#offers) return;
        const session = sessionOf(sdp);
        // The relay began anew: it lost us, or our last goodbye crossed its last offer.
        if (session !== this.#session) this.#end();
        this.#session = session;
        const pc = this.pc ?? this.#open();
        await pc.setRemoteDescription({ type: 'offer', sdp });
        await describe(pc);
        // Closed meanwhile, or the relay has begun anew: it would take this answer for the newer offer's.
        if (pc !== this.pc || number !== this.#offers) return;
        this.answer(/** @type {RTCSessionDescription} */ (pc.localDescription).sdp);
        if (pc.connectionState === 'disconnected' || pc.connectionState === 'failed') this.#askAgain(2 * LOST_AFTER);
        this.slots = new Map(tracks.map((slot) => [slot.mid, slot]));
        this.onTracks();
      })
      .catch((error) => console.warn('subscribing:', error.message));
    return this.#inbox;
  }

  /** The receiver of a published track. @param {string} track @returns {RTCRtpReceiver | null} */
  receiverOf(track) {
    for (const line of this.pc?.getTransceivers() ?? []) {
      if (line.mid !== null && this.slots.get(line.mid)?.track === track) return line.receiver;
    }
    return null;
  }

  /** The way to the relay is broken, or another one: have it offer anew at once. */
  restart() {
    if (!this.pc) return;
    clearTimeout(this.#timer);
    this.#askAgain(0);
  }

  close() {
    this.#offers += 1; // none that still waits is taken
    this.#end();
  }

  #end() {
    clearTimeout(this.#timer);
    this.slots.clear();
    if (!this.pc) return;
    this.pc.onconnectionstatechange = null;
    this.pc.close();
    this.pc = null;
  }

  #open() {
    const pc = new RTCPeerConnection({ ...this.ice(), bundlePolicy: 'max-bundle', ...takeCertificate() });
    this.pc = pc;
    pc.onconnectionstatechange = () => {
      clearTimeout(this.#timer);
      const failed = pc.connectionState === 'failed';
      if (failed || pc.connectionState === 'disconnected') this.#askAgain(failed ? 0 : LOST_AFTER);
    };
    return pc;
  }

  /** @param {number} wait */
  #askAgain(wait) {
    this.#timer = setTimeout(() => {
      this.requestRestart();
      this.#askAgain(2 * LOST_AFTER);
    }, wait);
  }
}

/** What the relay calls a connection. @param {string} sdp */
const sessionOf = (sdp) => sdp.match(/^o=\S+ (\S+)/m)?.[1] ?? '';
