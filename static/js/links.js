/** Addresses in text. Pure. */

/** An address ends at a space, at a quotation mark, and at the punctuation of scripts that use no spaces. */
const ADDRESS =
  /https?:\/\/[^\s<>"'\u2018-\u201f\u2026\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+/gi;
const PAIRS = new Map([
  [')', '('],
  [']', '['],
  ['}', '{'],
]);

/** Without the sentence's own punctuation; a bracket that the address opened belongs to it. @param {string} address */
function trim(address) {
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    const rest = address.slice(0, end);
    const open = PAIRS.get(last);
    const balanced = open !== undefined && rest.split(open).length >= rest.split(last).length;
    if (balanced || !/[.,;:!?*_~)\]}]/.test(last)) break;
  }
  return address.slice(0, end);
}

/** @param {string} text @returns {{text: string, href?: string}[]} */
export function splitLinks(text) {
  /** @type {{text: string, href?: string}[]} */
  const parts = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = trim(found);
    if (!URL.canParse(address)) continue;
    if (index > from) parts.push({ text: text.slice(from, index) });
    parts.push({ text: address, href: address });
    from = index + address.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}
