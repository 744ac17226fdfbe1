/** Looks on each path that has just been opened whether media has arrived. Knows no DOM and no socket. */

import { cameraOn } from './room.js';

/** @typedef {import('./room.js').ParticipantState} ParticipantState */
/** @typedef {import('./connections.js').Connections} Connections */
/** @typedef {import('./connections.js').Path} Path */
/** @typedef {import('./connections.js').Tracks} Tracks */

const PATIENCE = 6_000; // ms after which a path counts as flowing though nobody sends on it (all muted)

export class FlowWatch {
  /** When each path was first looked at. @type {Map<string, number>} */ #since = new Map();

  /**
   * @param {object} options
   * @param {Connections} options.connections
   * @param {(participant: string, path: Path) => void} options.onFlowing
   */
  constructor({ connections, onFlowing }) {
    this.connections = connections;
    this.onFlowing = onFlowing;
  }

  /** @param {ParticipantState[]} participants @param {number} now  ms */
  async look(participants, now) {
    for (const one of participants) {
      for (const path of /** @type {const} */ (['p2p', 'relay'])) {
        if (one[path] !== 'flowing') await this.#lookAt(one, path, now);
      }
    }
  }

  /** What a path showed before is over. @param {string} participant @param {Path} path */
  forget(participant, path) {
    this.#since.delete(`${participant} ${path}`);
  }

  clear() {
    this.#since.clear();
  }

  /** @param {ParticipantState} one @param {Path} path @param {number} now */
  async #lookAt(one, path, now) {
    const tracks = this.connections.received(one.id, path);
    const connected = path === 'relay' || this.connections.direct.get(one.id)?.connected;
    if (Object.keys(tracks).length === 0 || !connected) return;
    const key = `${one.id} ${path}`;
    const since = this.#since.get(key) ?? now;
    this.#since.set(key, since);
    if ((await haveArrived(tracks, cameraOn(one))) || now - since > PATIENCE) this.onFlowing(one.id, path);
  }
}

/**
 * Whether there is something to see, or, where nobody shows anything, something to hear.
 * @param {Tracks} tracks @param {boolean} picture  whether a picture of the camera is to be expected
 */
async function haveArrived({ camera, microphone, screen }, picture) {
  const awaited = picture ? camera : (microphone ?? screen);
  const report = await awaited?.receiver.getStats().catch(() => null);
  for (const entry of report?.values() ?? []) {
    if (entry.type !== 'inbound-rtp') continue;
    if (picture ? entry.framesDecoded > 0 : entry.packetsReceived > 0) return true;
  }
  return false;
}
