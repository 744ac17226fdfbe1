/** What a button, a key or a menu makes the page do. */

import { t, tOther } from './i18n.js';
import { passInvitation } from './invitation.js';
import { ask } from './view/dialogs.js';

/** @typedef {import('./room.js').State} State */
/** @typedef {import('./room.js').ParticipantState} ParticipantState */
/** @typedef {import('./media.js').Device} Device */
/** @typedef {import('./view/keys.js').Action} Action */

/** @typedef {import('./settings.js').Settings} Settings */
/** @typedef {(some: Partial<Settings> | ((settings: Settings) => Partial<Settings>)) => void} Remember */

/** What those who may only watch cannot do. @type {Set<Action>} */
const SENDING = new Set(['microphone', 'camera', 'talk', 'share', 'flip']);

export class Actions {
  /** The microphone is on for as long as a key is held. */ #held = false;

  /**
   * @param {object} options
   * @param {import('./call.js').Call} options.call
   * @param {import('./media.js').Media} options.media
   * @param {import('./view/notices.js').Notices} options.notices
   * @param {Remember} options.remember
   * @param {(dialog: 'settings' | 'help') => void} options.open
   * @param {(panel: State['panel']) => void} options.onPanelClosed  where the focus goes then
   * @param {() => void} options.draw
   */
  constructor({ call, media, notices, remember, open, onPanelClosed, draw }) {
    this.call = call;
    this.media = media;
    this.notices = notices;
    this.remember = remember;
    this.open = open;
    this.onPanelClosed = onPanelClosed;
    this.draw = draw;
  }

  /** @param {Action} action */
  act(action) {
    const { state } = this.call;
    if (!state.grants.publish && SENDING.has(action)) return this.notices.toast(t('toast.onlyWatching'));
    switch (action) {
      case 'microphone':
      case 'camera':
        return this.toggle(action, !this.media.live(action), true);
      case 'talk':
        if (this.media.live('microphone')) return; // then letting go must not turn it off
        this.#held = true;
        this.media.resumeAudio();
        return this.media.toggle('microphone', true);
      case 'hush':
        if (!this.#held) return;
        this.#held = false;
        return this.media.toggle('microphone', false);
      case 'share':
        return this.#share();
      case 'chat':
      case 'people':
      case 'stats':
        return this.panel(state.panel === action ? '' : action);
      case 'close':
        return this.panel('');
      case 'invite':
        return this.try(passInvitation(this.call, this.notices));
      case 'settings':
        this.media.refresh();
        this.open('settings');
        return this.draw();
      case 'help':
        return this.open('help');
      case 'fullscreen':
        if (document.fullscreenElement) document.exitFullscreen();
        else document.documentElement.requestFullscreen?.().catch(() => {});
        return;
      case 'lock':
        return this.try(this.call.lock(!state.locked));
      case 'lobby':
        return this.try(this.call.setLobby(!state.lobby));
      case 'hand':
        return this.#raiseHand(!state.hand);
      case 'flip':
        return this.try(this.media.flip());
      case 'self':
        return this.remember((settings) => ({ selfHidden: !settings.selfHidden }));
      case 'viewAuto':
        return this.remember({ view: 'auto' });
      case 'viewGrid':
        return this.remember({ view: 'grid' });
      case 'viewSpeaker':
        return this.remember({ view: 'speaker' });
      case 'leave':
        return this.call.leave();
      default:
    }
  }

  /** @param {Device} device @param {boolean} on @param {boolean} [announce] */
  async toggle(device, on, announce = false) {
    this.remember({ [`${device}On`]: on });
    this.media.resumeAudio();
    await this.media.toggle(device, on);
    const live = this.media.live(device);
    if (announce && on && !live) this.act('settings');
    else if (announce) {
      const [whenOn, whenOff] =
        device === 'camera'
          ? /** @type {const} */ (['toast.cameraOn', 'toast.cameraOff'])
          : /** @type {const} */ (['toast.micOn', 'toast.micOff']);
      this.notices.say(t(live ? whenOn : whenOff));
    }
  }

  /** @param {State['panel']} panel */
  panel(panel) {
    const before = this.call.state.panel;
    if (before === panel) return;
    this.call.dispatch({ type: 'panel', panel });
    this.notices.clear();
    if (!panel) this.onPanelClosed(before);
  }

  /** @param {ParticipantState} participant */
  async kick({ id, name }) {
    const { yes, more: ban } = await ask({
      title: t('people.kickSure', { name }),
      hint: t('people.kickHint'),
      more: t('people.ban'),
      moreHint: t('people.banHint'),
      yes: t('people.remove'),
      no: t('people.cancel'),
    });
    if (yes) this.try(this.call.kick(id, ban));
  }

  /** Says why something was refused. @param {Promise<any>} request */
  try(request) {
    return request.catch((error) => {
      this.notices.toast(tOther('failed.', error.code ?? 'other', { reason: error.message }));
      this.draw();
    });
  }

  /** @param {boolean} up */
  #raiseHand(up) {
    this.call.raiseHand(up);
    this.notices.say(t(up ? 'toast.handUp' : 'toast.handDown'));
  }

  async #share() {
    if (this.media.screen) return this.media.stopScreen();
    await this.media.shareScreen().catch(() => this.notices.toast(t('toast.shareFailed')));
  }
}
