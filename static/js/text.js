/** Text that people typed: cut between characters, never within one. Pure. */

const graphemes = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: 'grapheme' }) : null;

/**
 * At most `most` code points, as servers count, and whole characters as people see them: a family
 * of emoji is one. Halves that somebody else has cut are left out.
 * @param {string} text @param {number} most
 */
export function shorten(text, most) {
  const whole = text.replace(/\p{Surrogate}/gu, '');
  if ([...whole].length <= most) return whole;
  let kept = '';
  let count = 0;
  for (const part of graphemes ? [...graphemes.segment(whole)].map(({ segment }) => segment) : whole) {
    count += [...part].length;
    if (count > most) break;
    kept += part;
  }
  return kept;
}
