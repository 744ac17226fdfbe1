// A participant with data channels and nothing else, for browsers and for what claims to be one.
// `makePeer` is given the platform's own; every relay candidate is moved to `port` if there is one.
globalThis.makePeer = ({ RTCPeerConnection, WebSocket }) => {
  const peer = { id: '', channels: {}, labels: [], heard: {}, errors: [], closed: [] };
  const { channels } = peer;
  const move = (sdp, port) =>
    port ? sdp.replace(/(a=candidate:.* udp \d+ \S+ )\d+ typ host/g, `$1${port} typ host`) : sdp;

  const note = (label, data) => {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data);
    const end = 3 + bytes[1] * 256 + bytes[2];
    const { from, topic } = JSON.parse(new TextDecoder().decode(bytes.slice(3, end)));
    const heard = (peer.heard[from] ??= { reliable: 0, ordered: true, lossy: 0, large: 0 });
    if (topic === 'large') heard.large = bytes.length - end;
    else if (label === 'lossy') heard.lossy += 1;
    else {
      const number = parseInt(new TextDecoder().decode(bytes.slice(end, end + 6)), 10);
      if (number !== heard.reliable) heard.ordered = false;
      heard.reliable += 1;
    }
  };

  const listen = (channel) => {
    channel.binaryType = 'arraybuffer';
    peer.labels.push(channel.label);
    channel.onmessage = ({ data }) => note(channel.label, data);
    channel.onclose = () => peer.closed.push(channel.label);
  };

  // Some gather candidates for long: none are needed, for the relay learns addresses from checks.
  const describe = async (pc, description) => {
    await pc.setLocalDescription(description);
    return (pc.localDescription ?? description).sdp;
  };

  peer.join = (url, room, name, port) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      const send = (message) => socket.send(JSON.stringify(message));
      const publishing = new RTCPeerConnection({ iceServers: [] });
      const subscribing = new RTCPeerConnection({ iceServers: [] });
      peer.connections = [publishing, subscribing];
      subscribing.ondatachannel = ({ channel }) => listen(channel);
      const react = async (message) => {
        if (message.type === 'joined') {
          peer.id = message.participant;
          channels.reliable = publishing.createDataChannel('reliable');
          channels.lossy = publishing.createDataChannel('lossy', { ordered: false, maxRetransmits: 0 });
          const sdp = await describe(publishing, await publishing.createOffer());
          send({ type: 'offer', id: 'publish', to: 'relay', sdp });
          resolve(peer.id);
        } else if (message.type === 'answer') {
          await publishing.setRemoteDescription({ type: 'answer', sdp: move(message.sdp, port) });
        } else if (message.type === 'offer') {
          await subscribing.setRemoteDescription({ type: 'offer', sdp: move(message.sdp, port) });
          const sdp = await describe(subscribing, await subscribing.createAnswer());
          send({ type: 'answer', to: 'relay', sdp });
        } else if (message.type === 'error') peer.errors.push(`${message.code}: ${message.message}`);
      };
      let turn = Promise.resolve();
      socket.onmessage = ({ data }) => {
        turn = turn.then(() => react(JSON.parse(data))).catch((error) => {
          peer.errors.push(String(error));
          reject(error);
        });
      };
      socket.onopen = () => send({ type: 'join', id: 'join', room, name, data: true });
      socket.onerror = () => reject(new Error('no socket'));
    });

  peer.ready = () =>
    channels.reliable?.readyState === 'open' && channels.lossy?.readyState === 'open' && peer.labels.length === 2;

  peer.send = (label, header, payload) => {
    const head = new TextEncoder().encode(JSON.stringify(header));
    const whole = new Uint8Array(3 + head.length + payload.length);
    whole.set([0, head.length >> 8, head.length & 255]);
    whole.set(head, 3);
    whole.set(payload, 3 + head.length);
    channels[label].send(whole);
  };

  // Numbered messages of 300 bytes on both channels, and a large one.
  peer.talk = async (count, large, lossy = true) => {
    for (let n = 0; n < count; n += 1) {
      const payload = new TextEncoder().encode(String(n).padStart(6, '0').padEnd(300, '.'));
      peer.send('reliable', { topic: 'count' }, payload);
      if (lossy && n % 2) peer.send('lossy', { topic: 'count' }, payload);
      if (n % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (large) peer.send('reliable', { topic: 'large' }, new Uint8Array(large));
  };
  return peer;
};
