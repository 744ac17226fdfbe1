/**
 * When connections are to be restarted: the network was gone and is back, or is another one. Rules
 * alone: no clock, no socket.
 *
 * Nobody waits for a consent to expire: silence has the hub asked, and its answer shows that the
 * network is there. What stays silent then is restarted, once, until it has been heard again.
 * The same rules are in `signaling/bot/liveness.py`.
 */

const SILENT_AFTER = 1_500; // ms without anything from a connection that usually brings something every second
const PROBE_EVERY = 2_000; // ms between the first two questions to the hub
const PROBE_SELDOM = 30_000; // ms between the last ones, of a silence that goes on
const ANSWER_WITHIN = 1_000; // ms for the hub to answer; later, the network is in trouble
const GRACE = 500; // ms for connections to be heard once the hub has answered
const TALKATIVE = 3; // times that a connection was heard, after which it is expected to go on

/** @typedef {{heardAt: number, times: number}} Watched */

export class Liveness {
  /** @type {Map<string, Watched>} */ #watched = new Map();
  #probedAt = -Infinity;
  #probeEvery = PROBE_EVERY;
  /** @type {number | null} */ #troubleSince = null;
  /** @type {number | null} */ #recoveredAt = null;

  /** Something has come. @param {string} key @param {number} now  ms */
  hear(key, now) {
    const watched = this.#watched.get(key) ?? { heardAt: now, times: 0 };
    this.#watched.set(key, { heardAt: now, times: watched.times + 1 });
  }

  /** The connection is closed, or begins anew. @param {string} key */
  forget(key) {
    this.#watched.delete(key);
  }

  /** Only these are there. @param {Set<string>} keys */
  keep(keys) {
    for (const key of this.#watched.keys()) if (!keys.has(key)) this.#watched.delete(key);
  }

  /** @param {string} key @param {number} now */
  isSilent(key, now) {
    const watched = this.#watched.get(key);
    return watched !== undefined && watched.times >= TALKATIVE && now - watched.heardAt > SILENT_AFTER;
  }

  /** The hub does not answer, or has only just begun to. */
  get inTrouble() {
    return this.#troubleSince !== null || this.#recoveredAt !== null;
  }

  /** The network is another one: nothing that was will be heard again. @param {number} now */
  move(now) {
    this.#troubleSince = now;
  }

  /**
   * What is to be done now.
   * @param {number} now
   * @param {{connected: boolean, heardAt: number}} hub  of which something came last at `heardAt`
   * @returns {{probe: boolean, restart: string[]}}
   */
  check(now, { connected, heardAt }) {
    const silent = [...this.#watched.keys()].filter((key) => this.isSilent(key, now));
    const probe = silent.length > 0 && this.#isTimeToProbe(now);
    if (silent.length === 0) this.#probeEvery = PROBE_EVERY;
    const unanswered = heardAt < this.#probedAt && this.#probedAt < now - ANSWER_WITHIN;
    if (!connected || unanswered) this.#troubleSince ??= now;
    else if (this.#troubleSince !== null && heardAt > this.#troubleSince) {
      this.#troubleSince = null;
      this.#recoveredAt = now;
    }
    /** @type {string[]} */
    let restart = [];
    if (this.#recoveredAt !== null && now - this.#recoveredAt >= GRACE) {
      restart = this.#unheardSince(this.#recoveredAt);
      this.#recoveredAt = null;
    }
    for (const key of restart) this.forget(key);
    return { probe, restart };
  }

  /** @param {number} now */
  #isTimeToProbe(now) {
    if (now - this.#probedAt < this.#probeEvery) return false;
    if (this.#troubleSince === null) this.#probeEvery = Math.min(2 * this.#probeEvery, PROBE_SELDOM);
    this.#probedAt = now;
    return true;
  }

  /** @param {number} moment */
  #unheardSince(moment) {
    return [...this.#watched]
      .filter(([, { heardAt, times }]) => times >= TALKATIVE && heardAt < moment)
      .map(([key]) => key);
  }
}
