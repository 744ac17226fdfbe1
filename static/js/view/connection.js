/** How each connection is doing: the last minute of it, in lines. */

import { t } from '../i18n.js';
import { quality, WINDOW } from '../stats.js';
import { el, setAttribute, setText, svg } from './dom.js';

/** @typedef {import('../stats.js').Sample} Sample */
/** @typedef {import('../call.js').Call} Call */

const WIDTH = 120;
const HEIGHT = 28;

/** @type {{key: 'roundTrip' | 'bitrateIn' | 'bitrateOut' | 'loss' | 'frameRate', label: import('../i18n.js').Key, unit: string, floor: number}[]} */
const CHARTS = [
  { key: 'roundTrip', label: 'stats.roundTrip', unit: 'ms', floor: 50 },
  { key: 'bitrateIn', label: 'stats.in', unit: 'kbit/s', floor: 200 },
  { key: 'bitrateOut', label: 'stats.out', unit: 'kbit/s', floor: 200 },
  { key: 'loss', label: 'stats.loss', unit: '%', floor: 5 },
  { key: 'frameRate', label: 'stats.frameRate', unit: 'fps', floor: 30 },
];

/** The line through the last minute's values, the newest at the right. @param {(number | null)[]} values @param {number} floor */
export function sparkline(values, floor) {
  const top = Math.max(floor, ...values.map((value) => value ?? 0)) * 1.05;
  const step = WIDTH / (WINDOW - 1);
  return values
    .map((value, index) => {
      const x = WIDTH - (values.length - 1 - index) * step;
      return `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${(HEIGHT - 1 - ((value ?? 0) / top) * (HEIGHT - 3)).toFixed(1)}`;
    })
    .join('');
}

/** A card with one participant's charts. @param {string} name */
class StatsCard {
  /** @param {string} name */
  constructor(name) {
    this.head = el('span', { class: 'stats-path' });
    this.picture = el('dd', {});
    this.lines = CHARTS.map(({ label }) => {
      const line = svg('path', { class: 'line' });
      const area = svg('path', { class: 'area' });
      const value = el('dd', {});
      const chart = svg(
        'svg',
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'chart', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        area,
        line,
      );
      return { line, area, value, row: el('div', { class: 'stats-row' }, el('dt', {}, t(label)), chart, value) };
    });
    this.element = el(
      'article',
      { class: 'stats-card', 'aria-label': name },
      el('header', {}, el('h3', {}, name), this.head),
      el(
        'dl',
        {},
        ...this.lines.map(({ row }) => row),
        el('div', { class: 'stats-row' }, el('dt', {}, t('stats.resolution')), this.picture),
      ),
    );
  }

  /** @param {Sample[]} samples */
  render(samples) {
    const last = samples.at(-1);
    const how = quality(samples);
    setText(
      this.head,
      last ? [t(`path.${last.path}`), t(`quality.${how}`)].filter(Boolean).join(' · ') : t('tile.connecting'),
    );
    setAttribute(this.head, 'data-quality', how);
    setText(this.picture, last?.height ? `${last.width} × ${last.height}` : t('stats.none'));
    CHARTS.forEach(({ key, unit, floor }, index) => {
      const { line, area, value } = this.lines[index];
      const now = last?.[key];
      setText(
        value,
        typeof now === 'number'
          ? `${now < 10 && key === 'loss' ? now.toFixed(1) : Math.round(now)} ${unit}`
          : t('stats.none'),
      );
      const path = sparkline(
        samples.map((sample) => sample[key]),
        floor,
      );
      line.setAttribute('d', path);
      const start = WIDTH - (samples.length - 1) * (WIDTH / (WINDOW - 1));
      area.setAttribute('d', path && `${path}L${WIDTH} ${HEIGHT}L${start.toFixed(1)} ${HEIGHT}Z`);
    });
  }
}

export class ConnectionPanel {
  /** @type {Map<string, StatsCard>} */ #cards = new Map();

  constructor() {
    this.empty = el('p', { class: 'panel-empty' }, t('stats.empty'));
    this.server = el('p', { class: 'hint' });
    this.cards = el('div', { class: 'stats-cards' });
    this.element = el('div', { class: 'panel-body stats', tabindex: -1 }, this.empty, this.cards, this.server);
  }

  focus() {
    this.element.focus();
  }

  /** @param {Call} call */
  render(call) {
    const { participants } = call.state;
    this.empty.hidden = participants.length > 0;
    const present = new Set(participants.map(({ id }) => id));
    for (const [id, card] of this.#cards) {
      if (present.has(id)) continue;
      card.element.remove();
      this.#cards.delete(id);
    }
    for (const { id, name } of participants) {
      let card = this.#cards.get(id);
      if (!card) {
        card = new StatsCard(name);
        this.#cards.set(id, card);
        this.cards.append(card.element);
      }
      card.render(call.history.of(id));
    }
    setText(
      this.server,
      call.serverRoundTrip === null ? '' : t('stats.server', { ms: Math.round(call.serverRoundTrip) }),
    );
  }
}
