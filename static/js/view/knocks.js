/** Who waits to be let in: a card beside the call, and a list in the people panel. For moderators. */

import { t } from '../i18n.js';
import { avatar, el, iconButton, setText } from './dom.js';

/** @typedef {import('../room.js').Knock} Knock */
/**
 * @typedef {object} KnockActions
 * @property {(knocks: Knock[]) => void} onAdmit
 * @property {(knock: Knock) => void} onDecline
 * @property {() => void} onShow  the list
 */

export class KnockCard {
  /** @type {Knock[]} */ #knocks = [];

  /** @param {KnockActions} actions */
  constructor({ onAdmit, onDecline, onShow }) {
    this.faces = el('div', { class: 'knock-faces' });
    this.text = el('p', { class: 'knock-text', id: 'knock-text' });
    this.decline = el(
      'button',
      { type: 'button', class: 'secondary', onclick: () => onDecline(this.#knocks[0]) },
      t('knock.decline'),
    );
    this.show = el('button', { type: 'button', class: 'secondary', onclick: onShow }, t('knock.show'));
    this.admit = el('button', { type: 'button', class: 'primary', onclick: () => onAdmit(this.#knocks) });
    this.element = el(
      'section',
      { class: 'knock-card', 'aria-labelledby': 'knock-text' },
      el('div', { class: 'knock-who' }, this.faces, this.text),
      el('div', { class: 'knock-buttons' }, this.decline, this.show, this.admit),
    );
    this.element.hidden = true;
  }

  /**
   * @param {Knock[]} knocks @param {boolean} shown  false where the list says the same
   * @returns {boolean} whether the card went while it had the focus
   */
  render(knocks, shown) {
    this.#knocks = knocks;
    const hidden = !shown || knocks.length === 0;
    const left = hidden && !this.element.hidden && this.element.contains(document.activeElement);
    this.element.hidden = hidden;
    if (hidden) return left;
    const [{ name }] = knocks;
    const several = knocks.length > 1;
    const key = knocks
      .slice(0, 3)
      .map(({ id }) => id)
      .join(' ');
    if (this.faces.dataset.key !== key) {
      this.faces.dataset.key = key;
      this.faces.replaceChildren(...knocks.slice(0, 3).map((one) => avatar(one.name)));
    }
    setText(this.text, several ? t('knock.several', { name, count: knocks.length - 1 }) : t('knock.one', { name }));
    this.decline.hidden = several;
    this.show.hidden = !several;
    setText(this.admit, t(several ? 'knock.admitAll' : 'knock.admit'));
    return false;
  }
}

export class KnockList {
  /** @type {Map<string, HTMLElement>} */ #rows = new Map();
  /** @type {Knock[]} */ #knocks = [];

  /** @param {KnockActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.list = el('ul', { class: 'people-list' });
    this.all = el(
      'button',
      { type: 'button', class: 'text-button', onclick: () => actions.onAdmit(this.#knocks) },
      t('knock.admitAll'),
    );
    this.element = el(
      'section',
      { class: 'knock-list', 'aria-labelledby': 'knock-title' },
      el('header', {}, el('h3', { id: 'knock-title' }, t('knock.title')), this.all),
      this.list,
    );
    this.element.hidden = true;
  }

  /** @param {Knock[]} knocks */
  render(knocks) {
    this.#knocks = knocks;
    this.element.hidden = knocks.length === 0;
    this.all.hidden = knocks.length < 2;
    const waiting = new Set(knocks.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (waiting.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    for (const knock of knocks) {
      if (this.#rows.has(knock.id)) continue;
      const { name } = knock;
      const row = el(
        'li',
        { class: 'person' },
        avatar(name),
        el('div', { class: 'person-text' }, el('p', { class: 'person-name' }, name)),
        el(
          'div',
          { class: 'person-tools' },
          iconButton('close', t('knock.declineNamed', { name }), () => this.actions.onDecline(knock)),
        ),
        el(
          'button',
          {
            type: 'button',
            class: 'secondary admit',
            'aria-label': t('knock.admitNamed', { name }),
            onclick: () => this.actions.onAdmit([knock]),
          },
          t('knock.admit'),
        ),
      );
      this.#rows.set(knock.id, row);
      this.list.append(row);
    }
  }
}
