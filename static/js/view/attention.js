/** Calls somebody back to a page that nobody looks at: by its title, its icon and a soft sound. */

import { roomToText } from '../roomname.js';
import { t } from '../i18n.js';
import { setAttribute } from './dom.js';

/** @typedef {import('../room.js').State} State */
/** @typedef {import('../room.js').Event} Event */

/** Notes in hertz, one after the other. */
const KNOCK = [659, 523];
const MESSAGE = [784];
const DOT = '<circle cx="25" cy="7" r="7" fill="#d9432f" stroke="#fff" stroke-width="1.600"/>';
const NOTE = 0.16; // s from one note to the next
const LOUDNESS = 0.06; // of full scale: heard beside a conversation, and not over it

export class Attention {
  /** @type {AudioContext | null} */ #context = null;
  #icon = /** @type {HTMLLinkElement} */ (document.querySelector('link[rel=icon]'));
  /** Both at hand, because the server may be away when they change. */
  #icons = { quiet: this.#icon.getAttribute('href') ?? '', waiting: '' };

  /** @param {() => boolean} sounds  whether they are wanted */
  constructor(sounds) {
    this.sounds = sounds;
    this.#drawIcons().catch(() => {}); // the one there is does
  }

  async #drawIcons() {
    const drawing = await (await fetch(this.#icons.quiet)).text();
    const address = (/** @type {string} */ svg) => `data:image/svg+xml,${encodeURIComponent(svg)}`;
    this.#icons = { quiet: address(drawing), waiting: address(drawing.replace('</svg>', `${DOT}</svg>`)) };
  }

  /** @param {State} state */
  render({ phase, room, unread, knocks }) {
    const waiting = phase === 'call' ? unread + knocks.length : 0;
    const what = knocks.length && phase === 'call' ? `${t('knock.one', { name: knocks[0].name })} – ` : '';
    const title = phase === 'call' ? `${waiting ? `(${waiting}) ` : ''}${what}${roomToText(room)} – Tandem` : 'Tandem';
    if (document.title !== title) document.title = title;
    setAttribute(this.#icon, 'href', (waiting && this.#icons.waiting) || this.#icons.quiet);
  }

  /** @param {Event} event @param {State} state */
  hear(event, state) {
    if (!this.sounds()) return;
    if (event.type === 'knock') this.#play(KNOCK);
    if (event.type === 'chat' && state.hidden && event.from !== state.self) this.#play(MESSAGE);
  }

  /** @param {number[]} notes */
  #play(notes) {
    this.#context ??= new AudioContext();
    const context = this.#context;
    if (context.state === 'suspended') context.resume().catch(() => {});
    for (const [index, frequency] of notes.entries()) {
      const from = context.currentTime + index * NOTE;
      const tone = new OscillatorNode(context, { frequency, type: 'sine' });
      const volume = new GainNode(context, { gain: 0 });
      volume.gain.setValueAtTime(0, from);
      volume.gain.linearRampToValueAtTime(LOUDNESS, from + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.0001, from + 0.5);
      tone.connect(volume).connect(context.destination);
      tone.start(from);
      tone.stop(from + 0.55);
    }
  }
}
