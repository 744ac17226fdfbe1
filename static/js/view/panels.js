/** The side panel: people, chat and connection, one at a time. */

import { t } from '../i18n.js';
import { el, iconButton, setText } from './dom.js';

/** @typedef {import('../room.js').State} State */
/** @typedef {import('../call.js').Call} Call */
/** @typedef {import('./chat.js').ChatPanel} ChatPanel */
/** @typedef {import('./people.js').PeoplePanel} PeoplePanel */
/** @typedef {import('./connection.js').ConnectionPanel} ConnectionPanel */

export class Panel {
  /** @param {{chat: ChatPanel, people: PeoplePanel, stats: ConnectionPanel}} panels @param {() => void} onClose */
  constructor(panels, onClose) {
    this.panels = panels;
    this.title = el('h2', { id: 'panel-title' });
    this.body = el('div', { class: 'panel-slot' });
    this.element = el(
      'aside',
      { class: 'panel', 'aria-labelledby': 'panel-title' },
      el('header', { class: 'panel-header' }, this.title, iconButton('close', t('control.close'), onClose)),
      this.body,
    );
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
