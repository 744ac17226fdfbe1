/** Keyboard shortcuts: single keys, and never while someone is typing. */

/**
 * @typedef {'microphone' | 'camera' | 'share' | 'chat' | 'people' | 'stats' | 'invite' | 'settings' | 'fullscreen'
 *   | 'help' | 'leave' | 'lock' | 'lobby' | 'close' | 'talk' | 'hush'} Action
 */

/** @type {Record<string, Action>} */
export const KEYS = {
  m: 'microphone',
  v: 'camera',
  s: 'share',
  c: 'chat',
  p: 'people',
  n: 'stats',
  i: 'invite',
  d: 'settings',
  f: 'fullscreen',
  '?': 'help',
};

/** @param {EventTarget | null} target */
export function isTyping(target) {
  const element = /** @type {HTMLElement | null} */ (target);
  return Boolean(element?.closest?.('input:not([type=checkbox]), textarea, select, [contenteditable]'));
}

/**
 * @param {object} options
 * @param {() => boolean} options.active   in a call, with no dialog open
 * @param {() => boolean} options.enabled  the person has not switched single keys off
 * @param {(action: Action) => void} options.act
 */
export function listenForKeys({ active, enabled, act }) {
  let talking = false;
  document.addEventListener('keydown', (event) => {
    if (!active() || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === 'Escape') return act('close');
    if (isTyping(event.target) || !enabled()) return;
    if (event.key === ' ') {
      // On a button or a switch, the space bar presses it.
      if (/** @type {HTMLElement} */ (event.target).closest('button, a, input, [role=menuitem], [role=log]')) return;
      event.preventDefault();
      if (!event.repeat && !talking) {
        talking = true;
        act('talk');
      }
      return;
    }
    const action = KEYS[event.key.toLowerCase()];
    if (!action || event.repeat) return;
    event.preventDefault();
    act(action);
  });
  const release = () => {
    if (!talking) return;
    talking = false;
    act('hush');
  };
  document.addEventListener('keyup', (event) => {
    if (event.key === ' ') release();
  });
  window.addEventListener('blur', release);
}
