/**
 * One RTCPeerConnection to one other participant, by the perfect-negotiation pattern of the
 * WebRTC specification (section 10.7). Knows no DOM and no socket: `signal` carries messages out,
 * `receive` takes them in.
 *
 * The side that joined later opens with one audio and one video line, and the other answers on
 * the same lines, so a pair has two lines and not four. Turning a device on or off replaces the
 * track behind a line and needs no negotiation; a shared screen adds lines of its own.
 */

import { describe } from './stereo.js';
import { takeCertificate } from './warmup.js';

/** @typedef {import('./messages.js').Source} Source */
/** @typedef {{track: MediaStreamTrack | null, stream: MediaStream}} Outgoing */
/** @typedef {{mid: string, kind: string, track: MediaStreamTrack, stream: string | null, receiver: RTCRtpReceiver}} Incoming */
/** @typedef {{type: 'offer' | 'answer', sdp: string} | {type: 'candidate', candidate: RTCIceCandidateInit | null}} Signal */
/** @typedef {{maxBitrate: number, scale: number, frameRate: number}} Limits */

/** How long the elder waits for the newcomer's offer before it opens itself (ms). */
export const OPEN_AFTER = 2_000;
/** The lines that a pair always has; a screen's come and go. @type {Source[]} */
const ALWAYS = ['microphone', 'camera'];
const SCREEN_LIMITS = { maxBitrate: 2_500_000, scale: 1, frameRate: 15 };

/** @param {Source} source */
export const kindOf = (source) => (source === 'camera' || source === 'screen' ? 'video' : 'audio');

/**
 * What a camera may send to each of `peers` others, who each get an encoding of their own.
 * @param {number} peers @returns {Limits}
 */
export function cameraLimits(peers) {
  if (peers <= 1) return { maxBitrate: 1_700_000, scale: 1, frameRate: 30 };
  if (peers === 2) return { maxBitrate: 1_000_000, scale: 1.5, frameRate: 30 };
  return { maxBitrate: 600_000, scale: 2, frameRate: 24 };
}

/** @param {RTCRtpSender} sender @param {Limits} limits */
export async function applyLimits(sender, limits) {
  const parameters = sender.getParameters();
  if (!parameters.encodings?.length) return;
  for (const encoding of parameters.encodings) {
    encoding.maxBitrate = limits.maxBitrate;
    encoding.scaleResolutionDownBy = limits.scale;
    encoding.maxFramerate = limits.frameRate;
  }
  await sender.setParameters(parameters).catch(() => {}); // closed meanwhile, or refused: the defaults do
}

export class Peer {
  /** Lines in use by source. @type {Map<Source, RTCRtpTransceiver>} */
  lines = new Map();
  /** Lines that the other side sends on, by mid. @type {Map<string, Incoming>} */
  incoming = new Map();

  /** @type {Map<Source, Outgoing>} */ #outgoing = new Map();
  /** @type {Limits} */ #limits = cameraLimits(1);
  /** @type {Promise<void>} */ #inbox = Promise.resolve();
  #begun = false;
  #makingOffer = false;
  #ignoreOffer = false;
  #settingAnswer = false;
  #closed = false;

  /**
   * @param {object} options
   * @param {boolean} options.polite  whether this side joined later: it opens, and yields
   * @param {RTCConfiguration} options.ice
   * @param {(signal: Signal) => void} options.signal
   * @param {() => void} options.onTracks
   * @param {(state: RTCPeerConnectionState) => void} options.onState
   */
  constructor({ polite, ice, signal, onTracks, onState }) {
    this.polite = polite;
    this.signal = signal;
    this.onTracks = onTracks;
    const pc = new RTCPeerConnection({ ...ice, bundlePolicy: 'max-bundle', ...takeCertificate() });
    this.pc = pc;
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate || candidate.candidate) signal({ type: 'candidate', candidate: candidate?.toJSON() ?? null });
    };
    pc.onconnectionstatechange = () => onState(pc.connectionState);
    pc.ontrack = ({ track, transceiver, streams, receiver }) => {
      const mid = /** @type {string} */ (transceiver.mid);
      this.incoming.set(mid, { mid, kind: track.kind, track, stream: streams[0]?.id ?? null, receiver });
      track.onmute = track.onunmute = track.onended = onTracks;
      onTracks();
    };
  }

  /** Opens with the two lines that every pair has. */
  begin() {
    if (this.#begun || this.#closed) return;
    this.#begun = true;
    for (const source of ALWAYS) this.#addLine(source);
    this.#fillLines();
  }

  /**
   * Sends `track` as `source` from now on; null sends nothing.
   * @param {Source} source @param {MediaStreamTrack | null} track @param {MediaStream} stream
   */
  setSource(source, track, stream) {
    this.#outgoing.set(source, { track, stream });
    if (this.#begun) this.#fillLines();
  }

  /** @param {Limits} limits */
  setLimits(limits) {
    this.#limits = limits;
    const camera = this.lines.get('camera');
    if (camera) applyLimits(camera.sender, limits);
  }

  /** Messages are taken one after the other. @param {Signal} message @returns {Promise<void>} */
  receive(message) {
    this.#inbox = this.#inbox
      .then(() => this.#take(message))
      .catch((error) => {
        if (!this.#closed && !this.#ignoreOffer) console.warn('negotiation:', error.message);
      });
    return this.#inbox;
  }

  /**
   * Whether an offer comes from another connection than the one this is with: the other side made
   * its own anew, and what is closed over there cannot be used again here.
   * @param {string} sdp
   */
  isAnother(sdp) {
    const known = fingerprints(this.pc.currentRemoteDescription?.sdp ?? '');
    return known.length > 0 && !fingerprints(sdp).some((one) => known.includes(one));
  }

  restart() {
    this.begin();
    if (!this.#closed) this.pc.restartIce();
  }

  close() {
    this.#closed = true;
    for (const { track } of this.incoming.values()) track.onmute = track.onunmute = track.onended = null;
    this.pc.onconnectionstatechange = this.pc.ontrack = this.pc.onnegotiationneeded = this.pc.onicecandidate = null;
    this.pc.close();
  }

  async #offer() {
    if (this.#closed) return;
    try {
      this.#makingOffer = true;
      await describe(this.pc);
      this.#signalLocal();
    } catch (error) {
      if (!this.#closed) console.warn('offer:', /** @type {Error} */ (error).message);
    } finally {
      this.#makingOffer = false;
    }
  }

  #signalLocal() {
    const local = this.pc.localDescription;
    if (local && !this.#closed) this.signal({ type: /** @type {'offer'} */ (local.type), sdp: local.sdp });
  }

  /** @param {Signal} message */
  async #take(message) {
    if (this.#closed) return;
    if (message.type === 'candidate') {
      if (message.candidate) await this.pc.addIceCandidate(message.candidate);
      return;
    }
    const ready = !this.#makingOffer && (this.pc.signalingState === 'stable' || this.#settingAnswer);
    this.#ignoreOffer = !this.polite && message.type === 'offer' && !ready;
    if (this.#ignoreOffer) return;
    this.#settingAnswer = message.type === 'answer';
    try {
      await this.pc.setRemoteDescription(message);
    } finally {
      this.#settingAnswer = false; // also after a refused one, or an offer would be taken in the midst of ours
    }
    if (message.type !== 'offer') return;
    this.#adoptLines();
    await describe(this.pc);
    this.#signalLocal();
    this.#fillLines();
  }

  /** Takes over the lines that the other side opened, so that each carries media both ways. */
  #adoptLines() {
    this.#begun = true;
    for (const source of ALWAYS) {
      const own = this.lines.get(source);
      if (own?.mid) continue;
      const used = new Set(this.lines.values());
      const offered = this.pc
        .getTransceivers()
        .find(
          (line) =>
            line.mid !== null &&
            !used.has(line) &&
            line.receiver.track.kind === kindOf(source) &&
            line.currentDirection !== 'stopped',
        );
      if (!offered) continue;
      own?.stop(); // ours lost the collision and was never negotiated
      offered.direction = 'sendrecv';
      this.lines.set(source, offered);
      this.#fill(source, offered);
    }
  }

  #fillLines() {
    if (this.#closed) return;
    for (const [source, { track }] of this.#outgoing) {
      const line = this.lines.get(source);
      if (line) this.#fill(source, line);
      else if (track) this.#addLine(source);
    }
  }

  /** @param {Source} source @param {RTCRtpTransceiver} line */
  #fill(source, line) {
    const outgoing = this.#outgoing.get(source);
    if (!outgoing) return;
    if (line.sender.track !== outgoing.track) line.sender.replaceTrack(outgoing.track).catch(() => {});
    line.sender.setStreams?.(outgoing.stream);
    if (!ALWAYS.includes(source)) line.direction = outgoing.track ? 'sendonly' : 'inactive';
    if (source === 'camera') applyLimits(line.sender, this.#limits);
  }

  /** @param {Source} source */
  #addLine(source) {
    const outgoing = this.#outgoing.get(source);
    const limits = source === 'camera' ? this.#limits : SCREEN_LIMITS;
    /** @type {RTCRtpTransceiverInit} */
    const init = {
      direction: ALWAYS.includes(source) ? 'sendrecv' : 'sendonly',
      streams: outgoing ? [outgoing.stream] : [],
    };
    if (kindOf(source) === 'video') {
      init.sendEncodings = [
        { maxBitrate: limits.maxBitrate, scaleResolutionDownBy: limits.scale, maxFramerate: limits.frameRate },
      ];
    }
    this.lines.set(source, this.pc.addTransceiver(outgoing?.track ?? kindOf(source), init));
  }
}

/** Of the certificates that a description names. @param {string} sdp */
function fingerprints(sdp) {
  return (sdp.match(/^a=fingerprint:\S+ \S+/gim) ?? []).map((line) => line.toLowerCase());
}
