/** The list of people, and what moderators do with it. */

import { t } from '../i18n.js';
import { handsOf, microphoneOn } from '../room.js';
import { quality } from '../stats.js';
import { avatar, el, icon, iconButton, setAttribute, setIcon, setText } from './dom.js';
import { KnockList } from './knocks.js';

/** @typedef {import('../room.js').State} State */
/** @typedef {import('../room.js').ParticipantState} ParticipantState */
/** @typedef {import('../call.js').Call} Call */

export class PeoplePanel {
  /** @type {Map<string, {row: HTMLElement, name: HTMLElement, detail: HTMLElement, hand: HTMLElement, mic: HTMLElement, tools: HTMLElement}>} */ #rows =
    new Map();
  #switching = false;
  /** @type {string[]} */ #hands = [];

  /**
   * @param {object} options
   * @param {() => void} options.onInvite
   * @param {(locked: boolean) => void} options.onLock
   * @param {(enabled: boolean) => Promise<void>} options.onLobby  ends when it is carried out, or refused
   * @param {import('./knocks.js').KnockActions} options.knocks
   * @param {(participant: ParticipantState) => void} options.onMute
   * @param {(participant: ParticipantState) => void} options.onKick
   * @param {(participant: ParticipantState) => void} options.onLowerHand
   */
  constructor(options) {
    this.options = options;
    this.list = el('ul', { class: 'people-list' });
    this.lockText = el('span');
    this.lock = el(
      'button',
      { type: 'button', class: 'secondary wide', onclick: () => options.onLock(!this.locked) },
      this.lockText,
    );
    this.note = el('p', { class: 'hint' });
    this.knocks = new KnockList(options.knocks);
    this.lobby = el('input', {
      type: 'checkbox',
      id: 'lobby-on',
      class: 'switch',
      'aria-describedby': 'lobby-hint',
      onchange: () => this.#switchLobby(),
    });
    this.controls = el(
      'div',
      { class: 'people-controls' },
      el(
        'div',
        { class: 'switch-row' },
        el(
          'label',
          { for: 'lobby-on', class: 'switch-text' },
          t('people.lobby'),
          el('span', { class: 'hint', id: 'lobby-hint' }, t('people.lobbyHint')),
        ),
        this.lobby,
      ),
      this.lock,
    );
    this.element = el(
      'div',
      { class: 'panel-body people' },
      el(
        'button',
        { type: 'button', class: 'primary wide', onclick: options.onInvite },
        icon('link'),
        t('control.invite'),
      ),
      this.knocks.element,
      this.list,
      this.note,
      this.controls,
    );
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
    this.#hands = handsOf(state);
    this.#renderRow(state.self, t('tile.youNamed', { name: state.name }), state.name, '', microphone, null);
    for (const one of state.participants) {
      const samples = call.history.of(one.id);
      const path = samples.at(-1)?.path ?? '';
      const how = quality(samples);
      const waiting = one.p2p !== 'flowing' && one.relay !== 'flowing';
      const words = [t(`path.${path}`), t(`quality.${how}`)].filter(Boolean).join(' · ');
      const detail = one.away ? t('tile.reconnecting') : waiting ? t('tile.connecting') : words;
      this.#renderRow(one.id, one.name, one.name, detail, microphoneOn(one), moderate && !one.away ? one : null);
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
    const place = this.#hands.indexOf(id) + 1;
    let parts = this.#rows.get(id);
    if (!parts) {
      parts = {
        row: el('li', { class: 'person' }),
        name: el('p', { class: 'person-name' }),
        detail: el('p', { class: 'person-detail' }),
        hand: el('span', { class: 'person-hand' }),
        mic: el('span', { class: 'person-mic' }),
        tools: el('div', { class: 'person-tools' }),
      };
      parts.row.append(
        avatar(name),
        el('div', { class: 'person-text' }, parts.name, parts.detail),
        parts.hand,
        parts.mic,
        parts.tools,
      );
      this.#rows.set(id, parts);
      this.list.append(parts.row);
    }
    setText(parts.name, shown);
    setText(parts.detail, detail);
    parts.detail.hidden = !detail;
    parts.row.style.order = String(place ? place - this.#hands.length - 1 : 0); // hands come first
    setText(parts.hand, place ? `✋ ${place}` : '');
    setAttribute(parts.hand, 'aria-label', place ? t('tile.hand', { place }) : null);
    parts.mic.hidden = microphone;
    if (!microphone && !parts.mic.firstChild)
      parts.mic.append(icon('micOff'), el('span', { class: 'visually-hidden' }, t('tile.micOff')));
    const key = moderated ? `${shown} ${microphone} ${place > 0}` : '';
    if (parts.tools.dataset.key === key) return;
    parts.tools.dataset.key = key;
    if (!moderated) return parts.tools.replaceChildren();
    const mute = iconButton('mic', t('people.mute', { name: shown }), () => this.#current(id, this.options.onMute));
    const lower = iconButton('hand', t('people.lowerHand', { name: shown }), () =>
      this.#current(id, this.options.onLowerHand),
    );
    const kick = iconButton('remove', t('people.kick', { name: shown }), () => this.#current(id, this.options.onKick));
    parts.tools.replaceChildren(...(place ? [lower] : []), ...(microphone ? [mute] : []), kick);
  }

  /** @type {() => State} */ state = () => {
    throw new Error('not wired');
  };

  /** @param {string} id @param {(participant: ParticipantState) => void} act */
  #current(id, act) {
    const one = this.state().participants.find((participant) => participant.id === id);
    if (one) act(one);
  }
}
