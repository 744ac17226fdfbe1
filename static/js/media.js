/** What this side sends: camera, microphone and screen, and the devices there are. Knows no DOM. */

/** @typedef {import('./messages.js').Source} Source */
/** @typedef {'' | 'denied' | 'missing' | 'busy' | 'insecure' | 'failed'} Problem */
/** @typedef {'camera' | 'microphone'} Device */

const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const LEVEL_SAMPLES = 4096; // 85 ms at 48 kHz: what lies between two looks at the meter
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** @type {Record<string, Problem>} */
const PROBLEMS = {
  NotAllowedError: 'denied',
  SecurityError: 'denied',
  NotFoundError: 'missing',
  DevicesNotFoundError: 'missing',
  OverconstrainedError: 'missing',
  NotReadableError: 'busy',
  TrackStartError: 'busy',
  AbortError: 'busy',
};

/** @param {unknown} error @returns {Problem} */
export function problemOf(error) {
  return PROBLEMS[/** @type {Error} */ (error)?.name] ?? 'failed';
}

/** How loud the samples are, 0 to 1 on a scale that speech fills. @param {Float32Array} samples */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length + 1e-10);
  return Math.min(1, Math.max(0, (decibels + 60) / 50)); // -60 dBFS is a quiet room, -10 someone close
}

export class Media {
  /** @type {Record<Device, {on: boolean, id: string, track: MediaStreamTrack | null, problem: Problem, pending: boolean}>} */
  devices = {
    camera: { on: true, id: '', track: null, problem: '', pending: false },
    microphone: { on: true, id: '', track: null, problem: '', pending: false },
  };
  /** Camera and microphone travel in one stream, a screen and its sound in another. */
  stream = new MediaStream();
  /** The same for each time a screen is shared, since a line that is used again keeps its stream's id. */
  screenStream = new MediaStream();
  /** @type {{video: MediaStreamTrack, audio: MediaStreamTrack | null} | null} */
  screen = null;
  /** @type {MediaDeviceInfo[]} */
  available = [];

  /** @type {AudioContext | null} */ #context = null;
  /** @type {AnalyserNode | null} */ #analyser = null;
  /** @type {MediaStreamAudioSourceNode | null} */ #analysed = null;
  #samples = new Float32Array(LEVEL_SAMPLES);
  /** From `start` to `stop`: what a browser gives out after that, because it was asked before, goes back. */
  #running = false;
  /** The browser is asking which screen. */ #picking = false;
  /** Which way the camera is to look, once that was chosen. @type {'' | 'user' | 'environment'} */ #facing = '';

  /** @param {{onChange: () => void, onLost?: (device: Device, problem: Problem) => void}} events */
  constructor({ onChange, onLost = () => {} }) {
    this.onChange = onChange;
    this.onLost = onLost;
    navigator.mediaDevices?.addEventListener('devicechange', () => this.refresh());
  }

  get supported() {
    return window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);
  }

  /** Of the devices that are on, those that the system has taken away for now. @returns {Device[]} */
  paused() {
    return /** @type {const} */ (['camera', 'microphone']).filter((device) => {
      const { on, track } = this.devices[device];
      return on && track?.muted;
    });
  }

  /** The camera looks at what the person sees: a mirror would turn its letters around. */
  get facesAway() {
    return this.devices.camera.track?.getSettings().facingMode === 'environment';
  }

  /** There is a camera on either side, as on phones. */
  get canFlip() {
    const facing = this.devices.camera.track?.getSettings().facingMode;
    return Boolean(facing) && this.available.filter(({ kind }) => kind === 'videoinput').length > 1;
  }

  get canShareScreen() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /** Opens what is switched on; with both, the browser asks once. */
  async start() {
    const { camera, microphone } = this.devices;
    this.#running = true;
    if (camera.on && microphone.on && !camera.track && !microphone.track && this.supported) {
      camera.pending = microphone.pending = true;
      this.onChange();
      const asked = [camera.id, microphone.id];
      try {
        this.#take(
          await navigator.mediaDevices.getUserMedia({
            video: this.#constraints('camera'),
            audio: this.#constraints('microphone'),
          }),
        );
      } catch {
        // One of them is the reason: asked one by one, the other still works.
      }
      camera.pending = microphone.pending = false;
      if (camera.id !== asked[0]) this.#close('camera'); // another was chosen meanwhile
      if (microphone.id !== asked[1]) this.#close('microphone');
    }
    await this.#open('microphone');
    await this.#open('camera');
    await this.refresh();
  }

  /** @param {Device} device @param {boolean} on */
  async toggle(device, on) {
    const state = this.devices[device];
    state.on = on;
    state.problem = '';
    if (device === 'microphone' && state.track)
      state.track.enabled = on; // stays open: speaking again is instant
    else if (!on) this.#close(device); // the camera's light goes out
    if (on) await this.#open(device);
    this.onChange();
  }

  /** Uses another device from now on. @param {Device} device @param {string} id */
  async choose(device, id) {
    const state = this.devices[device];
    if (state.id === id && state.track) return;
    state.id = id;
    state.problem = '';
    this.#close(device); // a microphone that is off, too: it is not the one to speak into any more
    await this.#open(device);
    this.onChange();
  }

  /** From the camera on the front to the one on the back, or the other way. */
  async flip() {
    this.#facing = this.facesAway ? 'user' : 'environment';
    this.devices.camera.id = '';
    this.#close('camera'); // a phone opens one at a time
    await this.#open('camera');
    await this.refresh();
  }

  async refresh() {
    if (!navigator.mediaDevices?.enumerateDevices) return;
    this.available = (await navigator.mediaDevices.enumerateDevices().catch(() => [])).filter(
      ({ deviceId }) => deviceId,
    );
    this.onChange();
  }

  /** Resolves with false when the person changed their mind, or the call ended meanwhile. */
  async shareScreen() {
    if (this.screen || this.#picking) return false;
    this.#picking = true;
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 15 }, audio: true });
      if (!this.#running) {
        for (const track of stream.getTracks()) track.stop();
        return false;
      }
      const [video] = stream.getVideoTracks();
      video.contentHint = 'detail';
      video.onended = () => this.stopScreen();
      for (const track of stream.getTracks()) this.screenStream.addTrack(track);
      this.screen = { video, audio: stream.getAudioTracks()[0] ?? null };
      this.onChange();
      return true;
    } catch (error) {
      if (problemOf(error) === 'denied') return false;
      throw error;
    } finally {
      this.#picking = false;
    }
  }

  stopScreen() {
    if (!this.screen) return;
    for (const track of this.screenStream.getTracks()) {
      track.stop();
      this.screenStream.removeTrack(track);
    }
    this.screen = null;
    this.onChange();
  }

  /** @returns {{source: Source, track: MediaStreamTrack | null, stream: MediaStream}[]} */
  outgoing() {
    const { camera, microphone } = this.devices;
    const screen = this.screenStream;
    return [
      { source: 'microphone', track: microphone.track, stream: this.stream },
      { source: 'camera', track: camera.track, stream: this.stream },
      { source: 'screen', track: this.screen?.video ?? null, stream: screen },
      { source: 'screen-audio', track: this.screen?.audio ?? null, stream: screen },
    ];
  }

  /** Whether the device is really sending. @param {Device} device */
  live(device) {
    return this.devices[device].on && this.devices[device].track !== null;
  }

  /** The microphone's level now, 0 to 1. */
  level() {
    if (!this.#analyser || !this.live('microphone')) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return loudness(this.#samples);
  }

  /** After a touch or a key the browser lets sound be measured. */
  resumeAudio() {
    if (this.#context?.state === 'suspended') this.#context.resume().catch(() => {});
  }

  stop() {
    this.#running = false;
    this.stopScreen();
    this.#close('camera');
    this.#close('microphone');
    this.onChange();
  }

  /** @param {Device} device */
  #constraints(device) {
    const { id } = this.devices[device];
    const base = device === 'camera' ? CAMERA : MICROPHONE;
    if (id) return { ...base, deviceId: { ideal: id } };
    return device === 'camera' && this.#facing ? { ...base, facingMode: { ideal: this.#facing } } : base;
  }

  /** @param {Device} device @returns {Promise<void>} */
  async #open(device) {
    const state = this.devices[device];
    if (!this.#wants(device) || state.track || state.pending) return;
    if (!this.supported) {
      state.problem = 'insecure';
      return this.onChange();
    }
    state.pending = true;
    this.onChange();
    const asked = state.id;
    try {
      const constraints = { [device === 'camera' ? 'video' : 'audio']: this.#constraints(device) };
      this.#take(await navigator.mediaDevices.getUserMedia(constraints));
    } catch (error) {
      state.problem = problemOf(error);
    }
    state.pending = false;
    if (state.id !== asked) {
      this.#close(device);
      state.problem = '';
      return this.#open(device);
    }
    this.onChange();
  }

  /** @param {MediaStream} stream */
  #take(stream) {
    for (const track of stream.getTracks()) {
      const device = track.kind === 'video' ? 'camera' : 'microphone';
      const state = this.devices[device];
      if (!this.#wants(device)) {
        // switched off, or left, while the browser was asking
        track.stop();
        continue;
      }
      state.track?.stop();
      if (state.track) this.stream.removeTrack(state.track);
      state.track = track;
      state.problem = '';
      track.enabled = state.on;
      track.onended = () => this.#ended(device, track);
      track.onmute = track.onunmute = () => this.onChange();
      this.stream.addTrack(track);
      if (device === 'microphone') this.#analyse(track);
    }
  }

  /** @param {Device} device */
  #wants(device) {
    return this.#running && this.devices[device].on;
  }

  /** The device was unplugged, or taken away. @param {Device} device @param {MediaStreamTrack} track */
  async #ended(device, track) {
    const state = this.devices[device];
    if (state.track !== track) return;
    this.#close(device);
    state.id = '';
    await this.#open(device);
    if (state.problem) this.onLost(device, state.problem); // no other took its place
    await this.refresh();
  }

  /** @param {Device} device */
  #close(device) {
    const state = this.devices[device];
    if (!state.track) return;
    state.track.onended = state.track.onmute = state.track.onunmute = null;
    state.track.stop();
    this.stream.removeTrack(state.track);
    state.track = null;
    if (device === 'microphone') this.#analysed?.disconnect();
  }

  /** @param {MediaStreamTrack} track */
  #analyse(track) {
    this.#context ??= new AudioContext();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: LEVEL_SAMPLES });
    this.#analysed?.disconnect();
    this.#analysed = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#analysed.connect(this.#analyser);
  }
}
