/** What the page says by itself: a banner while something is wrong, short notices for the rest. */

import { t } from '../i18n.js';
import { el, setText } from './dom.js';

const TOAST_FOR = 4_000; // ms: time to read a dozen words
const TOASTS_MAX = 3;
const BACK_FOR = 2_000; // ms that "connected again" stays
const CALM_FOR = 800; // ms before a loss is worth a banner: most are over by then

export class Notices {
  /** @type {any} */ #timer = null;
  #wrong = false;

  constructor() {
    this.banner = el('div', { class: 'banner', role: 'status', 'aria-live': 'polite' });
    this.banner.hidden = true;
    this.toasts = el('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
    /** For screen readers only: what is seen without words. */
    this.whisper = el('div', { class: 'visually-hidden', role: 'status', 'aria-live': 'polite' });
  }

  /** @param {string} text */
  toast(text) {
    const toast = el('p', { class: 'toast' }, text);
    this.toasts.append(toast);
    while (this.toasts.childElementCount > TOASTS_MAX) this.toasts.firstElementChild?.remove();
    setTimeout(() => toast.remove(), TOAST_FOR);
  }

  /** What they told can be read elsewhere now. */
  clear() {
    this.toasts.replaceChildren();
  }

  /** @param {string} text */
  say(text) {
    setText(this.whisper, text);
  }

  /** @param {import('../room.js').State} state */
  connection({ phase, connection, connectionReason }) {
    if (phase !== 'call') return this.#hide();
    if (connection === 'open') {
      if (!this.#wrong) return;
      this.#wrong = false;
      clearTimeout(this.#timer);
      if (this.banner.hidden) return;
      this.#show(t('banner.back'), true);
      this.#timer = setTimeout(() => this.#hide(), BACK_FOR);
      return;
    }
    const text =
      connection === 'rejoining'
        ? t('banner.rejoining')
        : !navigator.onLine
          ? t('banner.offline')
          : connectionReason === 'draining'
            ? t('banner.draining')
            : t('banner.reconnecting');
    if (this.#wrong && !this.banner.hidden) return this.#show(text, false);
    if (this.#wrong) return;
    this.#wrong = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(text, false), CALM_FOR);
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
