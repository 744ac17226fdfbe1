/** Wires the call, the media and the view together: over 400 lines, because all that a person does passes here. */

import { Call } from './call.js';
import { dateAndTime, language, t, tOther } from './i18n.js';
import { Media } from './media.js';
import { inviteLink, keepCall, keepToken, keptToken, loadSettings, readAddress, saveSettings, suggestRoom, takeCall, withoutToken } from './settings.js';
import { Voices } from './view/audio.js';
import { CallView } from './view/callview.js';
import { HelpDialog, SettingsDialog, ask, farewell, showLink, soundGate } from './view/dialogs.js';
import { listenForKeys } from './view/keys.js';
import { Lobby } from './view/lobby.js';
import { Notices } from './view/notices.js';

/** @typedef {import('./room.js').Event} Event */
/** @typedef {import('./room.js').State} State */
/** @typedef {import('./view/keys.js').Action} Action */

const LEVEL_EVERY = 80; // ms between two looks at the microphone's meter
/** What those who may only watch cannot do. @type {Set<Action>} */
const SENDING = new Set(['microphone', 'camera', 'talk', 'share']);

class Page {
  settings = loadSettings();
  address = readAddress(location.search, location.hash);
  notices = new Notices();
  /** @type {{element: HTMLElement, focus: () => void} | null} */ #farewell = null;
  /** The microphone is on for as long as a key is held. */ #held = false;
  #drawing = false;
  #shown = '';
  /** The form is still there to say why it did not work. */ #asking = false;

  constructor() {
    document.documentElement.lang = language;
    this.#takeToken();
    this.media = new Media({
      onChange: () => this.#mediaChanged(),
      onLost: (device, problem) => {
        if (this.call.state.phase === 'call') this.notices.toast(tOther(`problem.${device}.`, problem));
      },
    });
    for (const device of /** @type {const} */ (['camera', 'microphone'])) {
      this.media.devices[device].id = this.settings[device];
      this.media.devices[device].on = this.settings[`${device}On`];
    }
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    this.call = new Call({
      url: `${scheme}//${location.host}/ws`,
      media: this.media,
      onChange: () => this.draw(),
      onEvent: (event, before) => this.#onEvent(event, before),
    });
    this.voices = new Voices(() => this.draw());
    this.voices.setSpeaker(this.settings.speaker);
    this.lobby = new Lobby({
      media: this.media,
      initial: { name: this.address.name || this.settings.name, room: this.address.room || suggestRoom() },
      onJoin: (name, room) => this.join(name, room),
      onCancel: () => this.call.leave(),
      onToggle: (device, on) => this.toggle(device, on),
      onChoose: (device, id) => this.#choose(device, id),
    });
    this.view = new CallView({
      notices: this.notices,
      act: (action) => this.act(action),
      onPin: (tile) => this.call.dispatch({ type: 'pin', tile }),
      onSend: (text) => this.call.sendChat(text),
      onLock: (locked) => this.#try(this.call.lock(locked)),
      onLobby: (enabled) => this.#setLobby(enabled),
      knocks: {
        onAdmit: (knocks) => knocks.forEach(({ id }) => this.#try(this.call.answerKnock(id, true))),
        onDecline: ({ id }) => this.#try(this.call.answerKnock(id, false)),
        onShow: () => this.#panel('people'),
      },
      onMute: (participant) => this.#try(this.call.silence(participant)),
      onKick: (participant) => this.#kick(participant),
      canShareScreen: this.media.canShareScreen,
    });
    this.settingsDialog = new SettingsDialog({ onChoose: (device, id) => this.#choose(device, id) });
    this.help = new HelpDialog({ enabled: this.settings.shortcuts, onToggle: (shortcuts) => this.#remember({ shortcuts }) });
    this.gate = soundGate(() => this.voices.unblock());
    this.app = /** @type {HTMLElement} */ (document.getElementById('app'));
    document.body.append(this.notices.toasts, this.notices.whisper, this.voices.element, this.settingsDialog.element, this.help.element, this.gate);
    this.#listen();
  }

  async start() {
    this.draw();
    this.lobby.focus();
    const name = this.lobby.name.value.trim();
    const again = takeCall(Date.now()) === this.address.room;
    if (name && this.address.room && (this.address.join || again)) {
      await Promise.race([this.media.start(), new Promise((resolve) => { setTimeout(resolve, 3_000); })]);
      await this.join(name, this.address.room);
    } else await this.media.start();
  }

  /** @param {string} name @param {string} room */
  async join(name, room) {
    if (this.#asking) return; // pressed twice
    this.#remember({ name });
    keepToken(room, this.address.token);
    this.media.resumeAudio();
    this.#asking = true;
    try {
      const { token, relay: relayForced, turn: turnForced } = this.address;
      await this.call.join({ room, name, token, relayForced, turnForced });
    } catch (error) {
      const { code } = /** @type {{code?: string}} */ (error);
      this.call.dispatch({ type: 'lobby' });
      if (code !== 'left') this.lobby.refuse(code ?? '');
      return;
    } finally {
      this.#asking = false;
    }
    const query = new URLSearchParams(location.search);
    query.set('room', room);
    query.delete('join');
    query.delete('token');
    history.replaceState(null, '', `${location.pathname}?${query}`);
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
        return this.toggle('microphone', true);
      case 'hush':
        if (!this.#held) return;
        this.#held = false;
        return this.toggle('microphone', false);
      case 'share':
        return this.#share();
      case 'chat':
      case 'people':
      case 'stats':
        return this.#panel(state.panel === action ? '' : action);
      case 'close':
        return this.#panel('');
      case 'invite':
        return this.#invite();
      case 'settings':
        this.media.refresh();
        this.settingsDialog.open();
        return this.draw();
      case 'help':
        return this.help.open();
      case 'fullscreen':
        if (document.fullscreenElement) document.exitFullscreen();
        else document.documentElement.requestFullscreen?.().catch(() => {});
        return;
      case 'lock':
        return this.#try(this.call.lock(!state.locked));
      case 'lobby':
        return this.#setLobby(!state.lobby);
      case 'leave':
        return this.call.leave();
      default:
    }
  }

  /** @param {'camera' | 'microphone'} device @param {boolean} on @param {boolean} [announce] */
  async toggle(device, on, announce = false) {
    this.#remember({ [`${device}On`]: on });
    this.media.resumeAudio();
    await this.media.toggle(device, on);
    const live = this.media.live(device);
    if (announce && on && !live) this.act('settings');
    else if (announce) this.notices.say(t(device === 'camera' ? (live ? 'toast.cameraOn' : 'toast.cameraOff') : live ? 'toast.micOn' : 'toast.micOff'));
  }

  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    const paint = () => {
      this.#drawing = false;
      this.#paint();
    };
    if (document.hidden) setTimeout(paint, 100); // no animation frames in the background, yet sound has to follow
    else requestAnimationFrame(paint);
  }

  #paint() {
    const { state } = this.call;
    const screen = state.phase === 'joining' ? 'lobby' : state.phase;
    const changed = screen !== this.#shown;
    this.#shown = screen;
    if (screen === 'lobby') this.lobby.render(state, this.settings.speaker);
    if (screen === 'call') this.view.render(this.call, this.media);
    if (changed) this.#swap(screen, state);
    this.notices.connection(state);
    this.settingsDialog.render(this.media, this.settings.speaker);
    this.voices.render(this.#heard());
    this.gate.hidden = !(this.voices.blocked && screen === 'call');
    const unread = state.unread ? `(${state.unread}) ` : '';
    document.title = state.phase === 'call' ? `${unread}${state.room} – Tandem` : 'Tandem';
  }

  /** @param {string} screen @param {State} state */
  #swap(screen, state) {
    for (const dialog of document.querySelectorAll('dialog')) dialog.close();
    if (screen === 'left') {
      this.#farewell = farewell({
        title: tOther('left.', state.leftBecause),
        onRejoin: () => this.#again(),
        onHome: () => location.assign(location.pathname),
      });
    }
    const shown = screen === 'call' ? this.view.element : screen === 'left' && this.#farewell ? this.#farewell.element : this.lobby.element;
    this.app.replaceChildren(shown);
    document.body.dataset.screen = screen;
    if (screen === 'call') {
      this.view.render(this.call, this.media);
      // One who came back to a closed door has been outside: what leaves the page is paused.
      for (const video of this.view.element.querySelectorAll('video')) video.play().catch(() => {});
      const { mic, leave } = this.view.toolbar;
      (mic.hidden ? leave : mic).focus({ preventScroll: true });
    } else if (screen === 'left') this.#farewell?.focus();
  }

  #heard() {
    /** @type {Map<string, MediaStreamTrack>} */
    const tracks = new Map();
    for (const { id } of this.call.state.participants) {
      const { microphone, 'screen-audio': screen } = this.call.tracksOf(id);
      if (microphone) tracks.set(id, microphone.track);
      if (screen) tracks.set(`${id}/screen`, screen.track);
    }
    return tracks;
  }

  /** @param {Event} event @param {State} before */
  #onEvent(event, before) {
    const { state } = this.call;
    /** @param {string} id */
    const nameOf = (id) => before.participants.find((one) => one.id === id)?.name ?? '';
    switch (event.type) {
      case 'joined':
      case 'grants-updated':
        if (!state.grants.publish) {
          this.media.stop();
          this.notices.toast(t('toast.onlyWatching'));
        } else if (before.phase === 'call' && !before.grants.publish) this.media.start();
        return;
      case 'participant-joined':
        return this.notices.toast(t('toast.joined', { name: event.participant.name }));
      case 'participant-left':
        if (nameOf(event.participant)) this.notices.toast(t('toast.left', { name: nameOf(event.participant) }));
        return;
      case 'participant-updated': {
        const old = before.participants.find((one) => one.id === event.participant.id);
        if (old && !old.metadata.screen && event.participant.metadata?.screen) this.notices.toast(t('toast.sharing', { name: old.name }));
        return;
      }
      case 'chat':
        if (state.panel !== 'chat' && event.from !== state.self) this.notices.toast(t('toast.message', { name: event.user, text: event.content.slice(0, 120) }));
        return;
      case 'room-updated':
        if (state.locked !== before.locked) this.notices.toast(t(state.locked ? 'toast.locked' : 'toast.unlocked'));
        if (state.lobby !== before.lobby) this.notices.toast(t(state.lobby ? 'toast.lobbyOn' : 'toast.lobbyOff'));
        return;
      case 'knock':
        return this.notices.say(t('knock.one', { name: event.name }));
      case 'silenced':
        return this.notices.toast(t('toast.mutedByModerator'));
      case 'left':
        if (!this.#asking) this.media.stop();
        return;
      default:
    }
  }

  async #again() {
    const { room, name } = this.call.state;
    this.lobby.room.value = room;
    this.lobby.name.value = name;
    this.call.dispatch({ type: 'lobby' });
    this.lobby.showError(''); // what joining ran into the last time
    await this.media.start();
    this.lobby.focus();
  }

  /** @param {State['panel']} panel */
  #panel(panel) {
    const before = this.call.state.panel;
    if (before === panel) return;
    this.call.dispatch({ type: 'panel', panel });
    this.notices.clear();
    if (panel) return;
    const { toolbar } = this.view;
    (before === 'chat' ? toolbar.chat : before === 'people' ? toolbar.people : toolbar.menu.button).focus();
  }

  async #share() {
    if (this.media.screen) return this.media.stopScreen();
    await this.media.shareScreen().catch(() => this.notices.toast(t('toast.shareFailed')));
  }

  async #invite() {
    const { room } = this.call.state;
    const invitation = this.call.invite();
    const link = invitation.then(({ token }) => inviteLink(room, token));
    try {
      // A promise, because an await between the click and the clipboard would lose the permission in Safari.
      await navigator.clipboard.write([new ClipboardItem({ 'text/plain': link.then((text) => new Blob([text], { type: 'text/plain' })) })]);
      const { token, expires } = await invitation;
      this.notices.toast(token && expires ? t('toast.copiedUntil', { time: dateAndTime(expires) }) : t('toast.copied'));
    } catch {
      // No clipboard outside of secure pages, or without leave; or no link, which says why.
      this.#try(Promise.all([link, invitation]).then(([text, { token, expires }]) => {
        const hint = token && expires ? t('invite.hintUntil', { time: dateAndTime(expires) }) : t('invite.hint');
        showLink(text, hint, () => this.notices.toast(t('toast.copied')));
      }));
    }
  }

  /** @param {boolean} enabled */
  #setLobby(enabled) {
    return this.#try(this.call.setLobby(enabled));
  }

  /** Takes the token out of the address: it is a secret, and addresses are shown, kept and passed on. */
  #takeToken() {
    const address = readAddress(location.search, location.hash);
    keepToken(address.room, address.token);
    this.address.token = address.token ?? keptToken(address.room);
    if (address.token) history.replaceState(null, '', location.pathname + withoutToken(location.search));
  }

  /** @param {import('./room.js').ParticipantState} participant */
  async #kick(participant) {
    const { name } = participant;
    const { yes, more: ban } = await ask({
      title: t('people.kickSure', { name }),
      hint: t('people.kickHint'),
      more: t('people.ban'),
      moreHint: t('people.banHint'),
      yes: t('people.remove'),
      no: t('people.cancel'),
    });
    if (yes) this.#try(this.call.kick(participant.id, ban));
  }

  /** @param {Promise<any>} request */
  #try(request) {
    return request.catch((error) => {
      this.notices.toast(tOther('failed.', error.code ?? 'other', { reason: error.message }));
      this.draw();
    });
  }

  /** @param {'camera' | 'microphone' | 'speaker'} device @param {string} id */
  #choose(device, id) {
    this.#remember({ [device]: id });
    if (device === 'speaker') this.voices.setSpeaker(id);
    else this.media.choose(device, id);
  }

  #mediaChanged() {
    this.call.mediaChanged();
  }

  /** @param {Partial<import('./settings.js').Settings>} some */
  #remember(some) {
    Object.assign(this.settings, some);
    saveSettings(this.settings);
  }

  #listen() {
    listenForKeys({
      active: () => this.call.state.phase === 'call' && !document.querySelector('dialog[open]'),
      enabled: () => this.settings.shortcuts,
      act: (action) => this.act(action),
    });
    for (const event of ['pointerdown', 'keydown']) {
      document.addEventListener(event, () => {
        this.media.resumeAudio();
        if (this.voices.blocked) this.voices.unblock();
      }, { capture: true });
    }
    for (const event of ['online', 'offline', 'visibilitychange']) {
      (event === 'visibilitychange' ? document : window).addEventListener(event, () => {
        if (navigator.onLine) this.call.probe();
        this.draw();
      });
    }
    window.addEventListener('pagehide', () => {
      const { phase, waiting, room } = this.call.state;
      if (phase !== 'call' && !waiting) return;
      this.call.leave();
      keepCall(room, Date.now()); // a reload, if it is one, comes back
    });
    window.addEventListener('hashchange', () => {
      // The full link, pasted where the room's is already open, loads nothing.
      this.#takeToken();
      this.lobby.showError('');
    });
    window.addEventListener('pageshow', (event) => {
      if (event.persisted) location.reload(); // from the back-forward cache: the call is gone
    });
    setInterval(() => {
      const level = this.media.level();
      if (this.#shown === 'lobby') this.lobby.meter.set(level);
      if (this.settingsDialog.element.open) this.settingsDialog.meter.set(level);
    }, LEVEL_EVERY);
  }
}

export const page = new Page();
page.start();
