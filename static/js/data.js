/**
 * Data through the hub: messages with a topic for everyone or for some, and calls of methods that
 * others offer (PROTOCOL.md, "Data"). Knows no DOM, no socket and no media.
 */

/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {{from: string, topic: string, content: any}} DataMessage */
/** @typedef {(payload: any, from: string) => any} Method  may return a promise; what it throws is the caller's error */

export const CALL = 'rpc.call';
export const REPLY = 'rpc.reply';
const TIMEOUT = 10_000; // ms for a reply; a person who waits has given up by then
const CALLS_OF_ONE = 64; // under way for one caller
const CALLS = 256; // under way in all

/** Bytes go as base64 in an object of their own. @param {unknown} content */
function wrap(content) {
  if (!(content instanceof Uint8Array)) return content;
  let text = '';
  for (const byte of content) text += String.fromCharCode(byte);
  return { base64: btoa(text) };
}

/** @param {any} content */
function unwrap(content) {
  if (typeof content?.base64 !== 'string' || Object.keys(content).length !== 1) return content;
  try {
    return Uint8Array.from(atob(content.base64), (one) => one.charCodeAt(0));
  } catch {
    return content;
  }
}

export class CallError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message || code);
    this.code = code;
  }
}

export class Data {
  /** @type {Map<string, Set<(message: DataMessage) => void>>} */ #listeners = new Map();
  /** @type {Map<string, Method>} */ #methods = new Map();
  /** @type {Map<string, {to: string, resolve: (payload: any) => void, fail: (code: string, message: string) => void}>} */
  #calls = new Map();
  /** Calls that we carry out, by caller. @type {Map<string, number>} */ #running = new Map();
  #lastId = 0;

  /** @param {(message: {type: string, [key: string]: unknown}) => Promise<any>} request  sends to the hub */
  constructor(request) {
    this.request = request;
  }

  /**
   * Resolves when the hub has passed it on.
   * @param {unknown} content @param {{topic?: string, to?: string[]}} [options]  without `to`: everyone else
   */
  async send(content, { topic = '', to } = {}) {
    await this.request({ type: 'data', topic, content: wrap(content), ...(to && { to }) });
  }

  /** @param {string} topic @param {(message: DataMessage) => void} listener @returns {() => void} takes it off again */
  on(topic, listener) {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Offers a method to everyone in the room. @param {string} name @param {Method} method */
  method(name, method) {
    this.#methods.set(name, method);
  }

  /**
   * Calls another participant's method; rejects with a CallError.
   * @param {string} to @param {string} method @param {unknown} [payload] @param {{timeout?: number}} [options]  ms
   * @returns {Promise<any>}
   */
  call(to, method, payload = null, { timeout = TIMEOUT } = {}) {
    const id = `c${++this.#lastId}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail('timeout', `No reply within ${timeout / 1000} s.`), timeout);
      /** @param {string} code @param {string} message */
      const fail = (code, message) => {
        this.#calls.delete(id);
        clearTimeout(timer);
        reject(new CallError(code, message));
      };
      const settle = (/** @type {any} */ result) => {
        this.#calls.delete(id);
        clearTimeout(timer);
        resolve(result);
      };
      this.#calls.set(id, { to, resolve: settle, fail });
      this.send({ id, method, payload }, { topic: CALL, to: [to] }).catch((error) => {
        const code = error.code ?? 'failed';
        fail(code === 'unknown-participant' ? 'left' : code, error.message);
      });
    });
  }

  /** To be given every message of the hub. @param {ServerMessage} message */
  receive(message) {
    if (message.type === 'data') {
      if (message.topic === CALL) this.#carryOut(message.from, message.content);
      else if (message.topic === REPLY) this.#settle(message.from, message.content);
      else this.#pass(message);
    } else if (message.type === 'participant-left') {
      this.#failCalls((to) => to === message.participant);
    } else if (message.type === 'joined') {
      const here = new Set(message.participants.map(({ id }) => id));
      this.#failCalls((to) => !here.has(to));
    }
  }

  /** @param {DataMessage} message */
  #pass({ from, topic, content }) {
    for (const listener of this.#listeners.get(topic) ?? []) listener({ from, topic, content: unwrap(content) });
  }

  /** @param {(to: string) => boolean} gone */
  #failCalls(gone) {
    for (const { to, fail } of [...this.#calls.values()]) if (gone(to)) fail('left', 'The participant has left.');
  }

  /** @param {string} from @param {any} content */
  #settle(from, content) {
    const call = this.#calls.get(content?.id);
    if (call?.to !== from) return;
    if (content.error) call.fail(String(content.error.code), String(content.error.message));
    else call.resolve(content.payload);
  }

  /** @param {string} from @param {any} content */
  async #carryOut(from, content) {
    const id = content?.id;
    if (this.#methods.size === 0 || typeof id !== 'string' || id.length > 64) return;
    const reply = await this.#run(from, content);
    await this.send({ id, ...reply }, { topic: REPLY, to: [from] }).catch((error) => {
      if (error.code !== 'bad-request') return; // the caller has left, or we have
      const failure = { code: 'failed', message: 'The result is too large.' };
      this.send({ id, error: failure }, { topic: REPLY, to: [from] }).catch(() => {});
    });
  }

  /** @param {string} from @param {any} content @returns {Promise<{payload: any} | {error: {code: string, message: string}}>} */
  async #run(from, content) {
    const method = this.#methods.get(content.method);
    if (!method) return { error: { code: 'unknown-method', message: 'No such method here.' } };
    const running = this.#running.get(from) ?? 0;
    let all = 0;
    for (const count of this.#running.values()) all += count;
    if (running >= CALLS_OF_ONE || all >= CALLS)
      return { error: { code: 'busy', message: 'Too many calls are under way.' } };
    this.#running.set(from, running + 1);
    try {
      return { payload: (await method(content.payload, from)) ?? null };
    } catch (error) {
      if (error instanceof CallError) return { error: { code: error.code, message: error.message } };
      return { error: { code: 'failed', message: 'The method failed.' } };
    } finally {
      const left = (this.#running.get(from) ?? 1) - 1;
      if (left) this.#running.set(from, left);
      else this.#running.delete(from);
    }
  }
}
