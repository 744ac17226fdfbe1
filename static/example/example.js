/**
 * The smallest other client: joins ?room=…&name=…, sends camera and microphone to everyone, and
 * shows and plays what comes back. All it needs is the page's `signaling` and `peer`.
 */

import { Peer } from '../js/peer.js';
import { Signaling } from '../js/signaling.js';

const query = new URLSearchParams(location.search);
const room = query.get('room');
const name = query.get('name') ?? 'Example';
const videos = /** @type {HTMLElement} */ (document.getElementById('videos'));
const status = /** @type {HTMLElement} */ (document.getElementById('status'));

/** @type {Map<string, Peer>} */
const peers = new Map();
/** @type {RTCIceServer[]} */
let iceServers = [];

/** @param {string} id @param {MediaStream} stream @param {boolean} muted */
function show(id, stream, muted) {
  const video = /** @type {HTMLVideoElement} */ (document.getElementById(id) ?? document.createElement('video'));
  Object.assign(video, { id, muted, autoplay: true, playsInline: true, srcObject: stream });
  videos.append(video);
}

/** @param {MediaStream} local @param {Signaling} signaling */
function connector(local, signaling) {
  /** @param {string} id @param {boolean} polite  whether this side joined later, and so opens */
  return (id, polite) => {
    const remote = new MediaStream();
    const peer = new Peer({
      polite,
      ice: { iceServers },
      signal: (signal) => signaling.send({ ...signal, to: id }),
      onTracks: () => {
        for (const { track } of peer.incoming.values()) remote.addTrack(track);
        show(id, remote, false);
      },
      onState: (state) => {
        if (state === 'failed') peer.restart();
      },
    });
    peers.set(id, peer);
    for (const track of local.getTracks())
      peer.setSource(track.kind === 'video' ? 'camera' : 'microphone', track, local);
    if (polite) peer.begin();
  };
}

/** @param {string} room */
async function start(room) {
  const local = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  show('self', local, true);
  const signaling = new Signaling(new URL('../../ws', location.href).href.replace('http', 'ws'), {
    onState: (state) => {
      status.textContent = `${room}: ${state}`;
    },
    onMessage: (message) => {
      if (message.type === 'joined') {
        for (const id of [...peers.keys()]) remove(id);
        iceServers = message.ice_servers;
        for (const one of message.participants) connect(one.id, true);
      } else if (message.type === 'participant-joined') connect(message.participant.id, false);
      else if (message.type === 'participant-left') remove(message.participant);
      else if (message.type === 'offer' || message.type === 'answer' || message.type === 'candidate') {
        peers.get(message.from)?.receive(message);
      }
    },
  });
  const connect = connector(local, signaling);
  await signaling.join({ room, name });
  window.addEventListener('pagehide', () => signaling.leave());
}

/** @param {string} id */
function remove(id) {
  peers.get(id)?.close();
  peers.delete(id);
  document.getElementById(id)?.remove();
}

if (room)
  start(room).catch((error) => {
    status.textContent = error.message;
  });
