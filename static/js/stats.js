/** From getStats reports to the few numbers that people understand. Pure: no DOM, no clock. */

/**
 * @typedef {object} Counters  what one connection's report holds about one participant
 * @property {number} at               ms
 * @property {'' | 'direct' | 'turn' | 'relay'} path
 * @property {number | null} roundTrip ms
 * @property {number} bytesIn
 * @property {number} bytesOut
 * @property {number} packets          received
 * @property {number} lost
 * @property {number} frames           decoded
 * @property {number} width
 * @property {number} height
 */
/**
 * @typedef {object} Sample  one second of it
 * @property {number} at
 * @property {Counters['path']} path
 * @property {number | null} roundTrip  ms
 * @property {number} bitrateIn   kbit/s
 * @property {number} bitrateOut  kbit/s
 * @property {number} loss        percent
 * @property {number} frameRate
 * @property {number} width
 * @property {number} height
 */
/** @typedef {'' | 'good' | 'fair' | 'poor'} Quality */

export const WINDOW = 60; // samples, one a second

/** @param {any} report  an RTCStatsReport @returns {any} the candidate pair in use */
function selectedPair(report) {
  for (const entry of report.values()) {
    if (entry.type === 'transport' && entry.selectedCandidatePairId) return report.get(entry.selectedCandidatePairId);
  }
  for (const entry of report.values()) {
    if (entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') return entry;
  }
  return null;
}

/**
 * @param {any} report  an RTCStatsReport
 * @param {object} options
 * @param {boolean} options.viaRelay      whether the connection leads to the media relay
 * @param {Set<string> | null} [options.tracks]  ids of the receivers' tracks that count; null: all
 * @param {number} options.at
 * @returns {Counters}
 */
export function readReport(report, { viaRelay, tracks = null, at }) {
  const pair = selectedPair(report);
  const candidates = pair ? [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)] : [];
  const turn = candidates.some((one) => one?.candidateType === 'relay');
  /** @type {Counters} */
  const counters = {
    at,
    path: viaRelay ? 'relay' : pair ? (turn ? 'turn' : 'direct') : '',
    roundTrip: typeof pair?.currentRoundTripTime === 'number' ? 1000 * pair.currentRoundTripTime : null,
    bytesIn: 0,
    bytesOut: 0,
    packets: 0,
    lost: 0,
    frames: 0,
    width: 0,
    height: 0,
  };
  for (const entry of report.values()) {
    if (entry.type === 'outbound-rtp') counters.bytesOut += entry.bytesSent ?? 0;
    if (entry.type !== 'inbound-rtp' || (tracks && !tracks.has(entry.trackIdentifier))) continue;
    counters.bytesIn += entry.bytesReceived ?? 0;
    counters.packets += entry.packetsReceived ?? 0;
    counters.lost += Math.max(0, entry.packetsLost ?? 0);
    counters.frames += entry.framesDecoded ?? 0;
    if ((entry.frameHeight ?? 0) > counters.height)
      [counters.width, counters.height] = [entry.frameWidth, entry.frameHeight];
  }
  return counters;
}

/** @param {Counters} before @param {Counters} now @returns {Sample} */
export function difference(before, now) {
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  /** Counters start anew when a connection does. @param {'bytesIn' | 'bytesOut' | 'packets' | 'lost' | 'frames'} key */
  const grown = (key) => Math.max(0, now[key] - before[key]);
  const expected = grown('packets') + grown('lost');
  return {
    at: now.at,
    path: now.path,
    roundTrip: now.roundTrip,
    bitrateIn: (grown('bytesIn') * 8) / 1000 / seconds,
    bitrateOut: (grown('bytesOut') * 8) / 1000 / seconds,
    loss: expected > 0 ? (100 * grown('lost')) / expected : 0,
    frameRate: grown('frames') / seconds,
    width: now.width,
    height: now.height,
  };
}

/** How well it goes, from the last few seconds. @param {Sample[]} samples @returns {Quality} */
export function quality(samples) {
  const recent = samples.slice(-4);
  if (recent.length === 0 || recent.every((one) => one.path === '')) return '';
  const loss = recent.reduce((sum, one) => sum + one.loss, 0) / recent.length;
  const roundTrip = Math.max(...recent.map((one) => one.roundTrip ?? 0));
  if (loss > 8 || roundTrip > 600) return 'poor';
  if (loss > 2 || roundTrip > 250) return 'fair';
  return 'good';
}

export class History {
  /** @type {Map<string, Sample[]>} */ samples = new Map();
  /** @type {Map<string, Counters>} */ #last = new Map();

  /** @param {string} participant @param {Counters} counters */
  add(participant, counters) {
    const before = this.#last.get(participant);
    this.#last.set(participant, counters);
    if (!before || before.path !== counters.path) return;
    const samples = this.samples.get(participant) ?? [];
    samples.push(difference(before, counters));
    this.samples.set(participant, samples.slice(-WINDOW));
  }

  /** @param {string} participant */
  of(participant) {
    return this.samples.get(participant) ?? [];
  }

  /** Forgets everyone who is not there any more. @param {Set<string>} present */
  keep(present) {
    for (const id of [...this.#last.keys()]) {
      if (present.has(id)) continue;
      this.#last.delete(id);
      this.samples.delete(id);
    }
  }
}
