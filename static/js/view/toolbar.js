/** The controls of a call, and the menu behind "More". */

import { t } from '../i18n.js';
import { el, icon, iconButton, setAttribute, setIcon, setLabel, setText } from './dom.js';

/** @typedef {import('../call.js').Call} Call */
/** @typedef {import('../media.js').Media} Media */
/** @typedef {import('./keys.js').Action} Action */
/** @typedef {(action: Action) => void} Act */

/** @param {string} label @param {string} key */
const withKey = (label, key) => `${label} (${key})`;

export class Toolbar {
  /** @param {{act: Act, canShareScreen: boolean}} options */
  constructor({ act, canShareScreen }) {
    /** @param {import('./dom.js').IconName} name @param {Action} action @param {string} [extra] */
    const control = (name, action, extra = '') =>
      iconButton(name, '', () => act(action), { class: `control ${extra}` });
    this.roomName = el('span', { class: 'room-name' });
    this.roomLock = el('span', { class: 'room-lock' }, icon('lock'));
    this.room = el(
      'button',
      { type: 'button', class: 'room', onclick: () => act('invite') },
      this.roomLock,
      this.roomName,
      icon('link'),
    );
    this.mic = control('mic', 'microphone');
    this.camera = control('camera', 'camera');
    this.share = control('screen', 'share', 'wide-only');
    this.leave = control('leave', 'leave', 'leave');
    this.people = control('people', 'people', 'counted');
    this.count = el('span', { class: 'count', 'aria-hidden': 'true' });
    this.knocks = el('span', { class: 'badge knocking', 'aria-hidden': 'true' });
    this.people.append(this.count, this.knocks);
    this.chat = control('chat', 'chat');
    this.badge = el('span', { class: 'badge', 'aria-hidden': 'true' });
    this.chat.append(this.badge);
    this.menu = new Menu(act, canShareScreen);
    this.canShareScreen = canShareScreen;
    this.element = el(
      'footer',
      { class: 'bar', role: 'toolbar', 'aria-label': t('control.toolbar') },
      el('div', { class: 'bar-room' }, this.room),
      el('div', { class: 'bar-main' }, this.mic, this.camera, this.share, this.menu.element, this.leave),
      el('div', { class: 'bar-panels' }, this.people, this.chat),
    );
  }

  /** @param {Call} call @param {Media} media */
  render(call, media) {
    const { state } = call;
    setText(this.roomName, state.room);
    setAttribute(this.room, 'aria-label', t('control.roomMenu', { room: state.room }));
    setAttribute(this.room, 'data-tip', t('control.invite'));
    this.roomLock.hidden = !state.locked;
    for (const [button, device, icons, names, key] of /** @type {const} */ ([
      [this.mic, 'microphone', ['mic', 'micOff'], ['control.mute', 'control.unmute'], 'M'],
      [this.camera, 'camera', ['camera', 'cameraOff'], ['control.cameraOff', 'control.cameraOn'], 'V'],
    ])) {
      button.hidden = !state.grants.publish;
      const live = media.live(device);
      setIcon(button, icons[live ? 0 : 1]);
      setLabel(button, t(names[live ? 0 : 1]), withKey(t(names[live ? 0 : 1]), key));
      setAttribute(button, 'aria-pressed', String(live));
      button.classList.toggle('off', !live);
      button.classList.toggle('broken', media.devices[device].problem !== '');
    }
    const sharing = media.screen !== null;
    this.share.hidden = !this.canShareScreen || !state.grants.publish;
    setIcon(this.share, sharing ? 'screenOff' : 'screen');
    setLabel(
      this.share,
      t(sharing ? 'control.stopShare' : 'control.share'),
      withKey(t(sharing ? 'control.stopShare' : 'control.share'), 'S'),
    );
    setAttribute(this.share, 'aria-pressed', String(sharing));
    this.share.classList.toggle('active', sharing);
    setLabel(this.leave, t('control.leave'));
    const count = state.participants.length + 1;
    const waiting = state.knocks.length;
    setLabel(
      this.people,
      waiting ? t('control.peopleWaiting', { count, waiting }) : t('control.peopleCount', { count }),
      withKey(t('control.people'), 'P'),
    );
    setText(this.knocks, String(waiting));
    this.knocks.hidden = waiting === 0;
    setText(this.count, String(count));
    setLabel(
      this.chat,
      state.unread ? t('control.chatUnread', { count: state.unread }) : t('control.chat'),
      withKey(t('control.chat'), 'C'),
    );
    setText(this.badge, state.unread > 99 ? '99+' : String(state.unread));
    this.badge.hidden = state.unread === 0;
    for (const [button, panel] of /** @type {const} */ ([
      [this.people, 'people'],
      [this.chat, 'chat'],
    ])) {
      setAttribute(button, 'aria-expanded', String(state.panel === panel));
      button.classList.toggle('active', state.panel === panel);
    }
    this.menu.render(state, sharing);
  }
}

export class Menu {
  /** @param {Act} act @param {boolean} canShareScreen */
  constructor(act, canShareScreen) {
    this.act = act;
    this.share = this.#item('screen', 'control.share', 'share', 'S');
    this.share.classList.add('narrow-only');
    this.canShareScreen = canShareScreen;
    this.lock = this.#item('lock', 'control.lock', 'lock', '');
    const fullscreen = this.#item('expand', 'control.fullscreen', 'fullscreen', 'F');
    fullscreen.hidden = !document.fullscreenEnabled;
    this.lobby = this.#item('door', 'control.lobbyOn', 'lobby', '');
    this.list = el(
      'div',
      {
        class: 'menu',
        role: 'menu',
        'aria-label': t('control.more'),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      },
      this.share,
      this.#item('link', 'control.invite', 'invite', 'I'),
      this.#item('sliders', 'control.settings', 'settings', 'D'),
      this.#item('chart', 'control.stats', 'stats', 'N'),
      fullscreen,
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

  /** @param {import('../room.js').State} state @param {boolean} sharing */
  render(state, sharing) {
    this.share.hidden = !this.canShareScreen || !state.grants.publish;
    this.lock.hidden = !state.grants.moderate;
    this.lobby.hidden = !state.grants.moderate;
    setText(
      /** @type {Element} */ (this.lobby.querySelector('span')),
      t(state.lobby ? 'control.lobbyOff' : 'control.lobbyOn'),
    );
    setIcon(this.lock, state.locked ? 'unlock' : 'lock');
    setText(
      /** @type {Element} */ (this.lock.querySelector('span')),
      t(state.locked ? 'control.unlock' : 'control.lock'),
    );
    setText(
      /** @type {Element} */ (this.share.querySelector('span')),
      t(sharing ? 'control.stopShare' : 'control.share'),
    );
  }

  toggle(open = this.list.hidden) {
    if (open === !this.list.hidden) return;
    this.list.hidden = !open;
    setAttribute(this.button, 'aria-expanded', String(open));
    if (open) this.#items()[0]?.focus();
  }

  /**
   * @param {import('./dom.js').IconName} name @param {import('../i18n.js').Key} label
   * @param {import('./keys.js').Action} action @param {string} key
   */
  #item(name, label, action, key) {
    return el(
      'button',
      {
        type: 'button',
        role: 'menuitem',
        tabindex: -1,
        onclick: () => {
          this.button.focus();
          this.toggle(false);
          this.act(action);
        },
      },
      icon(name),
      el('span', {}, t(label)),
      key && el('kbd', { 'aria-hidden': 'true' }, key),
    );
  }

  #items() {
    return /** @type {HTMLElement[]} */ ([...this.list.children]).filter((item) => item.offsetParent !== null);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const items = this.#items();
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (event.key in targets) items.at(targets[event.key] % items.length)?.focus();
    else if (event.key === 'Escape') {
      this.button.focus();
      this.toggle(false);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
