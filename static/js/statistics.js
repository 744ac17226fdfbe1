/** Asks the connections for their counters and keeps the last minute of them. Knows no DOM and no socket. */

import { routes } from './routes.js';
import { History, readReport } from './stats.js';

/** @typedef {import('./connections.js').Connections} Connections */

export class Statistics {
  history = new History();
  #measuring = false;

  /** @param {Connections} connections */
  constructor(connections) {
    this.connections = connections;
  }

  /** The counters of each connection, by participant. @param {import('./room.js').State} state @param {number} at  ms */
  async measure(state, at) {
    if (this.#measuring) return;
    this.#measuring = true;
    const { publisher, subscriber } = this.connections;
    const shown = routes(state).show;
    const [subscribed, published] = await Promise.all([reportOf(subscriber?.pc), reportOf(publisher?.pc)]);
    for (const { id } of state.participants) {
      if (shown.get(id) === 'relay') this.#add(id, subscribed, published, at);
      else {
        const report = await reportOf(this.connections.direct.get(id)?.pc);
        if (report) this.history.add(id, readReport(report, { viaRelay: false, at }));
      }
    }
    this.history.keep(new Set(state.participants.map(({ id }) => id)));
    this.#measuring = false;
  }

  /**
   * @param {string} id @param {RTCStatsReport | null} subscribed @param {RTCStatsReport | null} published
   * @param {number} at
   */
  #add(id, subscribed, published, at) {
    if (!subscribed) return;
    const tracks = new Set(Object.values(this.connections.received(id, 'relay')).map(({ track }) => track.id));
    const counters = readReport(subscribed, { viaRelay: true, tracks, at });
    if (published) counters.bytesOut = readReport(published, { viaRelay: true, at }).bytesOut;
    this.history.add(id, counters);
  }
}

/** @param {RTCPeerConnection | null | undefined} pc @returns {Promise<RTCStatsReport | null>} */
async function reportOf(pc) {
  return (await pc?.getStats().catch(() => null)) ?? null;
}
