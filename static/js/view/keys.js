/** Keyboard shortcuts: single keys, and never while someone is typing. */

/**
 * @typedef {'microphone' | 'camera' | 'share' | 'chat' | 'people' | 'stats' | 'invite' | 'settings' | 'fullscreen'
 *   | 'help' | 'leave' | 'lock' | 'lobby' | 'close' | 'talk' | 'hush' | 'flip' | 'self' | 'hand'
 *   | 'viewAuto' | 'viewGrid' | 'viewSpeaker'} Action
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
  h: 'hand',
  '?': 'help',
};

/** @param {EventTarget | null} target */
export function isTyping(target) {
  const element = /** @type {HTMLElement | null} */ (target);
  return Boolean(element?.closest?.('input:not([type=checkbox], [type=range]), textarea, select, [contenteditable]'));
}

/** Where the space bar means something else than talking: fields of all kinds, and an open menu. */
const OWN_SPACE = 'input, textarea, select, [contenteditable], [role=menuitem], [role=menuitemradio]';

/**
 * Buttons are pressed with Enter: the space bar talks wherever the focus is, because the page itself
 * gives it to a button, and a key that is let go must not press what opens the microphone for good.
 * @param {object} options
 * @param {() => boolean} options.active   in a call, with no dialog open
 * @param {() => boolean} options.enabled  the person has not switched single keys off
 * @param {(action: Action) => void} options.act
 */
export function listenForKeys({ active, enabled, act }) {
  let talking = false;
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    if (/** @type {HTMLElement} */ (event.target).closest(OWN_SPACE)) return;
    event.preventDefault();
    if (event.repeat || talking) return;
    talking = true;
    act('talk');
  };
  const release = () => {
    if (!talking) return;
    talking = false;
    act('hush');
  };
  document.addEventListener('keydown', (event) => {
    if (!active() || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === 'Escape') return act('close');
    if (!enabled()) return;
    if (event.key === ' ') return press(event);
    const action = KEYS[event.key.toLowerCase()];
    if (!action || event.repeat || isTyping(event.target)) return;
    event.preventDefault();
    act(action);
  });
  document.addEventListener(
    'keyup',
    (event) => {
      if (event.key !== ' ' || !talking) return;
      event.preventDefault(); // Firefox presses a button when the key comes up
      release();
    },
    { capture: true },
  );
  window.addEventListener('blur', release);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) release();
  });
}
