/**
 * What a call needs, made while somebody is still in the lobby: the first connection of a page loads
 * codecs and makes a certificate, which would be waited for after "Join".
 */

/** Connections have a certificate each, because a new one says that it is another connection. @type {RTCCertificate[]} */
const certificates = [];
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };
const DAY = 86_400_000; // ms: no call is longer
const READY = 2; // for both ends of the relay, or the first two of a mesh

async function certify() {
  if (certificates.length >= READY) return;
  certificates.push(await RTCPeerConnection.generateCertificate(ALGORITHM));
}

/** Does what can be done before anybody is called. */
export async function warmUp() {
  const pc = new RTCPeerConnection();
  try {
    for (const kind of ['audio', 'video']) pc.addTransceiver(kind);
    await pc.createOffer();
    for (let count = 0; count < READY; count += 1) await certify();
  } catch {
    // Then it is done when it is needed.
  } finally {
    pc.close();
  }
}

/** A certificate that is ready, for one connection. @returns {Pick<RTCConfiguration, 'certificates'>} */
export function takeCertificate() {
  const certificate = certificates.shift();
  if (certificates.length < READY) certify().catch(() => {});
  return certificate && certificate.expires > Date.now() + DAY ? { certificates: [certificate] } : {};
}

const SOCKET_FOR = 45_000; // ms: hubs give up after a minute who does not join

/** A WebSocket that is open before anybody joins. */
export class ReadySocket {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {any} */ #timer = null;

  /** @param {string} url */
  prepare(url) {
    if (this.#socket?.url === url && this.#socket.readyState <= 1) return;
    this.close();
    try {
      this.#socket = new WebSocket(url);
      this.#timer = setTimeout(() => this.close(), SOCKET_FOR);
    } catch {
      // Then joining says why.
    }
  }

  /** The socket, if it leads there and still lives. @param {string} url @returns {WebSocket | null} */
  take(url) {
    const socket = this.#socket?.url === url && this.#socket.readyState <= 1 ? this.#socket : null;
    clearTimeout(this.#timer);
    if (socket) this.#socket = null;
    else this.close();
    return socket;
  }

  close() {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = null;
  }
}
