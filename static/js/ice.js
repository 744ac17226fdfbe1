/**
 * Keeps TURN credentials fresh: those that came with `joined` end, and a long call may have to
 * gather candidates anew after that. Knows no DOM; time and the way to the server are arguments.
 */

const RETRY = 60_000; // ms after an answer that did not come

/**
 * When the first of the credentials ends, in ms since the epoch. By TURN's REST convention the
 * user's name begins with it, in seconds; null where nothing ends.
 * @param {RTCIceServer[]} servers @returns {number | null}
 */
export function expiryOf(servers) {
  const ends = servers
    .map(({ username }) => Number(/^(\d+)(:|$)/.exec(username ?? '')?.[1] ?? NaN))
    .filter(Number.isFinite);
  return ends.length ? 1000 * Math.min(...ends) : null;
}

/** Asks the server for credentials. @param {string | undefined} token @returns {Promise<RTCIceServer[]>} */
export async function fetchIceServers(token) {
  const response = await fetch('/api/ice-servers', {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    cache: 'no-store',
  });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return (await response.json()).ice_servers;
}

export class Freshness {
  /** When to ask, ms since the epoch. */ #due = Infinity;
  #asking = false;

  /**
   * @param {object} options
   * @param {() => Promise<RTCIceServer[]>} options.fetch
   * @param {(servers: RTCIceServer[]) => void} options.onServers
   */
  constructor({ fetch, onServers }) {
    this.fetch = fetch;
    this.onServers = onServers;
  }

  /** New credentials are here: at half their life they are old. @param {RTCIceServer[]} servers @param {number} wall */
  receive(servers, wall) {
    const expiry = expiryOf(servers);
    this.#due = expiry === null ? Infinity : wall + Math.max(RETRY, (expiry - wall) / 2);
  }

  /** Asks if it is time to. @param {number} wall */
  async check(wall) {
    if (wall < this.#due || this.#asking) return;
    this.#asking = true;
    this.#due = wall + RETRY;
    try {
      const servers = await this.fetch();
      this.receive(servers, wall);
      this.onServers(servers);
    } catch (error) {
      console.info('ice-servers:', /** @type {Error} */ (error).message);
    } finally {
      this.#asking = false;
    }
  }
}
