/** Who talks, from audio levels. Pure: time is an argument. */

/** Linear audio levels: louder begins, quieter ends "talking", and a pause for breath (ms) does not. */
const FROM = 0.03;
const UNTIL = 0.01;
const HOLD = 700;

export class Talking {
  /** @type {Set<string>} */ who = new Set();
  /** @type {Map<string, number>} */ #heardAt = new Map();

  /**
   * @param {Map<string, number>} levels  linear, by participant @param {number} now  ms
   * @returns {boolean} whether somebody else talks now
   */
  hear(levels, now) {
    const who = new Set();
    for (const [id, level] of levels) {
      if (level >= FROM || (level >= UNTIL && this.who.has(id))) this.#heardAt.set(id, now);
      if (now - (this.#heardAt.get(id) ?? -Infinity) < HOLD) who.add(id);
    }
    const same = who.size === this.who.size && [...who].every((id) => this.who.has(id));
    this.who = who;
    return !same;
  }

  clear() {
    this.who = new Set();
    this.#heardAt.clear();
  }
}
