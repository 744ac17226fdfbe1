/** Dialogs: devices, keyboard shortcuts, a question. The browser's own element keeps the focus inside. */

import { t } from '../i18n.js';
import { DevicePickers, meter } from './devices.js';
import { explain } from './lobby.js';
import { el, icon, iconButton, setText } from './dom.js';

/** @param {string} id @param {string} title @param {...import('./dom.js').Child} children */
function dialog(id, title, ...children) {
  const element = el('dialog', {
    id,
    'aria-labelledby': `${id}-title`,
    onclick: (/** @type {Event} */ event) => {
      if (event.target === element) element.close(); // outside of what it holds
    },
  });
  element.append(
    el(
      'div',
      { class: 'dialog-body' },
      el(
        'header',
        { class: 'dialog-header' },
        el('h2', { id: `${id}-title`, tabindex: -1, autofocus: true }, title),
        iconButton('close', t('control.close'), () => element.close()),
      ),
      ...children,
    ),
  );
  return element;
}

/**
 * @param {string} id @param {string} label @param {string} hint @param {boolean} checked
 * @param {(on: boolean) => void} onToggle
 */
function switchRow(id, label, hint, checked, onToggle) {
  const words = el('span', { class: 'hint', id: `${id}-hint` }, hint);
  const onchange = (/** @type {Event} */ event) => onToggle(/** @type {HTMLInputElement} */ (event.target).checked);
  const box = { type: 'checkbox', id, class: 'switch', checked, onchange, 'aria-describedby': `${id}-hint` };
  return el(
    'div',
    { class: 'switch-row' },
    el('label', { for: id, class: 'switch-text' }, label, words),
    el('input', box),
  );
}

export class SettingsDialog {
  /**
   * @param {object} options
   * @param {boolean} options.sounds @param {(sounds: boolean) => void} options.onSounds
   * @param {(device: 'camera' | 'microphone' | 'speaker', id: string) => void} options.onChoose
   */
  constructor({ sounds, onSounds, onChoose }) {
    this.pickers = new DevicePickers({ prefix: 'settings', onChoose });
    this.meter = meter(20);
    this.problem = el('p', { class: 'form-error', role: 'alert' });
    this.element = dialog(
      'settings',
      t('settings.title'),
      this.pickers.element,
      el('div', { class: 'field' }, el('p', { class: 'label' }, t('lobby.level')), this.meter.element),
      this.problem,
      switchRow('sounds-on', t('settings.sounds'), t('settings.soundsHint'), sounds, onSounds),
    );
  }

  open() {
    this.element.showModal();
  }

  /** @param {import('../media.js').Media} media @param {string} speaker */
  render(media, speaker) {
    if (!this.element.open) return;
    this.pickers.render(media, speaker);
    const found = explain(media);
    setText(this.problem, found ? `${t(found.title)}. ${t(found.help)}` : '');
  }
}

/** @type {[import('../i18n.js').Key, string][]} */
const SHORTCUTS = [
  ['control.unmute', 'M'],
  ['help.talk', ''],
  ['control.cameraOn', 'V'],
  ['control.share', 'S'],
  ['control.handUp', 'H'],
  ['control.chat', 'C'],
  ['control.people', 'P'],
  ['control.stats', 'N'],
  ['control.invite', 'I'],
  ['control.settings', 'D'],
  ['control.fullscreen', 'F'],
  ['help.close', 'Esc'],
  ['help.this', '?'],
];

export class HelpDialog {
  /** @param {{enabled: boolean, onToggle: (enabled: boolean) => void}} options */
  constructor({ enabled, onToggle }) {
    const toggle = el('input', {
      type: 'checkbox',
      id: 'shortcuts-on',
      class: 'switch',
      checked: enabled,
      onchange: () => onToggle(toggle.checked),
    });
    this.element = dialog(
      'help',
      t('help.title'),
      el(
        'dl',
        { class: 'shortcuts' },
        ...SHORTCUTS.map(([label, key]) =>
          el('div', {}, el('dt', {}, t(label)), el('dd', {}, el('kbd', {}, key || t('help.key.space')))),
        ),
      ),
      el('div', { class: 'switch-row' }, el('label', { for: 'shortcuts-on' }, t('help.toggle')), toggle),
    );
  }

  open() {
    this.element.showModal();
  }
}

/**
 * Asks before something that others will feel, with one thing more that may be chosen.
 * @param {{title: string, hint: string, yes: string, no: string, more: string, moreHint: string}} words
 * @returns {Promise<{yes: boolean, more: boolean}>}
 */
export function ask({ title, hint, yes, no, more, moreHint }) {
  return new Promise((resolve) => {
    let answer = false;
    const choice = el('input', {
      type: 'checkbox',
      id: 'ask-more',
      class: 'switch',
      'aria-describedby': 'ask-more-hint',
    });
    /** @param {boolean} value */
    const close = (value) => {
      answer = value;
      element.close();
    };
    const element = dialog(
      'ask',
      title,
      el('p', { class: 'quiet' }, hint),
      el(
        'div',
        { class: 'switch-row' },
        el(
          'label',
          { for: 'ask-more', class: 'switch-text' },
          more,
          el('span', { class: 'hint', id: 'ask-more-hint' }, moreHint),
        ),
        choice,
      ),
      el(
        'div',
        { class: 'dialog-buttons' },
        el('button', { type: 'button', class: 'secondary', onclick: () => close(false) }, no),
        el('button', { type: 'button', class: 'danger', onclick: () => close(true) }, yes),
      ),
    );
    element.addEventListener('close', () => {
      element.remove();
      resolve({ yes: answer, more: choice.checked });
    });
    document.body.append(element);
    element.showModal();
  });
}

/**
 * A link to copy by hand, where the page may not do it unasked.
 * @param {string} link @param {string} hint @param {() => void} onCopied
 */
export function showLink(link, hint, onCopied) {
  const field = el('input', {
    id: 'invite-link',
    readonly: true,
    value: link,
    dir: 'ltr',
    'aria-label': t('invite.title'),
    onfocus: () => field.select(),
  });
  const copy = () => {
    field.select();
    // Deprecated, and the only way outside of secure pages.
    if (!document.execCommand('copy')) return;
    element.close();
    onCopied();
  };
  const element = dialog(
    'invite',
    t('invite.title'),
    el('p', { class: 'quiet' }, hint),
    field,
    el(
      'div',
      { class: 'dialog-buttons' },
      el('button', { type: 'button', class: 'primary', onclick: copy }, t('invite.copy')),
    ),
  );
  element.addEventListener('close', () => element.remove());
  document.body.append(element);
  element.showModal();
  field.focus();
}

/** After the call. @param {{title: string, onRejoin: () => void, onHome: () => void}} options */
export function farewell({ title, onRejoin, onHome }) {
  const again = el('button', { type: 'button', class: 'primary', onclick: onRejoin }, t('left.rejoin'));
  const element = el(
    'div',
    { class: 'farewell' },
    el('h1', { tabindex: -1 }, title),
    el(
      'div',
      { class: 'dialog-buttons' },
      again,
      el('button', { type: 'button', class: 'secondary', onclick: onHome }, t('left.home')),
    ),
  );
  return { element, focus: () => /** @type {HTMLElement} */ (element.firstElementChild).focus() };
}

/** @param {() => void} onTap */
export function soundGate(onTap) {
  return el(
    'div',
    { class: 'sound-gate' },
    el('button', { type: 'button', class: 'primary', onclick: onTap }, icon('sound'), t('sound.blocked')),
    el('p', {}, t('sound.why')),
  );
}
