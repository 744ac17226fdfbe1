// Perfect negotiation over a peer connection that only notes what it is given.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Peer } from '../../../static/js/peer.js';

test('after an answer that failed, the impolite side still ignores an offer that crosses its own', async () => {
  const taken = [];
  globalThis.RTCPeerConnection = class {
    signalingState = 'stable';
    async setRemoteDescription({ type, sdp }) {
      taken.push(type);
      if (sdp === 'stale') throw new Error('wrong state');
    }
    async setLocalDescription() {
      this.signalingState = 'have-local-offer';
    }
  };
  const peer = new Peer({ polite: false, ice: {}, signal: () => {}, onTracks: () => {}, onState: () => {} });
  const { warn } = console;
  console.warn = () => {};
  await peer.receive({ type: 'answer', sdp: 'stale' });
  console.warn = warn;
  await peer.pc.onnegotiationneeded();
  await peer.receive({ type: 'offer', sdp: 'crossing' });
  assert.deepEqual(taken, ['answer']);
});
