// node datapeer.cjs KIND URL ROOM NAME [PORT]: such a participant on werift or libdatachannel. It
// obeys lines on its standard input, and answers each with one of JSON.
require('./datapeer.js');
const path = require('node:path');
const readline = require('node:readline');
const { createRequire } = require('node:module');

const [kind, url, room, name, port] = process.argv.slice(2);
const load = createRequire(path.join(__dirname, '../../.venv/node/node_modules/x.js'));
const { RTCPeerConnection } = kind === 'werift' ? load('werift') : load('node-datachannel/polyfill');
// werift looks at addresses that are not loopback; libdatachannel at all.
class Connection extends RTCPeerConnection {}
const peer = globalThis.makePeer({ RTCPeerConnection: Connection, WebSocket: load('ws') });

const commands = {
  join: () => peer.join(url, room, name, port),
  ready: () => peer.ready(),
  talk: (count, large, lossy) => peer.talk(count, large, lossy),
  states: () => [...peer.connections.map((pc) => [pc.connectionState, pc.iceConnectionState, pc.signalingState]), peer.labels, Object.values(peer.channels ?? {}).map((c) => c.readyState)],
  report: () => ({ id: peer.id, heard: peer.heard, errors: peer.errors, closed: peer.closed }),
};
readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const [command, ...rest] = JSON.parse(line);
  let result;
  try {
    result = { value: (await commands[command](...rest)) ?? null };
  } catch (error) {
    result = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}).on('close', () => process.exit(0));
process.on('uncaughtException', (error) => peer.errors.push(String(error)));
