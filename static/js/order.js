/** In which order people are shown, and who is the speaker. Pure: time is an argument. */

/** @typedef {{id: string, talking: boolean, self: boolean}} Shown */

const MOVE_EVERY = 4_000; // ms between two who come to page one: more would be a slot machine
const SPEAKER_HOLD = 2_000; // ms that the speaker stays, however short the next remark is

export class Order {
  /** @type {string[]} */ #order = [];
  /** @type {Map<string, number>} */ #talkedAt = new Map();
  #movedAt = -Infinity;
  #speaker = '';
  #speakerSince = -Infinity;

  /**
   * The same people in a steady order: who talks comes to page one, in the place of who has been silent longest.
   * @template {Shown} T
   * @param {T[]} people @param {number} first  how many page one shows @param {number} now  ms
   * @returns {T[]}
   */
  arrange(people, first, now) {
    const byId = new Map(people.map((one) => [one.id, one]));
    const known = this.#order.filter((id) => byId.has(id));
    const order = [...known, ...people.filter(({ id }) => !known.includes(id)).map(({ id }) => id)];
    for (const { id, talking } of people) if (talking) this.#talkedAt.set(id, now);
    for (const id of this.#talkedAt.keys()) if (!byId.has(id)) this.#talkedAt.delete(id);
    const at = order.findIndex((id, index) => index >= first && byId.get(id)?.talking);
    if (at >= 0 && now - this.#movedAt >= MOVE_EVERY) {
      const silent = this.#mostSilent(order.slice(0, first).map((id) => /** @type {T} */ (byId.get(id))));
      if (silent) {
        const place = order.indexOf(silent);
        [order[place], order[at]] = [order[at], order[place]];
        this.#movedAt = now;
      }
    }
    this.#order = order;
    return order.map((id) => /** @type {T} */ (byId.get(id)));
  }

  /** Who has the stage in the speaker view. @param {Shown[]} people @param {number} now  ms @returns {string} */
  speaker(people, now) {
    const others = people.filter(({ self }) => !self);
    const current = others.find(({ id }) => id === this.#speaker);
    const next = others.find(({ talking }) => talking) ?? current ?? others[0];
    const settled = !current || (!current.talking && now - this.#speakerSince >= SPEAKER_HOLD);
    if (next && settled && next.id !== this.#speaker) {
      this.#speaker = next.id;
      this.#speakerSince = now;
    }
    return others.length ? this.#speaker : (people[0]?.id ?? '');
  }

  /** @param {Shown[]} page @returns {string | undefined} */
  #mostSilent(page) {
    const candidates = page.filter(({ talking, self }) => !talking && !self);
    const heardAt = (/** @type {Shown} */ { id }) => this.#talkedAt.get(id) ?? -Infinity;
    // Of several who never said anything, the last one: it is the least that moves.
    return candidates.reduce(
      (best, one) => (best && heardAt(best) < heardAt(one) ? best : one),
      /** @type {Shown | undefined} */ (undefined),
    )?.id;
  }
}
