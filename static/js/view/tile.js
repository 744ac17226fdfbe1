/** One tile: a camera or a screen, with a name, and what is not as it should be. */

import { t } from '../i18n.js';
import { fills } from '../layout.js';
import { mark } from '../marks.js';
import { avatar, el, icon, iconButton, initials, setAttribute, setLabel, setText, tint } from './dom.js';
import { cornerAfter } from './movable.js';

/**
 * @typedef {object} TileData
 * @property {string} id
 * @property {string} name        as shown
 * @property {string} person      for the initials
 * @property {'camera' | 'screen'} source
 * @property {boolean} self
 * @property {MediaStreamTrack | null} video
 * @property {boolean} mirrored
 * @property {boolean} microphone  on
 * @property {('camera' | 'microphone')[]} paused  what the system has taken away for now
 * @property {boolean} talking
 * @property {boolean} pinned
 * @property {boolean} waiting      no media yet
 * @property {boolean} reconnecting the server has lost them, or nothing comes of them; what still flows is shown
 * @property {number} hand         its place among the hands that are up, from 1; 0 while it is down
 * @property {import('../stats.js').Quality} quality
 * @property {import('../messages.js').Reception} reception  whether the line carries the picture
 */
/** @typedef {import('../layout.js').Corner} Corner */
/**
 * @typedef {object} TileActions
 * @property {(id: string) => void} onPin
 * @property {() => void} [onShape]  the picture has another shape now
 * @property {() => void} [onHideSelf]
 * @property {(corner: Corner) => void} [onCorner]
 */

const PIP_SIZE = { width: 640, height: 360 };
const SWAP_PATIENCE = 4_000; // ms to wait for a new path's first picture before the old one goes
const REACTION_FOR = 3_000; // ms
const REACTIONS_MAX = 4; // at once over one picture
const REVEAL_FOR = 4_000; // ms that a tap shows the actions

/** Three bars, as many lit as the connection deserves. */
function bars() {
  return el('span', { class: 'bars', 'aria-hidden': 'true' }, el('i'), el('i'), el('i'));
}

export class Tile {
  /** @type {HTMLVideoElement | null} */ video = null;
  /** The picture's width by its height, once it is known. @type {import('../layout.js').Shape} */ shape = null;
  /** @type {MediaStreamTrack | null} */ #track = null;
  /** @type {any} */ #revealed = null;
  /** The person wants the whole picture. */ #whole = false;
  #size = { width: 0, height: 0 };
  /** @type {Corner} */ #corner = 'bottom-right';

  /** @param {TileActions} actions @param {TileData} data */
  constructor({ onPin, onShape = () => {}, onHideSelf = () => {}, onCorner = () => {} }, data) {
    this.id = data.id;
    this.onShape = onShape;
    this.avatar = avatar(data.person);
    this.name = el('span', { class: 'tile-name-text', dir: 'auto' });
    const wave = el('span', { class: 'wave', 'aria-hidden': 'true' }, el('i'), el('i'), el('i'));
    this.hand = el('span', { class: 'tile-hand', 'aria-hidden': 'true' });
    this.label = el('div', { class: 'tile-name' }, this.hand, icon('micOff'), wave, this.name);
    this.stateText = el('span', { class: 'state-text' });
    this.state = el('div', { class: 'tile-state' }, bars(), this.stateText);
    this.pin = iconButton('pin', '', () => onPin(this.id));
    this.fitting = iconButton('whole', '', () => this.#toggleWhole());
    this.pip = iconButton('pip', '', () => this.#pictureInPicture());
    this.hide = iconButton('hide', t('tile.hideSelf'), onHideSelf);
    this.move = iconButton('move', t('tile.move'), () => {}, {
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#moveByKey(event, onCorner),
    });
    const own = data.self && data.source === 'camera';
    const pip = document.pictureInPictureEnabled && this.pip;
    const tools = [this.pin, this.fitting, pip, own && this.move, own && this.hide];
    this.actions = el('div', { class: 'tile-actions' }, ...tools);
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
      this.state,
      this.label,
      this.actions,
    );
  }

  /** @param {TileData} data */
  render(data) {
    const { element } = this;
    this.#show(data.video, data.mirrored);
    setText(this.name, data.name);
    setText(this.avatar, initials(data.person));
    setAttribute(this.avatar, 'data-tint', tint(data.person));
    setAttribute(element, 'data-source', data.source);
    element.classList.toggle('self', data.self);
    element.classList.toggle('talking', data.talking);
    element.classList.toggle('muted', !data.microphone);
    element.classList.toggle('pinned', data.pinned);
    element.classList.toggle('waiting', data.waiting);
    element.classList.toggle('reconnecting', data.reconnecting);
    element.classList.toggle('starved', data.reception === 'paused');
    setText(this.hand, data.hand ? `✋ ${data.hand}` : '');
    this.hand.hidden = !data.hand;
    const state = stateOf(data);
    setText(this.stateText, state);
    const said = data.waiting || data.reconnecting || data.paused.length > 0 || data.reception === 'paused';
    setAttribute(this.state, 'data-quality', said ? '' : data.quality);
    this.state.hidden = !state;
    setLabel(this.pin, t(data.pinned ? 'tile.unpin' : 'tile.pin', { name: data.name }));
    setAttribute(this.pin, 'aria-pressed', String(data.pinned));
    setLabel(this.pip, t('tile.pip', { name: data.name }));
    this.pip.hidden = !data.video;
    this.#renderFit(data.name);
    const facts = [
      data.name,
      data.talking && t('tile.talking'),
      !data.microphone && data.source === 'camera' && t('tile.micOff'),
      !data.video && data.source === 'camera' && !data.waiting && t('tile.cameraOff'),
      data.hand && t('tile.hand', { place: data.hand }),
      state,
    ];
    setAttribute(element, 'aria-label', facts.filter(Boolean).join(', '));
  }

  /** @param {import('../layout.js').Rect} rect @param {boolean} [floating]  above another tile */
  place({ x, y, width, height }, floating = false) {
    const { style, classList } = this.element;
    style.transform = `translate(${x}px, ${y}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    this.#size = { width, height };
    const size = Math.round(Math.min(112, Math.max(32, Math.min(width, height) * 0.36)));
    this.avatar.style.setProperty('--size', `${size}px`);
    classList.toggle('small', width < 240 || height < 130);
    classList.toggle('tiny', width < 130 || height < 90);
    classList.toggle('floating', floating);
    this.move.hidden = !floating;
    this.#renderFit(this.name.textContent ?? '');
  }

  /** How large its picture is seen, in px of the page. */
  get shownSize() {
    if (document.pictureInPictureElement && document.pictureInPictureElement === this.video) return PIP_SIZE;
    return this.element.hidden || document.hidden ? { width: 0, height: 0 } : this.#size;
  }

  /** Floats over the picture for a moment. @param {string} reaction */
  react(reaction) {
    const element = el('span', { class: 'reaction', 'aria-hidden': 'true' }, reaction);
    this.element.append(element);
    const all = this.element.querySelectorAll('.reaction');
    if (all.length > REACTIONS_MAX) all[0].remove();
    setTimeout(() => element.remove(), REACTION_FOR);
  }

  remove() {
    for (const video of this.frame.querySelectorAll('video')) video.srcObject = null;
    this.element.remove();
  }

  /** Which corner it is moved from, by keys. @param {Corner} corner */
  set corner(corner) {
    this.#corner = corner;
  }

  /** @param {string} name */
  #renderFit(name) {
    const { shape } = this;
    const filled = this.element.dataset.source === 'camera' && fills(shape, this.#size);
    const tile = this.#size.width / this.#size.height;
    const cut = filled && shape !== null && Math.min(shape / tile, tile / shape) < 0.97;
    this.element.classList.toggle('whole', !filled || (this.#whole && cut));
    this.fitting.hidden = !cut || !this.#track;
    setLabel(this.fitting, t(this.#whole ? 'tile.fill' : 'tile.whole', { name }));
    setAttribute(this.fitting, 'aria-pressed', String(this.#whole));
  }

  #toggleWhole() {
    this.#whole = !this.#whole;
    this.#renderFit(this.name.textContent ?? '');
  }

  /** @param {KeyboardEvent} event @param {(corner: Corner) => void} onCorner */
  #moveByKey(event, onCorner) {
    const corner = cornerAfter(this.#corner, event.key);
    if (!corner) return;
    event.preventDefault();
    onCorner(corner);
  }

  /**
   * Changes the picture without a black moment: the old one stays until the new one has a frame.
   * @param {MediaStreamTrack | null} track @param {boolean} mirrored
   */
  #show(track, mirrored) {
    this.video?.classList.toggle('mirror', mirrored);
    if (track === this.#track) return;
    this.#track = track;
    this.element.classList.toggle('picture', Boolean(track));
    if (!track) {
      for (const video of this.frame.querySelectorAll('video')) this.#drop(video);
      this.video = null;
      this.#setShape(null);
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
      if (!this.element.classList.contains('self') && video.videoWidth) mark('frame');
      this.#measure(video);
    };
    const timer = setTimeout(swap, before ? SWAP_PATIENCE : 0);
    video.addEventListener('loadeddata', swap, { once: true });
    video.addEventListener('resize', () => this.#measure(video)); // a phone was turned
    this.frame.append(video);
  }

  /** @param {HTMLVideoElement} video */
  #measure(video) {
    const { videoWidth, videoHeight } = video;
    if (this.video === video && videoWidth && videoHeight) this.#setShape(videoWidth / videoHeight);
  }

  /** @param {import('../layout.js').Shape} shape */
  #setShape(shape) {
    // The encoder rounds to whole blocks: that is no other picture.
    const same = shape === this.shape || (shape && this.shape && Math.abs(shape / this.shape - 1) < 0.03);
    if (same) return;
    this.shape = shape;
    this.onShape();
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
    this.#revealed = setTimeout(() => this.element.classList.remove('revealed'), REVEAL_FOR);
  }

  async #pictureInPicture() {
    if (document.pictureInPictureElement === this.video) await document.exitPictureInPicture();
    else await this.video?.requestPictureInPicture().catch(() => {});
  }
}

/** What is not as it should be, in a word; a good connection is not worth one. @param {TileData} data */
function stateOf({ self, waiting, reconnecting, paused, quality, reception }) {
  if (reconnecting) return t('tile.reconnecting');
  if (waiting) return t('tile.connecting');
  if (paused.length === 2) return t('tile.paused');
  if (paused.length) return t(paused[0] === 'camera' ? 'tile.cameraPaused' : 'tile.microphonePaused');
  if (reception === 'paused') return t('tile.starved');
  if (self || quality === '' || quality === 'good') return '';
  return t(quality === 'fair' ? 'tile.fair' : 'tile.poor');
}
