/** The controls of a call. */

import { t } from '../i18n.js';
import { roomToText } from '../roomname.js';
import { el, icon, iconButton, setAttribute, setIcon, setLabel, setText } from './dom.js';
import { Menu } from './menu.js';

/** @typedef {import('../call.js').Call} Call */
/** @typedef {import('../media.js').Media} Media */
/** @typedef {import('../settings.js').Settings} Settings */
/** @typedef {import('./keys.js').Action} Action */
/** @typedef {(action: Action) => void} Act */

/** @param {string} label @param {string} key */
const withKey = (label, key) => `${label} (${key})`;

export class Toolbar {
  /** @param {{act: Act, onReact: (reaction: string) => void, canShareScreen: boolean}} options */
  constructor({ act, onReact, canShareScreen }) {
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
    this.hand = control('hand', 'hand', 'wide-only');
    this.leave = control('leave', 'leave', 'leave');
    this.people = control('people', 'people', 'counted');
    this.count = el('span', { class: 'count', 'aria-hidden': 'true' });
    this.knocks = el('span', { class: 'badge knocking', 'aria-hidden': 'true' });
    this.people.append(this.count, this.knocks);
    this.chat = control('chat', 'chat');
    this.badge = el('span', { class: 'badge', 'aria-hidden': 'true' });
    this.chat.append(this.badge);
    this.menu = new Menu(act, onReact, canShareScreen);
    this.canShareScreen = canShareScreen;
    this.element = el(
      'footer',
      { class: 'bar', role: 'toolbar', 'aria-label': t('control.toolbar') },
      el('div', { class: 'bar-room' }, this.room),
      el('div', { class: 'bar-main' }, this.mic, this.camera, this.share, this.hand, this.menu.element, this.leave),
      el('div', { class: 'bar-panels' }, this.people, this.chat),
    );
  }

  /** @param {Call} call @param {Media} media @param {Settings} settings */
  render(call, media, settings) {
    const { state } = call;
    const room = roomToText(state.room);
    setText(this.roomName, room);
    setAttribute(this.room, 'aria-label', t('control.roomMenu', { room }));
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
    const up = state.hand > 0;
    setLabel(
      this.hand,
      t(up ? 'control.handDown' : 'control.handUp'),
      withKey(t(up ? 'control.handDown' : 'control.handUp'), 'H'),
    );
    setAttribute(this.hand, 'aria-pressed', String(up));
    this.hand.classList.toggle('active', up);
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
    this.menu.render(state, media, settings);
  }
}
