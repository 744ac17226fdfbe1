/**
 * Which peer connections should exist, and from which of them each participant is shown: a pure
 * function of the room's state. A switch of path never leaves a hole, because the old path is
 * kept, and shown, until media flows on the new one.
 */

/** @typedef {import('./room.js').State} State */
/** @typedef {import('./room.js').ParticipantState} ParticipantState */
/**
 * @typedef {object} Routes
 * @property {Set<string>} connect  participants to have a direct connection with
 * @property {Set<string>} keep     participants whose direct connection, if there is one, stays for now
 * @property {boolean} publish      whether to send to the relay
 * @property {Map<string, 'p2p' | 'relay'>} show  the path that each participant is shown from
 * @property {Set<string>} refuse   participants to report as not reachable directly, because the relay is forced
 */

/**
 * Also while the relay is away: it may be back at once, and where it is not, the hub takes the
 * routes back. Who asked for the relay alone never shows the others an address.
 * @param {State} state @param {ParticipantState} one
 */
export function throughRelay(state, one) {
  return state.topology === 'relay' || one.viaRelay || state.relayForced;
}

/** @param {State} state @returns {Routes} */
export function routes(state) {
  /** @type {Routes} */
  const result = { connect: new Set(), keep: new Set(), publish: false, show: new Map(), refuse: new Set() };
  if (state.phase !== 'call') return result;
  result.publish = state.relayAvailable && state.topology === 'relay';
  for (const one of state.participants) {
    if (one.away) {
      result.keep.add(one.id);
      result.show.set(one.id, 'p2p');
    } else if (throughRelay(state, one)) {
      result.publish = state.relayAvailable;
      if (one.relay !== 'flowing' && one.p2p === 'flowing') result.keep.add(one.id);
      result.show.set(one.id, one.relay !== 'flowing' && one.p2p === 'flowing' ? 'p2p' : 'relay');
      if (state.relayAvailable && state.topology === 'mesh' && !one.viaRelay) result.refuse.add(one.id);
    } else {
      result.connect.add(one.id);
      result.keep.add(one.id);
      const fallback = one.p2p !== 'flowing' && one.relay === 'flowing';
      if (fallback) result.publish = true; // the other side may still be looking through the relay, too
      result.show.set(one.id, fallback ? 'relay' : 'p2p');
    }
  }
  return result;
}
