/** The side panel: people, chat and connection, one at a time. */

import { t, timeOfDay } from '../i18n.js';
import { microphoneOn } from '../room.js';
import { WINDOW, quality } from '../stats.js';
import { avatar, el, icon, iconButton, setAttribute, setIcon, setText, svg } from './dom.js';
import { KnockList } from './knocks.js';

/** @typedef {import('../room.js').State} State */
/** @typedef {import('../room.js').ParticipantState} ParticipantState */
/** @typedef {import('../stats.js').Sample} Sample */
/** @typedef {import('../call.js').Call} Call */

const GROUP_WITHIN = 120_000; // ms: lines of one person closer than this stand under one name

/** Text in which addresses are links. @param {string} text @returns {Node[]} */
export function linkify(text) {
  return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/).filter(Boolean).map((part, index, parts) => {
    if (/^https?:\/\//.test(part) && parts.length >= 1 && URL.canParse(part)) {
      return el('a', { href: part, target: '_blank', rel: 'noopener noreferrer' }, part);
    }
    return document.createTextNode(part);
  });
}

export class ChatPanel {
  #shown = 0;

  /** @param {{onSend: (text: string) => Promise<void>}} options */
  constructor({ onSend }) {
    this.onSend = onSend;
    this.empty = el('p', { class: 'panel-empty' }, t('chat.empty'));
    this.log = el('div', { class: 'chat-log', role: 'log', 'aria-live': 'polite', 'aria-label': t('chat.title'), tabindex: 0 });
    this.input = el('textarea', { id: 'chat-input', rows: 1, dir: 'auto', maxlength: 4096, placeholder: t('chat.placeholder'), 'aria-label': t('chat.placeholder'),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event), oninput: () => this.#grow() });
    this.sendButton = iconButton('send', t('chat.send'), () => this.#send(), { class: 'send' });
    this.error = el('p', { class: 'form-error', role: 'alert' });
    this.form = el('form', { class: 'chat-form', onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); this.#send(); } }, this.input, this.sendButton);
    this.notAllowed = el('p', { class: 'panel-empty' }, t('chat.notAllowed'));
    this.element = el('div', { class: 'panel-body chat' }, this.empty, this.log, this.error, this.form, this.notAllowed);
  }

  focus() {
    this.input.focus();
    this.log.scrollTop = this.log.scrollHeight; // a list that was taken out of the page begins at its top again
  }

  /** @param {State} state */
  render(state) {
    this.empty.hidden = state.chat.length > 0;
    this.log.hidden = state.chat.length === 0;
    this.form.hidden = !state.grants.chat;
    this.notAllowed.hidden = state.grants.chat;
    const last = state.chat.at(-1)?.key ?? 0;
    if (last < this.#shown) {
      this.log.replaceChildren();
      this.#shown = 0;
    }
    if (last === this.#shown) return;
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80;
    for (const [index, line] of state.chat.entries()) {
      if (line.key <= this.#shown) continue;
      const before = state.chat[index - 1];
      const grouped = before && before.from === line.from && line.timestamp - before.timestamp < GROUP_WITHIN;
      this.log.append(el('div', { class: `chat-line${line.own ? ' own' : ''}${grouped ? ' grouped' : ''}` },
        !grouped && el('p', { class: 'chat-head' }, el('strong', {}, line.own ? t('tile.you') : line.user), el('time', {}, timeOfDay(line.timestamp))),
        el('p', { class: 'chat-text', dir: 'auto' }, ...linkify(line.content))));
    }
    while (this.log.childElementCount > state.chat.length) this.log.firstElementChild?.remove();
    this.#shown = last;
    if (atEnd || state.chat.at(-1)?.own) this.log.scrollTop = this.log.scrollHeight;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // 229: in Safari the Enter that ends a composition comes after it has ended.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#send();
  }

  #grow() {
    this.input.style.height = 'auto';
    this.input.style.height = `${Math.min(120, this.input.scrollHeight)}px`;
  }

  async #send() {
    const text = this.input.value.trim();
    if (!text) return;
    this.input.value = '';
    this.#grow();
    setText(this.error, '');
    try {
      await this.onSend(text);
    } catch (error) {
      setText(this.error, t('chat.failed', { reason: /** @type {Error} */ (error).message }));
      if (!this.input.value) this.input.value = text;
    }
  }
}

export class PeoplePanel {
  /** @type {Map<string, {row: HTMLElement, name: HTMLElement, detail: HTMLElement, mic: HTMLElement, tools: HTMLElement}>} */ #rows = new Map();
  #switching = false;

  /**
   * @param {object} options
   * @param {() => void} options.onInvite
   * @param {(locked: boolean) => void} options.onLock
   * @param {(enabled: boolean) => Promise<void>} options.onLobby  ends when it is carried out, or refused
   * @param {import('./knocks.js').KnockActions} options.knocks
   * @param {(participant: ParticipantState) => void} options.onMute
   * @param {(participant: ParticipantState) => void} options.onKick
   */
  constructor(options) {
    this.options = options;
    this.list = el('ul', { class: 'people-list' });
    this.lockText = el('span');
    this.lock = el('button', { type: 'button', class: 'secondary wide', onclick: () => options.onLock(!this.locked) }, this.lockText);
    this.note = el('p', { class: 'hint' });
    this.knocks = new KnockList(options.knocks);
    this.lobby = el('input', { type: 'checkbox', id: 'lobby-on', class: 'switch', 'aria-describedby': 'lobby-hint', onchange: () => this.#switchLobby() });
    this.controls = el('div', { class: 'people-controls' },
      el('div', { class: 'switch-row' }, el('label', { for: 'lobby-on', class: 'switch-text' }, t('people.lobby'), el('span', { class: 'hint', id: 'lobby-hint' }, t('people.lobbyHint'))), this.lobby),
      this.lock);
    this.element = el('div', { class: 'panel-body people' },
      el('button', { type: 'button', class: 'primary wide', onclick: options.onInvite }, icon('link'), t('control.invite')),
      this.knocks.element, this.list, this.note, this.controls);
    this.locked = false;
  }

  focus() {
    /** @type {HTMLElement} */ (this.element.firstElementChild).focus();
  }

  /** @param {Call} call @param {boolean} microphone  our own is on */
  render(call, microphone) {
    const { state } = call;
    this.locked = state.locked;
    const moderate = state.grants.moderate;
    setText(this.note, state.locked ? t('people.locked') : moderate ? t('people.moderator') : '');
    this.note.hidden = !this.note.textContent;
    this.controls.hidden = !moderate;
    this.#renderLock(state.locked);
    if (!this.#switching) this.lobby.checked = state.lobby;
    this.knocks.render(state.knocks);
    const present = new Set([state.self, ...state.participants.map(({ id }) => id)]);
    for (const [id, { row }] of this.#rows) {
      if (present.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    this.#renderRow(state.self, t('tile.youNamed', { name: state.name }), state.name, '', microphone, null);
    for (const one of state.participants) {
      const samples = call.history.of(one.id);
      const path = samples.at(-1)?.path ?? '';
      const how = quality(samples);
      const detail = one.p2p !== 'flowing' && one.relay !== 'flowing' ? t('tile.connecting') : [t(`path.${path}`), t(`quality.${how}`)].filter(Boolean).join(' · ');
      this.#renderRow(one.id, one.name, one.name, detail, microphoneOn(one), moderate ? one : null);
    }
  }

  /** Until the hub has answered, the switch stands as it was set. */
  async #switchLobby() {
    this.#switching = true;
    await this.options.onLobby(this.lobby.checked);
    this.#switching = false;
  }

  /** @param {boolean} locked */
  #renderLock(locked) {
    setIcon(this.lock, locked ? 'unlock' : 'lock');
    setText(this.lockText, t(locked ? 'control.unlock' : 'control.lock'));
  }

  /** @param {string} id @param {string} shown @param {string} name @param {string} detail @param {boolean} microphone @param {ParticipantState | null} moderated */
  #renderRow(id, shown, name, detail, microphone, moderated) {
    let parts = this.#rows.get(id);
    if (!parts) {
      parts = { row: el('li', { class: 'person' }), name: el('p', { class: 'person-name' }), detail: el('p', { class: 'person-detail' }), mic: el('span', { class: 'person-mic' }), tools: el('div', { class: 'person-tools' }) };
      parts.row.append(avatar(name), el('div', { class: 'person-text' }, parts.name, parts.detail), parts.mic, parts.tools);
      this.#rows.set(id, parts);
      this.list.append(parts.row);
    }
    setText(parts.name, shown);
    setText(parts.detail, detail);
    parts.detail.hidden = !detail;
    parts.mic.hidden = microphone;
    if (!microphone && !parts.mic.firstChild) parts.mic.append(icon('micOff'), el('span', { class: 'visually-hidden' }, t('tile.micOff')));
    const key = moderated ? `${shown} ${microphone}` : '';
    if (parts.tools.dataset.key === key) return;
    parts.tools.dataset.key = key;
    parts.tools.replaceChildren(...(moderated ? [
      ...(microphone ? [iconButton('mic', t('people.mute', { name: shown }), () => this.#current(id, this.options.onMute))] : []),
      iconButton('remove', t('people.kick', { name: shown }), () => this.#current(id, this.options.onKick)),
    ] : []));
  }

  /** @type {() => State} */ state = () => { throw new Error('not wired'); };

  /** @param {string} id @param {(participant: ParticipantState) => void} act */
  #current(id, act) {
    const one = this.state().participants.find((participant) => participant.id === id);
    if (one) act(one);
  }
}

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
  return values.map((value, index) => {
    const x = WIDTH - (values.length - 1 - index) * step;
    return `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${(HEIGHT - 1 - ((value ?? 0) / top) * (HEIGHT - 3)).toFixed(1)}`;
  }).join('');
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
      const chart = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'chart', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, area, line);
      return { line, area, value, row: el('div', { class: 'stats-row' }, el('dt', {}, t(label)), chart, value) };
    });
    this.element = el('article', { class: 'stats-card', 'aria-label': name }, el('header', {}, el('h3', {}, name), this.head),
      el('dl', {}, ...this.lines.map(({ row }) => row), el('div', { class: 'stats-row' }, el('dt', {}, t('stats.resolution')), this.picture)));
  }

  /** @param {Sample[]} samples */
  render(samples) {
    const last = samples.at(-1);
    const how = quality(samples);
    setText(this.head, last ? [t(`path.${last.path}`), t(`quality.${how}`)].filter(Boolean).join(' · ') : t('tile.connecting'));
    setAttribute(this.head, 'data-quality', how);
    setText(this.picture, last?.height ? `${last.width} × ${last.height}` : t('stats.none'));
    CHARTS.forEach(({ key, unit, floor }, index) => {
      const { line, area, value } = this.lines[index];
      const now = last?.[key];
      setText(value, typeof now === 'number' ? `${now < 10 && key === 'loss' ? now.toFixed(1) : Math.round(now)} ${unit}` : t('stats.none'));
      const path = sparkline(samples.map((sample) => sample[key]), floor);
      line.setAttribute('d', path);
      const start = WIDTH - (samples.length - 1) * (WIDTH / (WINDOW - 1));
      area.setAttribute('d', path && `${path}L${WIDTH} ${HEIGHT}L${start.toFixed(1)} ${HEIGHT}Z`);
    });
  }
}

export class StatsPanel {
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
    setText(this.server, call.serverRoundTrip === null ? '' : t('stats.server', { ms: Math.round(call.serverRoundTrip) }));
  }
}

export class Panel {
  /** @param {{chat: ChatPanel, people: PeoplePanel, stats: StatsPanel}} panels @param {() => void} onClose */
  constructor(panels, onClose) {
    this.panels = panels;
    this.title = el('h2', { id: 'panel-title' });
    this.body = el('div', { class: 'panel-slot' });
    this.element = el('aside', { class: 'panel', 'aria-labelledby': 'panel-title' },
      el('header', { class: 'panel-header' }, this.title, iconButton('close', t('control.close'), onClose)), this.body);
    this.element.hidden = true;
    /** @type {State['panel']} */ this.shown = '';
  }

  /** @param {Call} call @param {boolean} microphone */
  render(call, microphone) {
    const { panel } = call.state;
    const changed = panel !== this.shown;
    this.shown = panel;
    this.element.hidden = panel === '';
    if (!panel) return;
    if (changed) {
      setText(this.title, t(`${panel}.title`));
      this.body.replaceChildren(this.panels[panel].element);
    }
    if (panel === 'chat') this.panels.chat.render(call.state);
    if (panel === 'people') this.panels.people.render(call, microphone);
    if (panel === 'stats') this.panels.stats.render(call);
    if (changed) this.panels[panel].focus();
  }
}
