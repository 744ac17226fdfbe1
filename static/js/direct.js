/**
 * A pair that wants a direct connection: opens it, restarts it when it fails, and reports when
 * there is none within 8 seconds, or none any more. Knows no DOM and no socket.
 */

import { OPEN_AFTER, Peer, cameraLimits } from './peer.js';

/** @typedef {import('./messages.js').Source} Source */
/** @typedef {import('./peer.js').Signal} Signal */

const CONNECT_WITHIN = 8_000; // ms, by the protocol; then the pair goes through the relay
const RESTART_AFTER = 2_000; // ms of "disconnected": shorter losses heal by themselves
const ABANDON_AFTER = 5_000; // ms of "disconnected" when nothing can be negotiated any more
const RESTART_SECOND = 500; // ms that the elder leaves to the other side, which has noticed the same
const RETRY_EVERY = 8_000; // ms between attempts while there is nothing else

export class Direct {
  /** Whether the room still wants this pair direct; if not, its end is nothing to report. */
  expected = true;
  connected = false;
  #reachable = true;
  /** Nothing can be negotiated any more: what is lost once is lost. */ #abandoned = false;
  #everConnected = false;
  /** @type {any} */ #deadline = null;
  /** @type {any} */ #restartTimer = null;
  /** @type {any} */ #openTimer = null;

  /**
   * @param {object} options
   * @param {boolean} options.polite
   * @param {RTCConfiguration} options.ice
   * @param {(signal: Signal) => void} options.signal
   * @param {() => void} options.onTracks
   * @param {(flow: 'none' | 'waiting') => void} options.onFlow
   * @param {(reason: string) => void} options.onFailed
   */
  constructor({ polite, ice, signal, onTracks, onFlow, onFailed }) {
    this.onFlow = onFlow;
    this.onFailed = onFailed;
    this.peer = new Peer({ polite, ice, signal, onTracks, onState: (state) => this.#onState(state) });
    this.polite = polite;
  }

  get pc() {
    return this.peer.pc;
  }

  /** Whoever came later opens; the elder waits, though not for ever. */
  start() {
    if (this.polite) this.peer.begin();
    else this.#openTimer = setTimeout(() => this.peer.begin(), OPEN_AFTER);
    this.#expectConnection(CONNECT_WITHIN);
  }

  /** @param {Source} source @param {MediaStreamTrack | null} track @param {MediaStream} stream */
  setSource(source, track, stream) {
    this.peer.setSource(source, track, stream);
  }

  /** How many others the camera goes to. @param {number} peers */
  setPeers(peers) {
    if (peers === this.peers) return;
    this.peers = peers;
    this.peer.setLimits(cameraLimits(peers));
  }

  /** @type {number | undefined} */ peers;

  /** Without the hub nothing can be negotiated, so nothing is given up either. @param {boolean} reachable */
  setReachable(reachable) {
    if (reachable === this.#reachable) return;
    this.#reachable = reachable;
    clearTimeout(this.#deadline);
    if (reachable && !this.connected) {
      if (this.#everConnected) this.peer.restart();
      this.#expectConnection(CONNECT_WITHIN);
    }
  }

  /** The hub has given the other side up, and their media still flow. */
  abandon() {
    this.#abandoned = true;
    this.expected = false;
    this.setReachable(false);
    for (const { transport } of this.pc.getReceivers()) {
      // The other side's goodbye, which the connection's own state tells half a minute later.
      transport?.addEventListener('statechange', () => {
        if (transport.state === 'closed') this.onFlow('none');
      });
    }
    if (this.pc.connectionState !== 'connected') this.#onState(this.pc.connectionState);
  }

  /** @param {Signal} message */
  receive(message) {
    clearTimeout(this.#openTimer);
    this.peer.receive(message);
  }

  /**
   * What arrives, by source. Other clients say nothing about a screen: theirs is the second picture.
   * @param {string | null} screen  the id of the stream with the screen, if it is known
   */
  tracks(screen) {
    /** @type {Partial<Record<Source, {track: MediaStreamTrack, receiver: RTCRtpReceiver}>>} */
    const tracks = {};
    for (const { kind, track, stream, receiver } of this.peer.incoming.values()) {
      const ofScreen = screen !== null && stream === screen;
      /** @type {Source} */
      const source = kind === 'video' ? (ofScreen ? 'screen' : 'camera') : ofScreen ? 'screen-audio' : 'microphone';
      tracks[source] ??= { track, receiver };
    }
    return tracks;
  }

  close() {
    for (const timer of [this.#deadline, this.#restartTimer, this.#openTimer]) clearTimeout(timer);
    this.peer.close();
  }

  /** @param {RTCPeerConnectionState} state */
  #onState(state) {
    clearTimeout(this.#restartTimer);
    if (state === 'connected') {
      clearTimeout(this.#deadline);
      this.connected = this.#everConnected = true;
      if (!this.#abandoned) this.onFlow('waiting');
    } else if (state === 'failed' || state === 'disconnected') {
      if (this.connected) this.#expectConnection(CONNECT_WITHIN);
      this.connected = false;
      if (state === 'failed') this.onFlow('none');
      else if (this.#abandoned) {
        this.#restartTimer = setTimeout(() => this.onFlow('none'), ABANDON_AFTER);
        return;
      }
      this.#restartTimer = setTimeout(() => this.#restart(), state === 'failed' ? 0 : RESTART_AFTER);
    }
  }

  /** The way is broken, or another one: who came later finds a new one, or the elder if they do not. */
  restart() {
    clearTimeout(this.#restartTimer);
    if (this.connected) this.#expectConnection(CONNECT_WITHIN);
    this.connected = false;
    this.#restartTimer = setTimeout(() => this.#restart(), this.polite ? 0 : RESTART_SECOND);
  }

  #restart() {
    if (this.expected && this.#reachable) this.peer.restart();
  }

  /** @param {number} within */
  #expectConnection(within) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => {
      if (!this.expected || !this.#reachable || this.connected) return;
      this.onFailed(this.#everConnected ? 'connection-lost' : 'ice-failed');
      // Where there is no relay, the pair goes on trying.
      this.#restart();
      this.#expectConnection(RETRY_EVERY);
    }, within);
  }
}
