/** The chat: what was written, and the field to write in. */

import { t, timeOfDay } from '../i18n.js';
import { splitLinks } from '../links.js';
import { el, icon, iconButton, setText } from './dom.js';

/** @typedef {import('../room.js').State} State */
/** @typedef {import('../room.js').ChatLine} ChatLine */

const GROUP_WITHIN = 120_000; // ms: lines of one person closer than this stand under one name
const AT_END = 80; // px from the end that still count as being there

export class ChatPanel {
  #shown = 0;
  /** The person reads the end, and wants to stay there. */ #atEnd = true;
  /** Of the list, in px, when its size was last looked at. */ #height = 0;
  /** Lines that came while the person was reading further up. */ #unseen = 0;

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
      onscroll: () => this.#scrolled(),
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
    this.newText = el('span');
    this.new = el(
      'button',
      { type: 'button', class: 'chat-new', onclick: () => this.#toEnd() },
      icon('down'),
      this.newText,
    );
    this.new.hidden = true;
    this.sendButton = iconButton('send', t('chat.send'), () => this.#send(), { class: 'send' });
    this.error = el('p', { class: 'form-error', role: 'alert' });
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send();
    };
    this.form = el('form', { class: 'chat-form', onsubmit: submit }, this.input, this.sendButton);
    this.notAllowed = el('p', { class: 'panel-empty' }, t('chat.notAllowed'));
    const lines = el('div', { class: 'chat-lines' }, this.log, this.new);
    this.element = el('div', { class: 'panel-body chat' }, this.empty, lines, this.error, this.form, this.notAllowed);
    // A keyboard that opens takes the room away from the end, which is what is being answered.
    new ResizeObserver(() => {
      this.#height = this.log.clientHeight;
      if (this.#atEnd) this.#toEnd();
    }).observe(this.log);
  }

  focus() {
    this.input.focus();
    this.#toEnd(); // a list that was taken out of the page begins at its top again
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
      this.#shown = this.#unseen = 0;
      this.#atEnd = true;
    }
    if (last !== this.#shown) this.#append(state);
    this.new.hidden = this.#unseen === 0;
    setText(this.newText, t('chat.new', { count: this.#unseen }));
  }

  /** @param {State} state */
  #append({ chat, self, participants }) {
    /** @param {string} id */
    const nameOf = (id) => participants.find((one) => one.id === id)?.name ?? '';
    for (const [index, line] of chat.entries()) {
      if (line.key <= this.#shown) continue;
      const before = chat[index - 1];
      const grouped =
        before?.from === line.from && before.to === line.to && line.timestamp - before.timestamp < GROUP_WITHIN;
      const privately = line.to && (line.to === self ? t('chat.toYou') : t('chat.to', { name: nameOf(line.to) }));
      this.log.append(drawLine(line, grouped, privately));
      if (!line.own && !line.past && !this.#atEnd) this.#unseen += 1;
    }
    while (this.log.childElementCount > chat.length) this.log.firstElementChild?.remove();
    this.#shown = chat.at(-1)?.key ?? 0;
    if (this.#atEnd || chat.at(-1)?.own) this.#toEnd();
  }

  #toEnd() {
    this.#atEnd = true;
    this.#unseen = 0;
    this.new.hidden = true;
    this.log.scrollTop = this.log.scrollHeight;
  }

  #scrolled() {
    // An event of before a change of size says nothing of where the person is after it.
    if (this.log.clientHeight !== this.#height) return;
    this.#atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < AT_END;
    if (!this.#atEnd) return;
    this.#unseen = 0;
    this.new.hidden = true;
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

/** @param {ChatLine} line @param {boolean} grouped @param {string} privately  whom it is for alone */
function drawLine(line, grouped, privately) {
  const classes = ['chat-line', line.own && 'own', grouped && 'grouped', privately && 'private'];
  return el(
    'div',
    { class: classes.filter(Boolean).join(' ') },
    !grouped &&
      el(
        'p',
        { class: 'chat-head' },
        el('strong', { dir: 'auto' }, line.own ? t('tile.you') : line.user),
        privately && el('span', { class: 'chat-private' }, privately),
        el('time', {}, timeOfDay(line.timestamp)),
      ),
    el('p', { class: 'chat-text', dir: 'auto' }, ...splitLinks(line.content).map(drawPart)),
  );
}

/** @param {{text: string, href?: string}} part */
function drawPart({ text, href }) {
  return href ? el('a', { href, target: '_blank', rel: 'noopener noreferrer' }, text) : text;
}
