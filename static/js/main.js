/** The page: wires the call, the media and the view together, and shows the screen that is due. */

import { address, takeToken } from './address.js';
import { Actions } from './actions.js';
import { Call } from './call.js';
import { direction, languageTag, t, tOther } from './i18n.js';
import { Media } from './media.js';
import { keepCall, keepToken, loadSettings, saveSettings, suggestRoom, takeCall } from './settings.js';
import { roomToText } from './roomname.js';
import { announce } from './view/announce.js';
import { Attention } from './view/attention.js';
import { Voices } from './view/audio.js';
import { Awake } from './view/awake.js';
import { farewell, HelpDialog, SettingsDialog, soundGate } from './view/dialogs.js';
import { listenForKeys } from './view/keys.js';
import { Lobby } from './view/lobby.js';
import { Notices } from './view/notices.js';
import { warmUp } from './warmup.js';

/** @typedef {import('./room.js').Event} Event */
/** @typedef {import('./room.js').State} State */
/** @typedef {import('./view/keys.js').Action} Action */

const LEVEL_EVERY = 80; // ms between two looks at the microphone's meter

// `boot.js` has said why.
if (!globalThis.RTCPeerConnection) throw new Error('This browser has no WebRTC.');

class Page {
  settings = loadSettings();
  address = address;
  notices = new Notices();
  awake = new Awake();
  attention = new Attention(() => this.settings.sounds);
  /** @type {import('./view/callview.js').CallView | null} */ view = null;
  /** @type {{element: HTMLElement, focus: () => void} | null} */ #farewell = null;
  #drawing = false;
  #shown = '';
  /** The form is still there to say why it did not work. */ #asking = false;

  constructor() {
    document.documentElement.lang = languageTag;
    document.documentElement.dir = direction;
    this.media = new Media({
      onChange: () => this.call.mediaChanged(),
      onLost: (device, problem) => {
        if (this.call.state.phase === 'call') this.notices.toast(tOther(`problem.${device}.`, problem));
      },
    });
    for (const device of /** @type {const} */ (['camera', 'microphone'])) {
      this.media.devices[device].id = this.settings[device];
      this.media.devices[device].on = this.settings[`${device}On`];
    }
    this.call = new Call({
      // Below a path where a proxy shows the page below one.
      url: new URL('ws', location.href.replace('http', 'ws')).href,
      media: this.media,
      onChange: () => this.draw(),
      onEvent: (event, before) => this.#onEvent(event, before),
    });
    this.voices = new Voices(() => this.draw());
    this.voices.setSpeaker(this.settings.speaker);
    this.lobby = new Lobby({
      media: this.media,
      initial: {
        name: this.address.name || this.settings.name,
        room: this.address.room || (this.address.unreadable ? '' : suggestRoom()),
      },
      onJoin: (name, room) => this.join(name, room),
      onNear: (room) => this.call.prepare(room),
      onCancel: () => this.call.leave(),
      onToggle: (device, on) => this.actions.toggle(device, on),
      onChoose: (device, id) => this.#choose(device, id),
    });
    const actions = new Actions({
      call: this.call,
      media: this.media,
      notices: this.notices,
      remember: (some) => this.#remember(some),
      open: (dialog) => (dialog === 'help' ? this.help : this.settingsDialog).open(),
      onPanelClosed: (panel) => {
        const toolbar = this.view?.toolbar;
        if (toolbar)
          (panel === 'chat' ? toolbar.chat : panel === 'people' ? toolbar.people : toolbar.menu.button).focus();
      },
      draw: () => this.draw(),
    });
    this.actions = actions;
    this.settingsDialog = new SettingsDialog({
      sounds: this.settings.sounds,
      onSounds: (sounds) => this.#remember({ sounds }),
      onChoose: (device, id) => this.#choose(device, id),
    });
    this.help = new HelpDialog({
      enabled: this.settings.shortcuts,
      onToggle: (shortcuts) => this.#remember({ shortcuts }),
    });
    this.gate = soundGate(() => this.voices.unblock());
    this.app = /** @type {HTMLElement} */ (document.getElementById('app'));
    document.body.append(
      this.notices.toasts,
      this.notices.whisper,
      this.voices.element,
      this.settingsDialog.element,
      this.help.element,
      this.gate,
    );
    this.#listen();
  }

  /** The call's own screen comes after the first one: what is not seen yet is not waited for. */
  async #loadView() {
    const { CallView } = await import('./view/callview.js');
    const { actions } = this;
    this.view ??= new CallView({
      notices: this.notices,
      act: (action) => this.act(action),
      onPin: (tile) => this.call.dispatch({ type: 'pin', tile }),
      onCorner: (corner) => this.#remember({ corner }),
      onSizes: (sizes) => this.call.setSizes(sizes),
      onSend: (text) => this.call.sendChat(text),
      onLock: (locked) => actions.try(this.call.lock(locked)),
      onLobby: (enabled) => actions.try(this.call.setLobby(enabled)),
      knocks: {
        onAdmit: (knocks) => {
          for (const { id } of knocks) actions.try(this.call.answerKnock(id, true));
        },
        onDecline: ({ id }) => actions.try(this.call.answerKnock(id, false)),
        onShow: () => actions.panel('people'),
      },
      onMute: (participant) => actions.try(this.call.silence(participant)),
      onKick: (participant) => actions.kick(participant),
      onLowerHand: (participant) => actions.try(this.call.lowerHand(participant)),
      onReact: (reaction) => actions.try(this.call.react(reaction)),
      canShareScreen: this.media.canShareScreen,
    });
    return this.view;
  }

  async start() {
    this.draw();
    this.lobby.focus();
    this.#loadView().catch(() => {}); // joining tries again, and says so
    const name = this.lobby.name.value.trim();
    const again = takeCall(Date.now()) === this.address.room;
    if (this.address.unreadable) this.lobby.showError(t('lobby.badLink'), this.lobby.room);
    if (name && this.address.room && (this.address.join || again)) {
      await Promise.race([
        this.media.start(),
        new Promise((resolve) => {
          setTimeout(resolve, 3_000);
        }),
      ]);
      await this.join(name, this.address.room);
    } else {
      await this.media.start();
      await warmUp();
    }
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
      // Beside the joining, which says so and goes on where the server cannot be reached.
      const loading = this.#loadView().catch(() => null);
      await this.call.join({ room, name, token, relayForced, turnForced });
      if (!(await loading)) await this.#loadView().catch(() => this.#giveUp());
      this.draw();
    } catch (error) {
      const { code } = /** @type {{code?: string}} */ (error);
      this.call.dispatch({ type: 'lobby' });
      if (code !== 'left') this.lobby.refuse(code ?? '');
      return;
    } finally {
      this.#asking = false;
    }
    const query = new URLSearchParams(location.search);
    query.set('room', roomToText(room));
    query.delete('join');
    query.delete('token');
    history.replaceState(null, '', `${location.pathname}?${query}`);
  }

  /** The call's own screen does not come: there is nothing to show a call on. */
  #giveUp() {
    this.call.leave();
    throw { code: 'incomplete' };
  }

  /** @param {Action} action */
  act(action) {
    return this.actions.act(action);
  }

  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    const paint = () => {
      this.#drawing = false;
      this.#paint();
    };
    if (document.hidden)
      setTimeout(paint, 100); // no animation frames in the background, yet sound has to follow
    else requestAnimationFrame(paint);
  }

  #paint() {
    const { state } = this.call;
    const early = state.phase === 'joining' || (state.phase === 'call' && !this.view);
    const screen = early ? 'lobby' : state.phase;
    const changed = screen !== this.#shown;
    this.#shown = screen;
    if (screen === 'lobby') this.lobby.render(state, this.settings.speaker);
    if (screen === 'call') this.view?.render(this.call, this.media, this.settings);
    if (changed) this.#swap(screen, state);
    this.notices.connection(state, this.call.alive);
    this.settingsDialog.render(this.media, this.settings.speaker);
    this.voices.render(this.#heard());
    this.gate.hidden = !(this.voices.blocked && screen === 'call');
    this.attention.render(state);
    this.awake.set(screen === 'call');
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
    const shown =
      screen === 'call' && this.view
        ? this.view.element
        : screen === 'left' && this.#farewell
          ? this.#farewell.element
          : this.lobby.element;
    this.app.replaceChildren(shown);
    document.body.dataset.screen = screen;
    if (screen === 'call' && this.view) {
      this.view.render(this.call, this.media, this.settings);
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
    announce(event, before, state, this.notices, (panel) => this.actions.panel(panel));
    this.attention.hear(event, state);
    if (event.type === 'reaction')
      this.view?.stage.react(event.from === state.self ? 'self' : event.from, event.reaction);
    if (event.type === 'joined' || event.type === 'grants-updated') {
      if (!state.grants.publish) this.media.stop();
      else if (before.phase === 'call' && !before.grants.publish) this.media.start();
    }
    if (event.type === 'left' && !this.#asking) this.media.stop();
  }

  async #again() {
    const { room, name } = this.call.state;
    this.lobby.room.value = roomToText(room);
    this.lobby.name.value = name;
    this.call.dispatch({ type: 'lobby' });
    this.lobby.showError(''); // what joining ran into the last time
    await this.media.start();
    this.lobby.focus();
  }

  /** @param {'camera' | 'microphone' | 'speaker'} device @param {string} id */
  #choose(device, id) {
    this.#remember({ [device]: id });
    if (device === 'speaker') this.voices.setSpeaker(id);
    else this.media.choose(device, id);
  }

  /** @type {import('./actions.js').Remember} */
  #remember(some) {
    Object.assign(this.settings, typeof some === 'function' ? some(this.settings) : some);
    saveSettings(this.settings);
    this.draw();
  }

  #listen() {
    listenForKeys({
      active: () => this.call.state.phase === 'call' && !document.querySelector('dialog[open]'),
      enabled: () => this.settings.shortcuts,
      act: (action) => this.act(action),
    });
    for (const event of ['pointerdown', 'keydown']) {
      document.addEventListener(
        event,
        () => {
          this.media.resumeAudio();
          if (this.voices.blocked) this.voices.unblock();
        },
        { capture: true },
      );
    }
    for (const event of ['online', 'offline', 'visibilitychange']) {
      (event === 'visibilitychange' ? document : window).addEventListener(event, () => {
        if (event === 'online') this.call.moved();
        else if (navigator.onLine) this.call.probe();
        this.call.dispatch({ type: 'hidden', hidden: document.hidden });
      });
    }
    // Not in every browser, and told more often than it is so: the hub is asked, and no more.
    /** @type {any} */ (navigator).connection?.addEventListener('change', () => this.call.probe());
    window.addEventListener('pagehide', () => {
      const { phase, waiting, room } = this.call.state;
      if (phase !== 'call' && !waiting) return;
      this.call.leave();
      keepCall(room, Date.now()); // a reload, if it is one, comes back
    });
    window.addEventListener('hashchange', () => {
      // The full link, pasted where the room's is already open, loads nothing.
      takeToken();
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
