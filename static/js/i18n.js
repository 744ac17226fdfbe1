/** The page's words in the browser's language, or in the one that was chosen. */

import { loadSettings } from './settings.js';

/** @typedef {typeof import('./strings/en.js').strings} English */
/** @typedef {keyof English} Key */
/** @typedef {Record<Key, string>} Strings */

/** Each by its own name, one file each in `strings`. */
export const LANGUAGES = {
  en: 'English',
  zh: '简体中文',
};
/** @typedef {keyof typeof LANGUAGES} Language */

const RIGHT_TO_LEFT = new Set(['ar']);

/** @param {readonly string[]} languages  most wanted first @returns {Language} */
export function chooseLanguage(languages) {
  for (const wanted of languages) {
    const [code] = wanted.toLowerCase().split('-');
    if (code in LANGUAGES) return /** @type {Language} */ (code);
  }
  return 'en';
}

export const language = chooseLanguage([loadSettings().language, ...(globalThis.navigator?.languages ?? [])]);
/** What browsers call it: the sort of Chinese makes another font. */
export const languageTag = language === 'zh' ? 'zh-Hans' : language;
export const direction = RIGHT_TO_LEFT.has(language) ? 'rtl' : 'ltr';

/** @type {{strings: Strings}} */
const { strings } = await import(`./strings/${language}.js`).catch(() => import('./strings/en.js'));

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

const clock = new Intl.DateTimeFormat(languageTag, { hour: '2-digit', minute: '2-digit' });

const calendar = new Intl.DateTimeFormat(languageTag, { dateStyle: 'medium', timeStyle: 'short' });

/** @param {number} timestamp ms since the epoch */
export function dateAndTime(timestamp) {
  return calendar.format(timestamp);
}

/** @param {number} timestamp ms since the epoch */
export function timeOfDay(timestamp) {
  return clock.format(timestamp);
}
