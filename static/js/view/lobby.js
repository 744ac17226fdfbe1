/** Before the call: name, room, preview, devices, and what is wrong with them. */

import { t, tOther } from '../i18n.js';
import { roomToText, roomToWire } from '../roomname.js';
import { NAME_MAX } from '../settings.js';
import { shorten } from '../text.js';
import { DevicePickers, meter } from './devices.js';
import { avatar, el, icon, iconButton, initials, logo, setAttribute, setIcon, setLabel, setText, tint } from './dom.js';

/** @typedef {import('../media.js').Media} Media */
/** @typedef {import('../room.js').State} State */
/** @typedef {import('../i18n.js').Key} Key */

/**
 * One explanation for what is switched on and does not work.
 * @param {Media} media @returns {{title: Key, help: Key} | null}
 */
export function explain(media) {
  const { camera, microphone } = media.devices;
  const broken = /** @type {const} */ (['camera', 'microphone']).filter(
    (device) => media.devices[device].on && media.devices[device].problem,
  );
  if (broken.length === 0) return null;
  const problem = media.devices[broken[0]].problem;
  const both = broken.length === 2 && camera.problem === microphone.problem;
  return {
    title: /** @type {Key} */ (`problem.${both ? 'both' : broken[0]}.${problem}`),
    help: /** @type {Key} */ (`problem.${problem}.help`),
  };
}

export class Lobby {
  /**
   * @param {object} options
   * @param {Media} options.media
   * @param {{name: string, room: string}} options.initial
   * @param {(name: string, room: string) => void} options.onJoin
   * @param {(room: string) => void} options.onNear  somebody is about to join
   * @param {() => void} options.onCancel  does not wait any longer
   * @param {(device: 'camera' | 'microphone', on: boolean) => void} options.onToggle
   * @param {(device: 'camera' | 'microphone' | 'speaker', id: string) => void} options.onChoose
   */
  constructor({ media, initial, onJoin, onNear, onCancel, onToggle, onChoose }) {
    this.media = media;
    this.onJoin = onJoin;
    this.video = el('video', {
      class: 'mirror',
      muted: true,
      playsinline: true,
      autoplay: true,
      'aria-label': t('lobby.preview'),
    });
    this.video.muted = true;
    this.placeholder = el('div', { class: 'preview-placeholder' }, avatar('?'), el('p', { class: 'quiet' }));
    this.mic = iconButton('mic', '', () => onToggle('microphone', !media.devices.microphone.on), { class: 'control' });
    this.camera = iconButton('camera', '', () => onToggle('camera', !media.devices.camera.on), { class: 'control' });
    this.flip = iconButton('flip', t('control.flip'), () => media.flip(), { class: 'control' });
    this.meter = meter();
    this.problem = el('div', { class: 'problem', role: 'alert' });
    this.name = el('input', {
      id: 'name',
      dir: 'auto',
      value: initial.name,
      autocomplete: 'name',
      placeholder: t('lobby.namePlaceholder'),
      required: true,
      oninput: () => this.#renderName(),
    });
    this.room = el('input', {
      id: 'room',
      value: roomToText(initial.room),
      dir: 'auto',
      autocomplete: 'off',
      autocapitalize: 'none',
      spellcheck: 'false',
      required: true,
    });
    this.error = el('p', { class: 'form-error', role: 'alert', id: 'form-error' });
    this.join = el('button', { type: 'submit', class: 'primary' }, t('lobby.join'));
    this.pickers = new DevicePickers({ prefix: 'lobby', onChoose });
    this.abort = el('button', { type: 'button', class: 'secondary', onclick: onCancel }, t('waiting.cancel'));
    this.cancel = el('button', { type: 'button', class: 'secondary', onclick: onCancel }, t('waiting.cancel'));
    this.waitingText = el('p', { class: 'quiet', role: 'status', 'aria-live': 'polite' });
    this.waiting = el(
      'div',
      { class: 'waiting' },
      el('div', { class: 'lobby-title' }, el('h1', { tabindex: -1 }, t('waiting.title')), this.waitingText),
      el('div', { class: 'waiting-dots', 'aria-hidden': 'true' }, el('i'), el('i'), el('i')),
      this.cancel,
    );
    this.waiting.hidden = true;
    this.fields = el(
      'div',
      { class: 'lobby-fields' },
      el(
        'div',
        { class: 'lobby-title' },
        el('h1', {}, t('lobby.title')),
        el('p', { class: 'quiet' }, t('lobby.nobodySees')),
      ),
      el('div', { class: 'field' }, el('label', { for: 'name', class: 'label' }, t('lobby.name')), this.name),
      el(
        'div',
        { class: 'field' },
        el('label', { for: 'room', class: 'label' }, t('lobby.room')),
        this.room,
        el('p', { class: 'hint', id: 'room-hint' }, t('lobby.roomHint')),
      ),
      this.error,
      el('div', { class: 'lobby-buttons' }, this.join, this.abort),
    );
    this.element = el(
      'div',
      { class: 'lobby' },
      el('header', { class: 'lobby-header' }, logo()),
      el(
        'div',
        { class: 'lobby-main' },
        el(
          'section',
          { class: 'lobby-preview', 'aria-label': t('lobby.preview') },
          el(
            'div',
            { class: 'preview' },
            this.video,
            this.placeholder,
            el('div', { class: 'preview-controls' }, this.meter.element, this.mic, this.camera, this.flip),
          ),
          this.problem,
        ),
        el(
          'form',
          { class: 'lobby-form', novalidate: true, onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
          this.fields,
          this.waiting,
          this.pickers.element,
        ),
      ),
    );
    this.room.setAttribute('aria-describedby', 'room-hint');
    const near = () => {
      const room = roomToWire(this.room.value);
      if (room) onNear(room);
    };
    for (const event of ['focusin', 'pointerover']) this.element.addEventListener(event, near);
    this.#renderName();
  }

  focus() {
    (this.name.value ? this.join : this.name).focus();
  }

  /** @param {string} text @param {HTMLInputElement | null} [field] */
  showError(text, field = null) {
    setText(this.error, text);
    for (const input of [this.name, this.room]) setAttribute(input, 'aria-invalid', input === field ? 'true' : null);
    if (field) {
      field.setAttribute('aria-errormessage', 'form-error');
      field.focus();
    }
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const name = shorten(this.name.value.trim(), NAME_MAX);
    const room = roomToWire(this.room.value);
    if (!name) return this.showError(t('lobby.needName'), this.name);
    if (!room) return this.showError(t(this.room.value.trim() ? 'lobby.badRoom' : 'lobby.needRoom'), this.room);
    this.showError('');
    this.name.value = name;
    this.room.value = roomToText(room);
    this.onJoin(name, room);
  }

  #renderName() {
    const name = this.name.value.trim() || '?';
    const picture = /** @type {HTMLElement} */ (this.placeholder.firstElementChild);
    setText(picture, initials(name));
    setAttribute(picture, 'data-tint', tint(name));
  }

  /** @param {State} state @param {string} speaker */
  render(state, speaker) {
    const { camera, microphone } = this.media.devices;
    const joining = state.phase === 'joining';
    this.join.disabled = joining;
    setText(this.join, t(joining ? 'lobby.joining' : 'lobby.join'));
    this.abort.hidden = !joining;
    if (joining && !state.waiting && state.connectionReason === 'lost') this.showError(t('lobby.unreachable'));
    this.#renderWaiting(state);
    const picture = this.media.live('camera');
    if (picture && this.video.srcObject !== this.media.stream) this.video.srcObject = this.media.stream;
    if (!picture) this.video.srcObject = null;
    this.video.hidden = !picture;
    this.video.classList.toggle('mirror', !this.media.facesAway);
    this.flip.hidden = !this.media.canFlip;
    this.placeholder.hidden = picture;
    const words = camera.pending
      ? 'lobby.cameraStarting'
      : camera.on && camera.problem
        ? /** @type {Key} */ (`problem.camera.${camera.problem}`)
        : 'lobby.cameraOff';
    setText(/** @type {Element} */ (this.placeholder.lastElementChild), t(words));
    for (const [button, device, names] of /** @type {const} */ ([
      [this.mic, microphone, ['mic', 'micOff', 'control.mute', 'control.unmute']],
      [this.camera, camera, ['camera', 'cameraOff', 'control.cameraOff', 'control.cameraOn']],
    ])) {
      const works = device.on && !device.problem;
      setIcon(button, works ? names[0] : names[1]);
      setLabel(button, t(device.on ? names[2] : names[3]));
      button.classList.toggle('off', !works);
      setAttribute(button, 'aria-pressed', String(works));
    }
    this.meter.element.hidden = !this.media.live('microphone');
    this.pickers.render(this.media, speaker);
    this.#renderProblem();
  }

  /** @param {State} state */
  #renderWaiting({ waiting, connection, room }) {
    const changed = this.waiting.hidden === waiting;
    this.waiting.hidden = !waiting;
    this.fields.hidden = waiting;
    if (waiting)
      setText(
        this.waitingText,
        connection === 'knocking' ? t('waiting.hint', { room: roomToText(room) }) : t('waiting.reconnecting'),
      );
    if (!changed) return;
    if (waiting) {
      this.showError('');
      /** @type {HTMLElement | null} */ (this.waiting.querySelector('h1'))?.focus();
    } else this.focus();
  }

  #renderProblem() {
    const found = explain(this.media);
    const key = found ? found.title : '';
    if (this.problem.dataset.key === key) return;
    this.problem.dataset.key = key;
    this.problem.hidden = !found;
    this.problem.replaceChildren(
      ...(found
        ? [
            icon('warning'),
            el('div', {}, el('h2', {}, t(found.title)), el('p', {}, t(found.help))),
            el('button', { type: 'button', class: 'secondary', onclick: () => this.#retry() }, t('problem.retry')),
          ]
        : []),
    );
  }

  async #retry() {
    for (const device of Object.values(this.media.devices)) device.problem = '';
    await this.media.start();
  }

  /** @param {string} code */
  refuse(code) {
    this.showError(tOther('refused.', code));
    // A module that did not come does not come again without the page.
    if (code === 'incomplete')
      this.error.append(' ', el('a', { href: location.href, onclick: reload }, t('refused.reload')));
    this.join.focus();
  }
}

/** Also where only the fragment of the address differs. @param {Event} event */
function reload(event) {
  event.preventDefault();
  location.reload();
}
