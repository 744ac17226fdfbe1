/** The chat: what was written, and the field to write in. */

import { t, timeOfDay } from '../i18n.js';
import { el, iconButton, setText } from './dom.js';

/** @typedef {import('../room.js').State} State */

const GROUP_WITHIN = 120_000; // ms: lines of one person closer than this stand under one name

/** Text in which addresses are links. @param {string} text @returns {Node[]} */
export function linkify(text) {
  return text
    .split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/)
    .filter(Boolean)
    .map((part) => {
      if (/^https?:\/\//.test(part) && URL.canParse(part)) {
        return el('a', { href: part, target: '_blank', rel: 'noopener noreferrer' }, part);
      }
      return document.createTextNode(part);
    });
}

export class ChatPanel {
  #shown = 0;

  /** @param {{onSend: (text: string) => Promise<void>}} options */
  constructor({ onSend }) {
    this.onSend = onSend;
    this.empty = el('p', { class: 'panel-empty' }, t('chat.empty'));
    this.log = el('div', {
      class: 'chat-log',
      role: 'log',
      'aria-live': 'polite',
      'aria-label': t('chat.title'),
      tabindex: 0,
    });
    this.input = el('textarea', {
      id: 'chat-input',
      rows: 1,
      dir: 'auto',
      maxlength: 4096,
      placeholder: t('chat.placeholder'),
      'aria-label': t('chat.placeholder'),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      oninput: () => this.#grow(),
    });
    this.sendButton = iconButton('send', t('chat.send'), () => this.#send(), { class: 'send' });
    this.error = el('p', { class: 'form-error', role: 'alert' });
    this.form = el(
      'form',
      {
        class: 'chat-form',
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          this.#send();
        },
      },
      this.input,
      this.sendButton,
    );
    this.notAllowed = el('p', { class: 'panel-empty' }, t('chat.notAllowed'));
    this.element = el(
      'div',
      { class: 'panel-body chat' },
      this.empty,
      this.log,
      this.error,
      this.form,
      this.notAllowed,
    );
  }

  focus() {
    this.input.focus();
    this.log.scrollTop = this.log.scrollHeight; // a list that was taken out of the page begins at its top again
  }

  /** @param {State} state */
  render(state) {
    this.empty.hidden = state.chat.length > 0;
    this.log.hidden = state.chat.length === 0;
    this.form.hidden = !state.grants.chat;
    this.notAllowed.hidden = state.grants.chat;
    const last = state.chat.at(-1)?.key ?? 0;
    if (last < this.#shown) {
      this.log.replaceChildren();
      this.#shown = 0;
    }
    if (last === this.#shown) return;
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80;
    for (const [index, line] of state.chat.entries()) {
      if (line.key <= this.#shown) continue;
      const before = state.chat[index - 1];
      const grouped = before && before.from === line.from && line.timestamp - before.timestamp < GROUP_WITHIN;
      this.log.append(
        el(
          'div',
          { class: `chat-line${line.own ? ' own' : ''}${grouped ? ' grouped' : ''}` },
          !grouped &&
            el(
              'p',
              { class: 'chat-head' },
              el('strong', {}, line.own ? t('tile.you') : line.user),
              el('time', {}, timeOfDay(line.timestamp)),
            ),
          el('p', { class: 'chat-text', dir: 'auto' }, ...linkify(line.content)),
        ),
      );
    }
    while (this.log.childElementCount > state.chat.length) this.log.firstElementChild?.remove();
    this.#shown = last;
    if (atEnd || state.chat.at(-1)?.own) this.log.scrollTop = this.log.scrollHeight;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // 229: in Safari the Enter that ends a composition comes after it has ended.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#send();
  }

  #grow() {
    this.input.style.height = 'auto';
    this.input.style.height = `${Math.min(120, this.input.scrollHeight)}px`;
  }

  async #send() {
    const text = this.input.value.trim();
    if (!text) return;
    this.input.value = '';
    this.#grow();
    setText(this.error, '');
    try {
      await this.onSend(text);
    } catch (error) {
      setText(this.error, t('chat.failed', { reason: /** @type {Error} */ (error).message }));
      if (!this.input.value) this.input.value = text;
    }
  }
}
