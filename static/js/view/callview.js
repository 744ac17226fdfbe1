/** The whole screen of a call: stage, toolbar, panel, banner. */

import { ChatPanel } from './chat.js';
import { ConnectionPanel } from './connection.js';
import { el } from './dom.js';
import { KnockCard } from './knocks.js';
import { Panel } from './panels.js';
import { PeoplePanel } from './people.js';
import { Stage, tilesOf } from './stage.js';
import { Toolbar } from './toolbar.js';

/** @typedef {import('../call.js').Call} Call */
/** @typedef {import('../media.js').Media} Media */

export class CallView {
  /**
   * @param {object} options
   * @param {import('./notices.js').Notices} options.notices
   * @param {(action: import('./keys.js').Action) => void} options.act
   * @param {(tile: string) => void} options.onPin
   * @param {(text: string) => Promise<void>} options.onSend
   * @param {(locked: boolean) => void} options.onLock
   * @param {(enabled: boolean) => Promise<void>} options.onLobby
   * @param {import('./knocks.js').KnockActions} options.knocks
   * @param {(participant: import('../room.js').ParticipantState) => void} options.onMute
   * @param {(participant: import('../room.js').ParticipantState) => void} options.onKick
   * @param {boolean} options.canShareScreen
   */
  constructor({ notices, act, onPin, onSend, onLock, onLobby, onMute, onKick, knocks, canShareScreen }) {
    this.stage = new Stage({ onPin, onInvite: () => act('invite') });
    this.toolbar = new Toolbar({ act, canShareScreen });
    this.chat = new ChatPanel({ onSend });
    this.people = new PeoplePanel({ onInvite: () => act('invite'), onLock, onLobby, onMute, onKick, knocks });
    this.knocks = new KnockCard(knocks);
    this.panel = new Panel({ chat: this.chat, people: this.people, stats: new ConnectionPanel() }, () => act('close'));
    this.element = el(
      'div',
      { class: 'call' },
      notices.banner,
      this.stage.element,
      this.panel.element,
      this.knocks.element,
      this.toolbar.element,
    );
  }

  /** @param {Call} call @param {Media} media */
  render(call, media) {
    this.people.state = () => call.state;
    this.stage.render(tilesOf(call, media));
    this.toolbar.render(call, media);
    this.panel.render(call, media.live('microphone'));
    const left = this.knocks.render(call.state.knocks, call.state.panel !== 'people');
    if (left && call.state.panel !== 'people') this.toolbar.people.focus(); // the focus must not get lost with the card
    this.element.classList.toggle('with-panel', call.state.panel !== '');
  }
}
