/** The page's words in the browser's language: English, or Simplified Chinese. */

import { en } from './strings/en.js';
import { zh } from './strings/zh.js';

/** @typedef {keyof typeof en} Key */

/** @param {readonly string[]} languages  most wanted first @returns {'en' | 'zh-Hans'} */
export function chooseLanguage(languages) {
  for (const language of languages) {
    if (/^zh\b/i.test(language)) return 'zh-Hans';
    if (/^en\b/i.test(language)) return 'en';
  }
  return 'en';
}

export const language = chooseLanguage(globalThis.navigator?.languages ?? []);
const strings = language === 'en' ? en : zh;

/** @param {Key} key @param {Record<string, string | number>} [values] */
export function t(key, values = {}) {
  return strings[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/**
 * The text for `prefix` + `rest`, or for `prefix` + 'other' when there is none.
 * @param {string} prefix @param {string} rest @param {Record<string, string | number>} [values]
 */
export function tOther(prefix, rest, values) {
  const key = prefix + rest;
  return t(/** @type {Key} */ (key in strings ? key : `${prefix}other`), values);
}

const clock = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' });

const calendar = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });

/** @param {number} timestamp ms since the epoch */
export function dateAndTime(timestamp) {
  return calendar.format(timestamp);
}

/** @param {number} timestamp ms since the epoch */
export function timeOfDay(timestamp) {
  return clock.format(timestamp);
}
