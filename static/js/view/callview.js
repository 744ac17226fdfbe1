/** The whole screen of a call: stage, toolbar, panel, banner. */

import { t } from '../i18n.js';
import { ChatPanel } from './chat.js';
import { ConnectionPanel } from './connection.js';
import { el, icon } from './dom.js';
import { KnockCard } from './knocks.js';
import { Panel } from './panels.js';
import { PeoplePanel } from './people.js';
import { Stage } from './stage.js';
import { tilesOf } from './tiles.js';
import { Toolbar } from './toolbar.js';

/** @typedef {import('../call.js').Call} Call */
/** @typedef {import('../media.js').Media} Media */
/** @typedef {import('../settings.js').Settings} Settings */

export class CallView {
  /**
   * @param {object} options
   * @param {import('./notices.js').Notices} options.notices
   * @param {(action: import('./keys.js').Action) => void} options.act
   * @param {(tile: string) => void} options.onPin
   * @param {(corner: import('../layout.js').Corner) => void} options.onCorner
   * @param {(text: string) => Promise<void>} options.onSend
   * @param {(locked: boolean) => void} options.onLock
   * @param {(enabled: boolean) => Promise<void>} options.onLobby
   * @param {import('./knocks.js').KnockActions} options.knocks
   * @param {(participant: import('../room.js').ParticipantState) => void} options.onMute
   * @param {(participant: import('../room.js').ParticipantState) => void} options.onKick
   * @param {(participant: import('../room.js').ParticipantState) => void} options.onLowerHand
   * @param {(reaction: string) => void} options.onReact
   * @param {boolean} options.canShareScreen
   * @param {(sizes: Map<string, import('../adaptive.js').Size>) => void} options.onSizes
   */
  constructor(options) {
    const { notices, act, onPin, onCorner, onSend, onLock, onLobby, onMute, onKick, knocks, canShareScreen } = options;
    const { onSizes, onLowerHand, onReact } = options;
    this.stage = new Stage({ onPin, onCorner, onSizes, onInvite: () => act('invite'), onHideSelf: () => act('self') });
    this.toolbar = new Toolbar({ act, onReact, canShareScreen });
    this.chat = new ChatPanel({ onSend });
    const moderation = { onLock, onLobby, onMute, onKick, onLowerHand, knocks };
    this.people = new PeoplePanel({ onInvite: () => act('invite'), ...moderation });
    this.knocks = new KnockCard(knocks);
    this.panel = new Panel({ chat: this.chat, people: this.people, stats: new ConnectionPanel() }, () => act('close'));
    // Instead of the screen itself, which would show itself in itself.
    const stop = el('button', { type: 'button', class: 'secondary', onclick: () => act('share') }, t('sharing.stop'));
    this.sharing = el(
      'div',
      { class: 'sharing', role: 'status' },
      icon('screen'),
      el('p', {}, t('sharing.title')),
      stop,
    );
    this.sharing.hidden = true;
    this.element = el(
      'div',
      { class: 'call' },
      notices.banner,
      this.sharing,
      this.stage.element,
      this.panel.element,
      this.knocks.element,
      this.toolbar.element,
    );
  }

  /** @param {Call} call @param {Media} media @param {Settings} settings */
  render(call, media, settings) {
    const { state } = call;
    this.people.state = () => call.state;
    this.sharing.hidden = !media.screen;
    this.stage.render(tilesOf(call, media, settings.selfHidden), settings);
    this.toolbar.render(call, media, settings);
    this.panel.render(call, media.live('microphone'));
    const left = this.knocks.render(state.knocks, state.panel !== 'people');
    if (left && state.panel !== 'people') this.toolbar.people.focus(); // the focus must not get lost with the card
    this.element.classList.toggle('with-panel', state.panel !== '');
  }
}
