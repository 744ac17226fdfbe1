/** The others' voices: one audio element per track, on the chosen speaker. */

import { el } from './dom.js';

export class Voices {
  /** @type {Map<string, HTMLAudioElement>} */ #elements = new Map();
  #speaker = '';
  /** The browser refuses to play before a touch. */ blocked = false;

  /** @param {() => void} onBlocked */
  constructor(onBlocked) {
    this.onBlocked = onBlocked;
    this.element = el('div', { hidden: true });
  }

  /** @param {Map<string, MediaStreamTrack>} tracks  by a name for the source */
  render(tracks) {
    for (const [key, audio] of this.#elements) {
      if (tracks.has(key)) continue;
      audio.srcObject = null;
      audio.remove();
      this.#elements.delete(key);
    }
    for (const [key, track] of tracks) {
      let audio = this.#elements.get(key);
      if (!audio) {
        audio = el('audio', { autoplay: true });
        this.#elements.set(key, audio);
        this.element.append(audio);
        if (this.#speaker) this.#route(audio);
      }
      const playing = /** @type {MediaStream | null} */ (audio.srcObject);
      if (playing?.getAudioTracks()[0] === track) continue;
      audio.srcObject = new MediaStream([track]);
      this.#play(audio);
    }
  }

  /** @param {string} speaker  device id, '' for the default */
  setSpeaker(speaker) {
    if (speaker === this.#speaker) return;
    this.#speaker = speaker;
    for (const audio of this.#elements.values()) this.#route(audio);
  }

  /** After a tap. */
  unblock() {
    this.blocked = false;
    for (const audio of this.#elements.values()) this.#play(audio);
    this.onBlocked();
  }

  /** @param {HTMLAudioElement} audio */
  #play(audio) {
    audio.play().catch((error) => {
      if (error.name !== 'NotAllowedError' || this.blocked) return;
      this.blocked = true;
      this.onBlocked();
    });
  }

  /** @param {HTMLAudioElement} audio */
  #route(audio) {
    /** @type {any} */ (audio).setSinkId?.(this.#speaker).catch(() => {}); // unplugged: the default plays on
  }
}
