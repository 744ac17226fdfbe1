/** The tiles of a call, in the layout that suits their number and the window. */

import { t } from '../i18n.js';
import { conversation, grid, spotlight } from '../layout.js';
import { cameraOn, microphoneOn, screenShared } from '../room.js';
import { quality } from '../stats.js';
import { el, icon, setText } from './dom.js';
import { Tile } from './tile.js';

/** @typedef {import('../call.js').Call} Call */
/** @typedef {import('../media.js').Media} Media */
/** @typedef {import('./tile.js').TileData} TileData */

const MOST_TILES = { wide: 25, tall: 16 }; // more would be too small to know a face

/** What there is to show, screens first. @param {Call} call @param {Media} media @returns {TileData[]} */
export function tilesOf(call, media) {
  const { state } = call;
  /** @type {TileData[]} */ const screens = [];
  /** @type {TileData[]} */ const people = [];
  const own = {
    person: state.name,
    self: true,
    waiting: false,
    path: /** @type {''} */ (''),
    quality: /** @type {''} */ (''),
  };
  if (media.screen) {
    screens.push({
      ...own,
      id: 'self/screen',
      name: t('tile.yourScreen'),
      source: 'screen',
      video: media.screen.video,
      microphone: true,
      talking: false,
      pinned: state.pinned === 'self/screen',
    });
  }
  people.push({
    ...own,
    id: 'self',
    name: t('tile.you'),
    source: 'camera',
    video: media.live('camera') ? media.devices.camera.track : null,
    microphone: media.live('microphone'),
    talking: call.talking.has(state.self),
    pinned: state.pinned === 'self',
  });
  for (const one of state.participants) {
    const tracks = call.tracksOf(one.id);
    const samples = call.history.of(one.id);
    const common = {
      person: one.name,
      self: false,
      waiting: one.p2p !== 'flowing' && one.relay !== 'flowing',
      path: samples.at(-1)?.path ?? /** @type {''} */ (''),
      quality: quality(samples),
    };
    const picture = tracks.camera && cameraOn(one) && (one.metadata.camera !== undefined || !tracks.camera.track.muted);
    people.push({
      ...common,
      id: one.id,
      name: one.name,
      source: 'camera',
      video: picture ? (tracks.camera?.track ?? null) : null,
      microphone: microphoneOn(one),
      talking: call.talking.has(one.id),
      pinned: state.pinned === one.id,
    });
    if (screenShared(one)) {
      const id = `${one.id}/screen`;
      screens.push({
        ...common,
        id,
        name: t('tile.screenOf', { name: one.name }),
        source: 'screen',
        video: tracks.screen?.track ?? null,
        microphone: true,
        talking: false,
        pinned: state.pinned === id,
      });
    }
  }
  return [...screens, ...people];
}

export class Stage {
  /** @type {Map<string, Tile>} */ #tiles = new Map();
  #order = '';

  /** @param {{onPin: (id: string) => void, onInvite: () => void}} options */
  constructor({ onPin, onInvite }) {
    this.onPin = onPin;
    this.more = el('div', { class: 'tile more-tile' }, el('p', {}));
    this.alone = el(
      'div',
      { class: 'alone' },
      el('div', {}, el('h2', {}, t('stage.alone')), el('p', {}, t('stage.aloneHint'))),
      el('button', { type: 'button', class: 'primary', onclick: onInvite }, icon('link'), t('control.invite')),
    );
    this.element = el('section', { class: 'stage', 'aria-label': t('stage.label') }, this.alone);
    new ResizeObserver(() => this.#place()).observe(this.element);
  }

  /** @param {TileData[]} tiles */
  render(tiles) {
    this.tiles = tiles;
    const present = new Set(tiles.map(({ id }) => id));
    for (const [id, tile] of this.#tiles) {
      if (present.has(id)) continue;
      tile.remove();
      this.#tiles.delete(id);
    }
    for (const data of tiles) {
      let tile = this.#tiles.get(data.id);
      if (!tile) {
        tile = new Tile({ onPin: this.onPin }, data);
        this.#tiles.set(data.id, tile);
        this.element.append(tile.element);
      }
      tile.render(data);
    }
    this.alone.hidden = tiles.some(({ self }) => !self);
    const order = tiles.map(({ id, pinned }) => id + (pinned ? '*' : '')).join(' ');
    const unseen = tiles.some(({ id, talking }) => talking && this.#tiles.get(id)?.element.hidden);
    if (order !== this.#order || unseen) {
      this.#order = order;
      this.#place();
    }
  }

  /** @type {TileData[]} */ tiles = [];

  #place() {
    const area = { width: this.element.clientWidth, height: this.element.clientHeight };
    if (!area.width || !area.height || this.tiles.length === 0) return;
    const tall = area.height > area.width;
    const big = this.tiles.find(({ pinned }) => pinned) ?? this.tiles.find(({ source }) => source === 'screen');
    const others = this.tiles.filter((one) => one !== big);
    const hidden = this.#limit(others, big ? (tall ? 8 : 12) : tall ? MOST_TILES.tall : MOST_TILES.wide);
    const count = others.length + (hidden ? 1 : 0);
    let rects;
    let floating = false;
    if (big) rects = spotlight(count, area, big.source === 'screen');
    else if (this.tiles.length === 2) {
      rects = conversation(area);
      others.sort((one, two) => Number(one.self) - Number(two.self));
      floating = true;
    } else rects = grid(count, area);
    const shown = big ? [big, ...others] : others;
    for (const tile of this.#tiles.values()) tile.element.hidden = true;
    shown.forEach(({ id }, index) => {
      const tile = this.#tiles.get(id);
      if (!tile) return;
      tile.element.hidden = false;
      tile.place(rects[index], !floating ? '' : index === 1 ? 'floating' : tall ? 'under' : '');
    });
    if (hidden) {
      const { x, y, width, height } = rects[rects.length - 1];
      Object.assign(this.more.style, {
        transform: `translate(${x}px, ${y}px)`,
        width: `${width}px`,
        height: `${height}px`,
      });
      setText(/** @type {Element} */ (this.more.firstElementChild), t('tile.more', { count: hidden }));
      this.element.append(this.more);
    } else this.more.remove();
  }

  /** Shortens the list to what can be shown; who talks is never among the rest. @param {TileData[]} tiles @param {number} most */
  #limit(tiles, most) {
    if (tiles.length <= most) return 0;
    const kept = new Set(
      [...tiles]
        .sort((one, two) => Number(two.talking || two.self) - Number(one.talking || one.self))
        .slice(0, most - 1),
    );
    const hidden = tiles.length - kept.size;
    tiles.splice(0, tiles.length, ...tiles.filter((one) => kept.has(one)));
    return hidden;
  }
}
