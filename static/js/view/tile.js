/** One tile: a picture or initials, a name, how it is connected. */

import { t } from '../i18n.js';
import { avatar, el, icon, iconButton, initials, setAttribute, setIcon, setLabel, setText, tint } from './dom.js';

/**
 * @typedef {object} TileData
 * @property {string} id
 * @property {string} name        as shown
 * @property {string} person      for the initials
 * @property {'camera' | 'screen'} source
 * @property {boolean} self
 * @property {MediaStreamTrack | null} video
 * @property {boolean} microphone  on
 * @property {boolean} talking
 * @property {boolean} pinned
 * @property {boolean} waiting    no media yet
 * @property {'' | 'direct' | 'turn' | 'relay'} path
 * @property {import('../stats.js').Quality} quality
 */

const SWAP_PATIENCE = 4_000; // ms to wait for a new path's first picture before the old one goes

/** Three bars, as many lit as the connection deserves. */
function bars() {
  return el('span', { class: 'bars', 'aria-hidden': 'true' }, el('i'), el('i'), el('i'));
}

export class Tile {
  /** @type {HTMLVideoElement | null} */ video = null;
  /** @type {MediaStreamTrack | null} */ #track = null;
  /** @type {any} */ #revealed = null;

  /** @param {{onPin: (id: string) => void}} options @param {TileData} data */
  constructor({ onPin }, data) {
    this.id = data.id;
    this.avatar = avatar(data.person);
    this.name = el('span', { class: 'tile-name-text', dir: 'auto' });
    this.mic = icon('micOff');
    this.label = el(
      'div',
      { class: 'tile-name' },
      this.mic,
      el('span', { class: 'wave', 'aria-hidden': 'true' }, el('i'), el('i'), el('i')),
      this.name,
    );
    this.pathText = el('span', { class: 'path-text' });
    this.path = el('div', { class: 'tile-path' }, bars(), this.pathText);
    this.pin = iconButton('pin', '', () => onPin(this.id));
    this.pip = iconButton('pip', '', () => this.#pictureInPicture());
    this.actions = el('div', { class: 'tile-actions' }, this.pin, document.pictureInPictureEnabled && this.pip);
    this.frame = el('div', { class: 'tile-frame' }, this.avatar);
    this.element = el(
      'article',
      {
        class: 'tile',
        'data-tile': data.id,
        onclick: () => this.#reveal(),
        ondblclick: (/** @type {Event} */ event) => this.#doubleClick(event, onPin),
      },
      this.frame,
      this.path,
      this.label,
      this.actions,
    );
  }

  /** @param {TileData} data */
  render(data) {
    const { element } = this;
    this.#show(data.video, data.self && data.source === 'camera');
    setText(this.name, data.name);
    setText(this.avatar, initials(data.person));
    setAttribute(this.avatar, 'data-tint', tint(data.person));
    setAttribute(element, 'data-source', data.source);
    element.classList.toggle('self', data.self);
    element.classList.toggle('talking', data.talking);
    element.classList.toggle('muted', !data.microphone);
    element.classList.toggle('pinned', data.pinned);
    element.classList.toggle('waiting', data.waiting);
    setIcon(this.label, 'micOff');
    const path = data.waiting ? t('tile.connecting') : t(`path.${data.path}`);
    setText(this.pathText, path);
    setAttribute(this.path, 'data-quality', data.waiting ? '' : data.quality);
    setAttribute(this.path, 'title', data.quality ? `${path} · ${t(`quality.${data.quality}`)}` : path);
    this.path.hidden = data.self;
    setLabel(this.pin, t(data.pinned ? 'tile.unpin' : 'tile.pin', { name: data.name }));
    setAttribute(this.pin, 'aria-pressed', String(data.pinned));
    setLabel(this.pip, t('tile.pip', { name: data.name }));
    this.pip.hidden = !data.video;
    const facts = [
      data.name,
      data.talking && t('tile.talking'),
      !data.microphone && data.source === 'camera' && t('tile.micOff'),
      !data.video && data.source === 'camera' && !data.waiting && t('tile.cameraOff'),
      !data.self && path,
      !data.self && data.quality && t(`quality.${data.quality}`),
    ];
    setAttribute(element, 'aria-label', facts.filter(Boolean).join(', '));
  }

  /** @param {import('../layout.js').Rect} rect @param {'' | 'floating' | 'under'} [layer]  above another tile, or below one */
  place({ x, y, width, height }, layer = '') {
    const { style, classList } = this.element;
    style.transform = `translate(${x}px, ${y}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    this.avatar.style.setProperty(
      '--size',
      `${Math.round(Math.min(112, Math.max(32, Math.min(width, height) * 0.36)))}px`,
    );
    classList.toggle('small', width < 200 || height < 130);
    classList.toggle('tiny', width < 130 || height < 90);
    classList.toggle('floating', layer === 'floating');
    classList.toggle('under', layer === 'under');
  }

  remove() {
    for (const video of this.frame.querySelectorAll('video')) video.srcObject = null;
    this.element.remove();
  }

  /**
   * Changes the picture without a black moment: the old one stays until the new one has a frame.
   * @param {MediaStreamTrack | null} track @param {boolean} mirrored
   */
  #show(track, mirrored) {
    if (track === this.#track) return;
    this.#track = track;
    this.element.classList.toggle('picture', Boolean(track));
    if (!track) {
      for (const video of this.frame.querySelectorAll('video')) this.#drop(video);
      this.video = null;
      return;
    }
    const video = el('video', { playsinline: true, autoplay: true, 'aria-hidden': 'true', tabindex: -1 });
    video.muted = true;
    video.classList.toggle('mirror', mirrored);
    video.srcObject = new MediaStream([track]);
    video.play().catch(() => {}); // muted pictures may always play; a removed element may not
    const before = this.video;
    this.video = video;
    const swap = () => {
      clearTimeout(timer);
      if (this.video !== video) return; // a path that flaps: another has come meanwhile
      for (const other of this.frame.querySelectorAll('video')) if (other !== video) this.#drop(other);
      video.classList.add('shown');
    };
    const timer = setTimeout(swap, before ? SWAP_PATIENCE : 0);
    video.addEventListener('loadeddata', swap, { once: true });
    this.frame.append(video);
  }

  /** @param {HTMLVideoElement} video */
  #drop(video) {
    video.srcObject = null;
    video.remove();
  }

  /** @param {Event} event @param {(id: string) => void} onPin */
  #doubleClick(event, onPin) {
    if (!this.actions.contains(/** @type {Node} */ (event.target))) onPin(this.id); // the actions have had their clicks
  }

  /** On touch there is no hovering: a tap shows the actions for a while. */
  #reveal() {
    this.element.classList.add('revealed');
    clearTimeout(this.#revealed);
    this.#revealed = setTimeout(() => this.element.classList.remove('revealed'), 4_000);
  }

  async #pictureInPicture() {
    if (document.pictureInPictureElement === this.video) await document.exitPictureInPicture();
    else await this.video?.requestPictureInPicture().catch(() => {});
  }
}
