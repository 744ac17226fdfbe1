import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerInStereo, describe, offerInStereo } from '../../../static/js/stereo.js';

const line = (mid, fmtp, kind = 'audio') =>
  `m=${kind} 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:${mid}\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 ${fmtp}\r\n` +
  'a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n';
const head = 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n';
const PLAIN = 'minptime=10;useinbandfec=1';

test('an answer takes stereo on the lines that send it, and on no other', () => {
  const offer = head + line('0', `${PLAIN};stereo=1;sprop-stereo=1`) + line('1', PLAIN);
  const answer = head + line('0', PLAIN) + line('1', PLAIN);
  assert.equal(answerInStereo(answer, offer), head + line('0', `${PLAIN};stereo=1;sprop-stereo=1`) + line('1', PLAIN));
  assert.equal(answerInStereo(answer, answer), answer);
});

test('what is said already is not said twice, and video is left alone', () => {
  const offer = head + line('0', 'stereo=0;maxplaybackrate=48000') + line('1', PLAIN, 'video');
  assert.equal(
    offerInStereo(offer, ['0', '1']),
    head + line('0', 'maxplaybackrate=48000;stereo=1;sprop-stereo=1') + line('1', PLAIN, 'video'),
  );
});

const track = (channelCount) => ({ kind: 'audio', getSettings: () => ({ channelCount }) });

/** A connection that keeps what is set. */
function connection(tracks, refuse = false) {
  return {
    signalingState: 'stable',
    set: [],
    getTransceivers: () => tracks.map(([mid, count]) => ({ mid, sender: { track: track(count) } })),
    createOffer: async () => ({ type: 'offer', sdp: head + line('0', PLAIN) + line('1', PLAIN) }),
    setLocalDescription(description) {
      this.set.push(description?.sdp.includes('stereo=1') ?? null);
      if (refuse && description) throw new Error('no munging');
    },
  };
}

test('an offer says stereo on the line of the sound that has two channels', async () => {
  const mono = connection([
    ['0', 1],
    [null, 1],
  ]);
  await describe(mono);
  assert.deepEqual(mono.set, [null]);
  const stereo = connection([
    ['0', 1],
    [null, 2],
  ]);
  let said = '';
  stereo.setLocalDescription = ({ sdp }) => (said = sdp);
  await describe(stereo);
  assert.equal(said, head + line('0', PLAIN) + line('1', `${PLAIN};stereo=1;sprop-stereo=1`));
  const strict = connection([['0', 2]], true);
  await describe(strict);
  assert.deepEqual(strict.set, [true, null]);
});
