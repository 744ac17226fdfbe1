/** The device pickers and the microphone's level, for the lobby and the dialog. */

import { t } from '../i18n.js';
import { el, icon, setAttribute } from './dom.js';

/** @typedef {import('../media.js').Media} Media */

const KINDS = /** @type {const} */ ([
  ['camera', 'videoinput', 'device.camera', 'camera'],
  ['microphone', 'audioinput', 'device.microphone', 'mic'],
  ['speaker', 'audiooutput', 'device.speaker', 'sound'],
]);

export const canChooseSpeaker = () => 'setSinkId' in HTMLMediaElement.prototype;

/** Bars that follow the microphone. @param {number} [bars] */
export function meter(bars = 12) {
  const element = el('div', {
    class: 'meter',
    role: 'meter',
    'aria-label': t('lobby.level'),
    'aria-valuemin': 0,
    'aria-valuemax': 100,
    'aria-valuenow': 0,
  });
  for (let index = 0; index < bars; index += 1) element.append(el('i'));
  let shown = -1;
  return {
    element,
    /** @param {number} level 0 to 1 */
    set(level) {
      const lit = Math.round(level * bars);
      if (lit === shown) return;
      shown = lit;
      for (const [index, bar] of [...element.children].entries()) bar.classList.toggle('lit', index < lit);
      setAttribute(element, 'aria-valuenow', Math.round(level * 100));
    },
  };
}

export class DevicePickers {
  /**
   * @param {object} options
   * @param {string} options.prefix  for ids
   * @param {(device: 'camera' | 'microphone' | 'speaker', id: string) => void} options.onChoose
   */
  constructor({ prefix, onChoose }) {
    this.element = el('div', { class: 'pickers' });
    /** @type {Map<string, HTMLSelectElement>} */
    this.selects = new Map();
    for (const [device, , label, symbol] of KINDS) {
      if (device === 'speaker' && !canChooseSpeaker()) continue;
      const select = el('select', { id: `${prefix}-${device}`, onchange: () => onChoose(device, select.value) });
      this.selects.set(device, select);
      this.element.append(
        el(
          'div',
          { class: 'picker' },
          el('label', { for: select.id, class: 'label' }, t(label)),
          el('div', { class: 'select' }, icon(symbol), select),
        ),
      );
    }
  }

  /** @param {Media} media @param {string} speaker */
  render(media, speaker) {
    for (const [device, kind, label] of KINDS) {
      const select = this.selects.get(device);
      if (!select) continue;
      const found = media.available.filter((one) => one.kind === kind);
      const active =
        device === 'speaker'
          ? speaker
          : (media.devices[device].track?.getSettings().deviceId ?? media.devices[device].id);
      const options = found.map(
        (one, index) =>
          /** @type {[string, string]} */ ([
            one.deviceId,
            one.label || t('device.numbered', { kind: t(label), number: index + 1 }),
          ]),
      );
      if (options.length === 0) options.push(['', t(media.available.length ? 'device.none' : 'device.default')]);
      else if (device === 'speaker' && !options.some(([id]) => id === 'default'))
        options.unshift(['', t('device.default')]);
      const signature = JSON.stringify(options);
      if (select.dataset.options !== signature) {
        select.dataset.options = signature;
        select.replaceChildren(...options.map(([value, text]) => el('option', { value }, text)));
      }
      select.disabled = found.length === 0;
      if (options.some(([id]) => id === active)) select.value = active;
    }
  }
}
