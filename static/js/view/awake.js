/** Keeps the screen on for as long as it is wanted: a phone that locks itself ends the call's pictures. */

export class Awake {
  #wanted = false;
  /** @type {Promise<WakeLockSentinel> | null} */ #lock = null;

  constructor() {
    // The browser takes the lock back when the page is hidden.
    document.addEventListener('visibilitychange', () => this.#ask());
  }

  /** @param {boolean} wanted */
  set(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    if (wanted) this.#ask();
    else this.#release();
  }

  #ask() {
    if (!this.#wanted || document.hidden || this.#lock || !navigator.wakeLock) return;
    const lock = navigator.wakeLock.request('screen');
    this.#lock = lock;
    lock.then(
      (sentinel) => sentinel.addEventListener('release', () => this.#forget(lock)),
      () => this.#forget(lock), // the battery is low: the screen goes off as ever
    );
  }

  /** @param {Promise<WakeLockSentinel>} lock */
  #forget(lock) {
    if (this.#lock === lock) this.#lock = null;
  }

  #release() {
    this.#lock?.then((sentinel) => sentinel.release()).catch(() => {});
    this.#lock = null;
  }
}
