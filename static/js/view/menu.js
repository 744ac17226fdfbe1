/** The menu behind "More": what is needed now and then. */

import { REACTIONS } from '../call.js';
import { t } from '../i18n.js';
import { el, icon, iconButton, setAttribute, setIcon, setText } from './dom.js';

/** @typedef {import('./keys.js').Action} Action */
/** @typedef {import('./toolbar.js').Act} Act */
/** @typedef {import('../i18n.js').Key} Key */

/** @type {[import('./stage.js').View, Action, Key][]} */
const VIEWS = [
  ['auto', 'viewAuto', 'view.auto'],
  ['grid', 'viewGrid', 'view.grid'],
  ['speaker', 'viewSpeaker', 'view.speaker'],
];

export class Menu {
  /** @param {Act} act @param {(reaction: string) => void} onReact @param {boolean} canShareScreen */
  constructor(act, onReact, canShareScreen) {
    this.act = act;
    const reactions = REACTIONS.map((reaction) => this.#reaction(reaction, onReact));
    this.reactions = el(
      'div',
      { class: 'menu-reactions', role: 'group', 'aria-label': t('menu.reactions') },
      ...reactions,
    );
    this.hand = this.#item('hand', 'control.handUp', 'hand', 'H');
    this.hand.classList.add('narrow-only');
    this.canShareScreen = canShareScreen;
    this.share = this.#item('screen', 'control.share', 'share', 'S');
    this.share.classList.add('narrow-only');
    this.flip = this.#item('flip', 'control.flip', 'flip', '');
    this.lock = this.#item('lock', 'control.lock', 'lock', '');
    this.self = this.#item('hide', 'control.hideSelf', 'self', '');
    const fullscreen = this.#item('expand', 'control.fullscreen', 'fullscreen', 'F');
    fullscreen.hidden = !document.fullscreenEnabled;
    this.lobby = this.#item('door', 'control.lobbyOn', 'lobby', '');
    this.views = VIEWS.map(([view, action, label]) =>
      el(
        'button',
        {
          type: 'button',
          role: 'menuitemradio',
          tabindex: -1,
          'aria-checked': 'false',
          'data-view': view,
          onclick: () => this.#choose(action),
        },
        t(label),
      ),
    );
    this.list = el(
      'div',
      {
        class: 'menu',
        role: 'menu',
        'aria-label': t('control.more'),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      },
      this.reactions,
      el('div', { class: 'menu-views', role: 'group', 'aria-label': t('view.title') }, ...this.views),
      this.hand,
      this.share,
      this.flip,
      this.#item('link', 'control.invite', 'invite', 'I'),
      this.#item('sliders', 'control.settings', 'settings', 'D'),
      this.#item('chart', 'control.stats', 'stats', 'N'),
      fullscreen,
      this.self,
      this.lobby,
      this.lock,
      this.#item('keyboard', 'control.help', 'help', '?'),
    );
    this.list.hidden = true;
    this.button = iconButton('more', t('control.more'), () => this.toggle(), {
      class: 'control',
      'aria-haspopup': 'menu',
      'aria-expanded': 'false',
    });
    this.element = el(
      'div',
      {
        class: 'menu-anchor',
        onfocusout: (/** @type {FocusEvent} */ event) => {
          if (!this.element.contains(/** @type {Node | null} */ (event.relatedTarget))) this.toggle(false);
        },
      },
      this.button,
      this.list,
    );
  }

  /**
   * @param {import('../room.js').State} state @param {import('../media.js').Media} media
   * @param {import('../settings.js').Settings} settings
   */
  render(state, media, { view, selfHidden }) {
    const { publish, moderate } = state.grants;
    this.share.hidden = !this.canShareScreen || !publish;
    this.reactions.hidden = !state.grants.data;
    say(this.hand, state.hand ? 'control.handDown' : 'control.handUp');
    this.flip.hidden = !publish || !media.canFlip;
    this.lock.hidden = this.lobby.hidden = !moderate;
    say(this.lobby, state.lobby ? 'control.lobbyOff' : 'control.lobbyOn');
    setIcon(this.lock, state.locked ? 'unlock' : 'lock');
    say(this.lock, state.locked ? 'control.unlock' : 'control.lock');
    say(this.share, media.screen ? 'control.stopShare' : 'control.share');
    say(this.self, selfHidden ? 'control.showSelf' : 'control.hideSelf');
    for (const button of this.views) setAttribute(button, 'aria-checked', String(button.dataset.view === view));
  }

  toggle(open = this.list.hidden) {
    if (open === !this.list.hidden) return;
    this.list.hidden = !open;
    setAttribute(this.button, 'aria-expanded', String(open));
    if (open) this.#items()[0]?.focus();
  }

  /** @param {import('./dom.js').IconName} name @param {Key} label @param {Action} action @param {string} key */
  #item(name, label, action, key) {
    return el(
      'button',
      { type: 'button', role: 'menuitem', tabindex: -1, onclick: () => this.#choose(action) },
      icon(name),
      el('span', {}, t(label)),
      key && el('kbd', { 'aria-hidden': 'true' }, key),
    );
  }

  /** Stays open, for more of them. @param {string} reaction @param {(reaction: string) => void} onReact */
  #reaction(reaction, onReact) {
    const onclick = () => onReact(reaction);
    return el('button', { type: 'button', role: 'menuitem', tabindex: -1, 'aria-label': reaction, onclick }, reaction);
  }

  /** @param {Action} action */
  #choose(action) {
    this.button.focus();
    this.toggle(false);
    this.act(action);
  }

  #items() {
    const items = /** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll('button'));
    return [...items].filter((item) => item.offsetParent !== null);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const items = this.#items();
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: -1 };
    if (event.key in targets) items.at(targets[event.key] % items.length)?.focus();
    else if (event.key === 'Escape') {
      this.button.focus();
      this.toggle(false);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** @param {HTMLElement} item @param {Key} label */
function say(item, label) {
  setText(/** @type {Element} */ (item.querySelector('span')), t(label));
}
