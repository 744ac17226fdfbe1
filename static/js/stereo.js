/**
 * Stereo sound: no API of browsers asks for it, only the text of a description does (RFC 7587, 6.1).
 * Who sends says `sprop-stereo`, who would receive it says `stereo`; Chromium sends and plays one
 * channel where the other side, or its own, does not say so.
 */

const SENT = /(?:^|;)\s*sprop-stereo=1/;
const OPUS = /^a=rtpmap:(\d+) opus\//im;
const MID = /^a=mid:(\S+)/m;

/** @param {MediaStreamTrack | null | undefined} track */
const isStereo = (track) => track?.kind === 'audio' && (track.getSettings?.().channelCount ?? 1) > 1;

/** @param {string} sdp @returns {string[]} its session part, and each m-line's */
const sectionsOf = (sdp) => sdp.split(/(?=^m=)/m);

/** The `fmtp` of Opus in a section. @param {string} section @returns {RegExpExecArray | null} head and parameters */
function fmtpOf(section) {
  const opus = section.startsWith('m=audio') ? OPUS.exec(section)?.[1] : undefined;
  return opus === undefined ? null : new RegExp(`^(a=fmtp:${opus} )(.*)$`, 'm').exec(section);
}

/** @param {string} section */
function inStereo(section) {
  const fmtp = fmtpOf(section);
  if (!fmtp) return section;
  const kept = fmtp[2].split(';').filter((part) => !/^\s*(sprop-)?stereo=/.test(part));
  return section.replace(fmtp[0], () => `${fmtp[1]}${[...kept, 'stereo=1', 'sprop-stereo=1'].join(';')}`);
}

/** An answer that takes stereo where the offer sends it. @param {string} answer @param {string} offer */
export function answerInStereo(answer, offer) {
  const sent = sectionsOf(offer)
    .filter((section) => SENT.test(fmtpOf(section)?.[2] ?? ''))
    .map((section) => MID.exec(section)?.[1]);
  return offerInStereo(answer, sent);
}

/** A description with stereo in the m-lines of these mids. @param {string} sdp @param {(string | undefined)[]} mids */
export function offerInStereo(sdp, mids) {
  const change = (/** @type {string} */ section) =>
    mids.includes(MID.exec(section)?.[1]) ? inStereo(section) : section;
  return sectionsOf(sdp).map(change).join('');
}

/** The mids in a fresh offer of what is sent in stereo; lines without one yet come in order. @param {RTCPeerConnection} pc @param {string} sdp */
function stereoMids(pc, sdp) {
  const lines = pc.getTransceivers();
  const known = new Set(lines.map(({ mid }) => mid));
  const free = [...sdp.matchAll(/^a=mid:(\S+)/gm)].map(([, mid]) => mid).filter((mid) => !known.has(mid));
  return lines
    .map((line) => [line, line.mid ?? free.shift()])
    .flatMap(([line, mid]) => {
      const { sender } = /** @type {RTCRtpTransceiver} */ (line);
      return isStereo(sender.track) ? [/** @type {string} */ (mid)] : [];
    });
}

/** As `pc.setLocalDescription()` does, with stereo asked for where there is any. @param {RTCPeerConnection} pc */
export async function describe(pc) {
  const offer = pc.signalingState === 'have-remote-offer' ? (pc.remoteDescription?.sdp ?? '') : null;
  const wanted =
    offer === null
      ? pc.getTransceivers?.().some(({ sender }) => isStereo(sender?.track))
      : /sprop-stereo=1/.test(offer);
  if (!wanted) return pc.setLocalDescription();
  const made = await (offer === null ? pc.createOffer() : pc.createAnswer());
  const plain = made.sdp ?? '';
  const sdp = offer === null ? offerInStereo(plain, stereoMids(pc, plain)) : answerInStereo(plain, offer);
  try {
    await pc.setLocalDescription({ type: made.type, sdp });
  } catch (error) {
    if (pc.signalingState === 'closed') throw error;
    await pc.setLocalDescription(); // better one channel than none
  }
}
