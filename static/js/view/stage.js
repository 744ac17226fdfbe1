/** The tiles of a call, in the layout that suits their number, their pictures and the window. */

import { t } from '../i18n.js';
import { capacity, conversation, grid, spotlight, stripCapacity } from '../layout.js';
import { Order } from '../order.js';
import { el, icon, iconButton, setText } from './dom.js';
import { movable } from './movable.js';
import { Tile } from './tile.js';

/** @typedef {import('./tile.js').TileData} TileData */
/** @typedef {import('../layout.js').Rect} Rect */
/** @typedef {import('../layout.js').Corner} Corner */
/** @typedef {'auto' | 'grid' | 'speaker'} View */
/** @typedef {{large: TileData[], others: TileData[]}} Split */

const PAGER = 48; // px below the tiles
const MAX_RATIO = 1.5; // device pixels to a px of the page

export class Stage {
  /** @type {TileData[]} */ tiles = [];
  /** @type {Map<string, Tile>} */ #tiles = new Map();
  #order = new Order();
  #page = 0;
  #placed = '';
  /** @type {View} */ #view = 'auto';
  /** @type {Corner} */ #corner = 'bottom-right';

  /**
   * @param {object} options
   * @param {(id: string) => void} options.onPin
   * @param {() => void} options.onInvite
   * @param {(corner: Corner) => void} options.onCorner  where oneself is to be
   * @param {() => void} options.onHideSelf
   * @param {(sizes: Map<string, import('../adaptive.js').Size>) => void} [options.onSizes]  how large tiles are shown
   */
  constructor({ onPin, onInvite, onCorner, onHideSelf, onSizes = () => {} }) {
    this.onSizes = onSizes;
    this.options = { onPin, onHideSelf, onShape: () => this.#place(), onCorner };
    this.back = iconButton('back', t('stage.pageBack'), () => this.#turn(-1));
    this.where = el('p', { class: 'pager-where', role: 'status', 'aria-live': 'polite' });
    this.more = el('button', { type: 'button', class: 'pager-more', onclick: () => this.#turn(1) });
    this.pager = el('nav', { class: 'pager', 'aria-label': t('stage.pages') }, this.back, this.where, this.more);
    this.pager.hidden = true;
    this.alone = el(
      'div',
      { class: 'alone' },
      el('div', {}, el('h2', {}, t('stage.alone')), el('p', {}, t('stage.aloneHint'))),
      el('button', { type: 'button', class: 'primary', onclick: onInvite }, icon('link'), t('control.invite')),
    );
    this.element = el('section', { class: 'stage', 'aria-label': t('stage.label') }, this.alone, this.pager);
    movable(this.element, {
      handle: (target) => /** @type {HTMLElement | null} */ (target.closest('.tile.floating')),
      onDrop: (corner) => onCorner(corner),
    });
    new ResizeObserver(() => this.#place()).observe(this.element);
    document.addEventListener('visibilitychange', () => this.#tellSizes());
  }

  /** @param {TileData[]} tiles @param {{view: View, corner: Corner}} preferences */
  render(tiles, { view, corner }) {
    this.tiles = tiles;
    const present = new Set(tiles.map(({ id }) => id));
    for (const [id, tile] of this.#tiles) {
      if (present.has(id)) continue;
      tile.remove();
      this.#tiles.delete(id);
    }
    for (const data of tiles) this.#tile(data).render(data);
    this.alone.hidden = tiles.some(({ self }) => !self);
    this.#view = view;
    this.#corner = corner;
    // Who talks may come to page one, or onto the stage of the speaker view.
    const talking = tiles.filter((one) => one.talking).map(({ id }) => id);
    const key = JSON.stringify([tiles.map(({ id, pinned }) => id + (pinned ? '*' : '')), talking, view, corner]);
    const waiting = talking.some((id) => this.#tiles.get(id)?.element.hidden) || view === 'speaker';
    if (key === this.#placed && !waiting) return;
    this.#placed = key;
    this.#place();
  }

  /** @param {string} id @param {string} reaction */
  react(id, reaction) {
    this.#tiles.get(id)?.react(reaction);
  }

  /** @param {TileData} data */
  #tile(data) {
    let tile = this.#tiles.get(data.id);
    if (!tile) {
      tile = new Tile(this.options, data);
      this.#tiles.set(data.id, tile);
      this.element.insertBefore(tile.element, this.pager);
    }
    return tile;
  }

  /** @param {number} step */
  #turn(step) {
    this.#page += step;
    this.#place();
    if (this.more.hidden) this.back.focus();
    else if (this.back.hidden) this.more.focus();
  }

  /** What is large, and what is beside it. @param {number} now @returns {Split} */
  #split(now) {
    const pinned = this.tiles.filter((one) => one.pinned);
    const screens = this.tiles.filter(({ source }) => source === 'screen');
    let large = pinned.length ? pinned : screens.slice(0, 1);
    if (!large.length && this.#view === 'speaker' && this.tiles.length > 1) {
      const speaker = this.#order.speaker(this.tiles, now);
      large = this.tiles.filter(({ id }) => id === speaker);
    }
    return { large, others: this.tiles.filter((one) => !large.includes(one)) };
  }

  #place() {
    const area = { width: this.element.clientWidth, height: this.element.clientHeight };
    if (!area.width || !area.height || this.tiles.length === 0) return;
    const now = performance.now();
    const { large, others } = this.#split(now);
    const size = (/** @type {import('../layout.js').Size} */ room) =>
      large.length ? stripCapacity(room) : capacity(room);
    const paged = others.length > size(area);
    if (paged) area.height -= PAGER;
    const first = paged ? size(area) : others.length;
    const ordered = this.#order.arrange(others, first, now);
    const page = this.#choosePage(ordered, first);
    const { rects, floating } = this.#arrange(large, page, area, paged);
    const shown = [...large, ...page];
    for (const tile of this.#tiles.values()) tile.element.hidden = true;
    for (const [index, { id }] of shown.entries()) {
      const tile = this.#tiles.get(id);
      if (!tile) continue;
      tile.element.hidden = false;
      tile.place(rects[index], floating && index === 1);
      tile.corner = this.#corner;
    }
    this.#tellSizes();
  }

  /** In device pixels, though not in all of a telephone's: they are more than anybody sees. */
  #tellSizes() {
    const ratio = Math.min(window.devicePixelRatio || 1, MAX_RATIO);
    const sizes = new Map();
    for (const [id, tile] of this.#tiles) {
      const { width, height } = tile.shownSize;
      sizes.set(id, { width: width * ratio, height: height * ratio });
    }
    this.onSizes(sizes);
  }

  /** @param {TileData[]} ordered @param {number} size @returns {TileData[]} */
  #choosePage(ordered, size) {
    const pages = Math.max(1, Math.ceil(ordered.length / Math.max(1, size)));
    this.#page = Math.min(Math.max(0, this.#page), pages - 1);
    this.pager.hidden = pages === 1;
    const from = this.#page * size;
    const left = ordered.length - from - size;
    this.back.hidden = this.#page === 0;
    this.more.hidden = left <= 0;
    setText(this.more, t('tile.more', { count: Math.max(0, left) }));
    setText(this.where, pages > 1 ? t('stage.page', { page: this.#page + 1, pages }) : '');
    return ordered.slice(from, from + size);
  }

  /**
   * @param {TileData[]} large @param {TileData[]} page  is put in the order of the places
   * @param {import('../layout.js').Size} area @param {boolean} paged @returns {{rects: Rect[], floating: boolean}}
   */
  #arrange(large, page, area, paged) {
    const shape = (/** @type {TileData} */ { id }) => this.#tiles.get(id)?.shape ?? null;
    if (large.length) {
      const screen = large.some(({ source }) => source === 'screen');
      return { rects: spotlight(large.map(shape), page.map(shape), area, screen), floating: false };
    }
    if (page.length === 2 && !paged && page.some(({ self }) => self) && this.#view === 'auto') {
      page.sort((one, two) => Number(one.self) - Number(two.self));
      return conversation(shape(page[0]), shape(page[1]), area, this.#corner);
    }
    return { rects: grid(page.map(shape), area), floating: false };
  }
}
