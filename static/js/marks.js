/** Marks of what somebody waits for, from "Join" to the first picture, as `performance` keeps them. */

/** @typedef {'join' | 'socket' | 'joined' | 'offer' | 'answer' | 'connected' | 'track' | 'frame'} Step */

/** @type {Set<Step>} */
const passed = new Set();

/** Only the first time since "Join" counts. @param {Step} step */
export function mark(step) {
  if (step === 'join') passed.clear();
  if (passed.has(step)) return;
  passed.add(step);
  performance.mark(`tandem-${step}`);
}
