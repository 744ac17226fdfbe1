/** What there is to show of a call, as data for tiles. */

import { t } from '../i18n.js';
import { cameraOn, handsOf, microphoneOn, pausedOf, screenShared, stoppedOf } from '../room.js';
import { quality } from '../stats.js';

/** @typedef {import('../call.js').Call} Call */
/** @typedef {import('../media.js').Media} Media */
/** @typedef {import('../room.js').ParticipantState} ParticipantState */
/** @typedef {import('./tile.js').TileData} TileData */

/** Screens first. One's own is not among them: it would show itself in itself. @param {Call} call @param {Media} media @param {boolean} [selfHidden] @returns {TileData[]} */
export function tilesOf(call, media, selfHidden = false) {
  const others = call.state.participants.flatMap((one) => tilesOfOne(call, one));
  const screens = others.filter(({ source }) => source === 'screen');
  const people = others.filter(({ source }) => source === 'camera');
  return [...screens, ...(selfHidden && people.length ? [] : [ownTile(call, media)]), ...people];
}

/** @param {Call} call @param {Media} media @returns {TileData} */
function ownTile(call, media) {
  const { state } = call;
  return {
    id: 'self',
    name: t('tile.you'),
    person: state.name,
    source: 'camera',
    self: true,
    video: media.live('camera') ? media.devices.camera.track : null,
    mirrored: !media.facesAway,
    microphone: media.live('microphone'),
    paused: media.paused(),
    talking: call.talking.has(state.self),
    pinned: state.pinned.includes('self'),
    waiting: false,
    reconnecting: false,
    hand: handsOf(state).indexOf(state.self) + 1,
    quality: '',
    reception: 'full',
  };
}

/** @param {Call} call @param {ParticipantState} one @returns {TileData[]} */
function tilesOfOne(call, one) {
  const { pinned } = call.state;
  const tracks = call.tracksOf(one.id);
  const silent = one.metadata.camera === undefined && tracks.camera?.track.muted; // it says nothing, and sends nothing
  /** @type {TileData} */
  const tile = {
    id: one.id,
    name: one.name,
    person: one.name,
    source: 'camera',
    self: false,
    video: cameraOn(one) && !silent ? (tracks.camera?.track ?? null) : null,
    mirrored: false,
    microphone: microphoneOn(one),
    paused: pausedOf(one),
    talking: call.talking.has(one.id),
    pinned: pinned.includes(one.id),
    waiting: one.p2p !== 'flowing' && one.relay !== 'flowing',
    reconnecting: one.away || one.silent || stoppedOf(one),
    hand: handsOf(call.state).indexOf(one.id) + 1,
    quality: worse(quality(call.history.of(one.id)), call.state.quality[one.id]?.up),
    reception: receptionOf(call.state, one, 'camera'),
  };
  if (!screenShared(one)) return [tile];
  const id = `${one.id}/screen`;
  const name = t('tile.screenOf', { name: one.name });
  const video = tracks.screen?.track ?? null;
  const reception = receptionOf(call.state, one, 'screen');
  const screen = { ...tile, id, name, video, source: /** @type {const} */ ('screen'), paused: [], reception };
  return [{ ...screen, hand: 0, microphone: true, talking: false, pinned: pinned.includes(id) }, tile];
}

/**
 * What becomes of a picture that comes through the relay.
 * @param {import('../room.js').State} state @param {ParticipantState} one @param {'camera' | 'screen'} source
 */
function receptionOf(state, one, source) {
  const track = one.tracks.find((some) => some.source === source);
  const relayed = one.p2p !== 'flowing' || one.relay === 'flowing';
  return (relayed && track && state.reception[track.id]) || 'full';
}

/**
 * The worse of what is seen here and what the relay says of their way to it.
 * @param {import('../stats.js').Quality} here @param {number | undefined} up @returns {import('../stats.js').Quality}
 */
function worse(here, up) {
  if (here === '' || here === 'poor' || up === undefined || up > 2) return here;
  return up === 2 ? 'fair' : 'poor';
}
