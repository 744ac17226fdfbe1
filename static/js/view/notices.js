/** What the page says by itself: a banner while something is wrong, short notices for the rest. */

import { t } from '../i18n.js';
import { el, setText } from './dom.js';

/** @typedef {import('../room.js').State} State */

const TOAST_FOR = 5_000; // ms: time to read a dozen words, and to press them
const TOAST_LEAST = 1_500; // ms, when others wait
const TOASTS_WAITING = 3;
const BACK_FOR = 2_000; // ms that "connected again" stays
const CALM_FOR = 800; // ms before a loss is worth a banner: most are over by then

export class Notices {
  /** @type {any} */ #timer = null;
  /** @type {HTMLElement[]} */ #waiting = [];
  /** Runs as long as a toast is shown. @type {any} */ #shown = null;
  /** It has been shown long enough to make way. */ #resting = false;
  #wrong = false;

  constructor() {
    this.banner = el('div', { class: 'banner', role: 'status', 'aria-live': 'polite' });
    this.banner.hidden = true;
    this.toasts = el('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
    /** For screen readers only: what is seen without words. */
    this.whisper = el('div', { class: 'visually-hidden', role: 'status', 'aria-live': 'polite' });
  }

  /**
   * One after the other: there is room for one where it covers nobody.
   * @param {string} text @param {() => void} [open]  what it speaks of
   */
  toast(text, open) {
    const words = el('span', { dir: 'auto' }, text);
    const toast = open
      ? el('button', { type: 'button', class: 'toast', onclick: open }, words)
      : el('p', { class: 'toast' }, words);
    this.#waiting.push(toast);
    if (this.#waiting.length > TOASTS_WAITING) this.#waiting.shift(); // what is told late tells little
    if (!this.#shown || this.#resting) this.#next();
  }

  /** What they told can be read elsewhere now. */
  clear() {
    this.#waiting = [];
    this.#next();
  }

  #next() {
    clearTimeout(this.#shown);
    this.#resting = false;
    const toast = this.#waiting.shift();
    this.toasts.replaceChildren(...(toast ? [toast] : []));
    this.#shown = toast ? setTimeout(() => this.#rest(), TOAST_LEAST) : null;
  }

  /** Several get a while each, the last one the rest of its time. */
  #rest() {
    if (this.#waiting.length) return this.#next();
    this.#resting = true;
    this.#shown = setTimeout(() => this.#next(), TOAST_FOR - TOAST_LEAST);
  }

  /** @param {string} text */
  say(text) {
    setText(this.whisper, text);
  }

  /** @param {State} state @param {boolean} alive  whether anything still flows */
  connection(state, alive) {
    if (state.phase !== 'call') return this.#hide();
    if (state.connection === 'open') return this.#back();
    const text = troubleOf(state, alive);
    if (this.#wrong && !this.banner.hidden) return this.#show(text, false);
    if (this.#wrong) return;
    this.#wrong = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(text, false), CALM_FOR);
  }

  #back() {
    if (!this.#wrong) return;
    this.#wrong = false;
    clearTimeout(this.#timer);
    if (this.banner.hidden) return;
    this.#show(t('banner.back'), true);
    this.#timer = setTimeout(() => this.#hide(), BACK_FOR);
  }

  /** @param {string} text @param {boolean} good */
  #show(text, good) {
    this.banner.hidden = false;
    this.banner.classList.toggle('good', good);
    setText(this.banner, text);
  }

  #hide() {
    clearTimeout(this.#timer);
    this.banner.hidden = true;
    setText(this.banner, '');
    this.#wrong = false;
  }
}

/** Only what is so: a call goes on where something still flows. @param {State} state @param {boolean} alive */
function troubleOf({ connection, connectionReason }, alive) {
  if (connection === 'rejoining') return t('banner.rejoining');
  if (!navigator.onLine) return t('banner.offline');
  if (connectionReason === 'draining') return t(alive ? 'banner.draining' : 'banner.drainingAlone');
  return t(alive ? 'banner.reconnecting' : 'banner.lost');
}
