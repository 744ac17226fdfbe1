/** Making and changing elements, and the icons. */

const SVG = 'http://www.w3.org/2000/svg';

/** 24-unit drawings in one stroke weight. */
const ICONS = {
  mic: 'M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21M9 21h6',
  micOff:
    'M9 6a3 3 0 0 1 6 0v5c0 .4-.1.8-.2 1.200M9 9.500V11a3 3 0 0 0 4.400 2.650M5.500 11a6.500 6.500 0 0 0 9.700 5.660M18.500 11c0 1.100-.27 2.130-.75 3.030M12 17.500V21M9 21h6M4 3.500l16 17',
  camera:
    'M4.500 6.500h8.500a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H4.500a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2ZM15 11l5.200-3.400a.8.8 0 0 1 1.300.65v7.500a.8.8 0 0 1-1.300.65L15 13',
  cameraOff:
    'M8.500 6.500H13a2 2 0 0 1 2 2V11l5.200-3.400a.8.8 0 0 1 1.300.65v7.500a.8.8 0 0 1-1.300.65L15 13M15 15.500a2 2 0 0 1-2 2H4.500a2 2 0 0 1-2-2v-7a2 2 0 0 1 1.300-1.870M4 3.500l16 17',
  screen:
    'M4.500 4.500h15a2 2 0 0 1 2 2v8.500a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2V6.500a2 2 0 0 1 2-2ZM8.500 20.500h7M12 13.500V8M9.300 10.500 12 7.800l2.700 2.700',
  screenOff:
    'M4.500 4.500h15a2 2 0 0 1 2 2v8.500a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2V6.500a2 2 0 0 1 2-2ZM8.500 20.500h7M9.800 8.500l4.500 4.500M14.300 8.500 9.800 13',
  leave:
    'M3.300 14.700c-.9-1-.8-2.500.2-3.500 4.700-4.300 12.300-4.300 17 0 1 1 1.100 2.500.2 3.500l-.6.7c-.5.500-1.200.700-1.900.400l-2.500-1c-.6-.3-1-.9-1-1.500v-1.500a9 9 0 0 0-5.400 0v1.500c0 .600-.4 1.200-1 1.500l-2.500 1c-.7.300-1.400.100-1.900-.4l-.6-.7Z',
  chat: 'M5.500 4.500h13a2.500 2.500 0 0 1 2.500 2.500v7.500a2.500 2.500 0 0 1-2.500 2.500H11l-4.500 3.500V17h-1A2.500 2.500 0 0 1 3 14.500V7a2.500 2.500 0 0 1 2.500-2.500ZM8 9h8M8 12.500h5',
  people:
    'M9 11.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM2.500 19.500c.4-3.300 3.100-5.500 6.500-5.500s6.100 2.200 6.500 5.500M15.500 4.900a3.500 3.500 0 0 1 0 6.300M17.300 14.400c2.300.700 3.900 2.600 4.200 5.100',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  close: 'M6 6l12 12M18 6 6 18',
  link: 'M10 14a4 4 0 0 0 5.700 0l3.500-3.500a4 4 0 0 0-5.700-5.700L12.300 6M14 10a4 4 0 0 0-5.700 0l-3.500 3.500a4 4 0 0 0 5.700 5.700l1.200-1.200',
  lock: 'M6.500 11h11a1.500 1.500 0 0 1 1.500 1.500v6a1.500 1.500 0 0 1-1.500 1.500h-11A1.500 1.500 0 0 1 5 18.500v-6A1.500 1.500 0 0 1 6.500 11ZM8 11V8a4 4 0 0 1 8 0v3',
  unlock:
    'M6.500 11h11a1.500 1.500 0 0 1 1.500 1.500v6a1.500 1.500 0 0 1-1.500 1.500h-11A1.500 1.500 0 0 1 5 18.500v-6A1.500 1.500 0 0 1 6.500 11ZM8 11V8a4 4 0 0 1 7.700-1.500',
  door: 'M6 20.500V5.500A1.500 1.500 0 0 1 7.500 4h9A1.500 1.500 0 0 1 18 5.500v15M3.500 20.500h17M14.500 12.500h.01',
  chart: 'M4 4v14.500a1.500 1.500 0 0 0 1.500 1.500H20M8 15l3.500-4.500 3 2.500L19 7',
  sliders:
    'M4 7h9M17 7h3M4 17h3M11 17h9M15 9.300a2.300 2.300 0 1 0 0-4.600 2.300 2.300 0 0 0 0 4.600ZM9 19.300a2.300 2.300 0 1 0 0-4.600 2.300 2.300 0 0 0 0 4.600Z',
  keyboard:
    'M4.500 6.500h15a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2ZM6.500 10h.01M10 10h.01M14 10h.01M17.500 10h.01M8 14h8',
  expand:
    'M9 4.500H6A1.500 1.500 0 0 0 4.500 6v3M15 4.500h3A1.500 1.500 0 0 1 19.500 6v3M9 19.500H6A1.500 1.500 0 0 1 4.500 18v-3M15 19.500h3a1.500 1.500 0 0 0 1.500-1.500v-3',
  pin: 'M9 4h6l-.7 6 3.200 3v1.500h-11V13l3.200-3L9 4ZM12 14.500V20.500',
  pip: 'M4.500 5h15a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2ZM12.500 12.500h6v3.800h-6z',
  send: 'M4 12 3.500 5.200a.7.7 0 0 1 1-.7l16 7a.55.55 0 0 1 0 1l-16 7a.7.7 0 0 1-1-.7L4 12Zm0 0h8',
  remove:
    'M9 11.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM2.500 19.500c.4-3.300 3.100-5.500 6.500-5.500s6.100 2.200 6.500 5.500M16 9h6',
  sound: 'M4 9.500v5h3.500L12 18.500v-13L7.500 9.500H4ZM15.500 9a4.200 4.200 0 0 1 0 6M18.300 6.300a8 8 0 0 1 0 11.400',
  warning: 'M12 4 2.800 19.500h18.400L12 4ZM12 10v4.500M12 17.200h.01',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 11v5M12 8h.01',
  hand: 'M8 12.500V6.200a1.400 1.400 0 0 1 2.800 0V11M10.800 11V4.700a1.400 1.400 0 0 1 2.800 0V11M13.600 11V5.700a1.400 1.400 0 0 1 2.800 0V12M16.400 12V8.200a1.400 1.400 0 0 1 2.800 0V14.500a6.500 6.500 0 0 1-6.500 6.500c-2.600 0-4-1-5.300-3L4.300 14a1.450 1.450 0 0 1 2.300-1.700L8 14',
  back: 'M15 5l-7 7 7 7',
  whole: 'M4.500 5h15a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2ZM9 5v14M15 5v14',
  hide: 'M3.500 12s3-6 8.500-6c1.300 0 2.500.3 3.500.8M20.500 12s-3 6-8.500 6c-1.300 0-2.500-.3-3.500-.8M4 3.500l16 17',
  move: 'M12 3.500v17M3.500 12h17M9.500 6 12 3.500 14.500 6M9.500 18l2.500 2.500 2.500-2.500M6 9.500 3.500 12 6 14.500M18 9.500l2.500 2.500-2.500 2.500',
  flip: 'M4 8.500h11a4.500 4.500 0 0 1 4.500 4.500M7.500 5 4 8.500 7.500 12M20 15.500H9A4.500 4.500 0 0 1 4.500 11M16.500 19l3.500-3.500-3.500-3.500',
  down: 'M12 5v14M6 13l6 6 6-6',
  arrow: 'M5 12h14M13 6l6 6-6 6',
};
/** @typedef {keyof typeof ICONS} IconName */

/** @param {IconName} name @returns {SVGSVGElement} */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  svg.dataset.icon = name;
  return svg;
}

/** @param {Element} parent @param {IconName} name  changes the icon in `parent` if it is another */
export function setIcon(parent, name) {
  const present = /** @type {SVGElement | null} */ (parent.querySelector('svg.icon'));
  if (present?.dataset.icon === name) return;
  if (present) present.replaceWith(icon(name));
  else parent.prepend(icon(name));
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {...SVGElement} children */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** @typedef {string | Node | null | undefined | false} Child */

/**
 * An element. Keys that start with `on` add listeners, booleans set or leave out attributes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Record<string, any>} [attributes] @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else setAttribute(element, key, value);
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/** @param {Element} element @param {string} key @param {string | number | boolean | null | undefined} value */
export function setAttribute(element, key, value) {
  const text = value === true ? '' : value === false || value === null || value === undefined ? null : String(value);
  if (text === null) element.removeAttribute(key);
  else if (element.getAttribute(key) !== text) element.setAttribute(key, text);
}

/** @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A button that shows an icon and has a name, which is its tooltip too.
 * @param {IconName} name @param {string} label @param {(event: Event) => void} onclick @param {Record<string, any>} [attributes]
 */
export function iconButton(name, label, onclick, { class: more = '', ...attributes } = {}) {
  return el(
    'button',
    { type: 'button', class: `icon-button ${more}`, 'aria-label': label, 'data-tip': label, onclick, ...attributes },
    icon(name),
  );
}

/** @param {HTMLElement} button @param {string} label @param {string} [tip] */
export function setLabel(button, label, tip = label) {
  setAttribute(button, 'aria-label', label);
  setAttribute(button, 'data-tip', tip);
}

/** Initials for a picture that is not there. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const first = [...(words[0] ?? '?')][0];
  if (/\p{Script=Han}/u.test(first)) return [...(words.at(-1) ?? '')].slice(-2).join('');
  const last = words.length > 1 ? [...(words.at(-1) ?? '')][0] : '';
  return (first + last).toLocaleUpperCase();
}

/** One of a few quiet colours, always the same for a name. @param {string} name */
export function tint(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % 8;
}

/** @param {string} name */
export function avatar(name) {
  return el('span', { class: 'avatar', 'aria-hidden': 'true', 'data-tint': tint(name) }, initials(name));
}

/** The sign: two rings that lean on each other. */
export function logo() {
  const mark = svg(
    'svg',
    { viewBox: '0 0 32 24', class: 'logo', 'aria-hidden': 'true' },
    svg('circle', { cx: 11, cy: 12, r: 8.5, class: 'logo-one' }),
    svg('circle', { cx: 21, cy: 12, r: 8.5, class: 'logo-two' }),
  );
  return el('span', { class: 'brand' }, mark, 'Tandem');
}
