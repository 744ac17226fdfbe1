// A client of the relay written after PROTOCOL.md alone, as others will write theirs: it shares no
// code with the page, changes no description, and knows of no browser's peculiarities.
() => {
  const videos = new Map();
  const meters = new Map();
  let frames = [];

  // -- Publishing, by WHIP: a canvas, so that its size and colour are sure --------------------

  const draw = (width, height, colour) => {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d');
    let count = 0;
    const paint = () => {
      context.fillStyle = colour;
      context.fillRect(0, 0, width, height);
      // Something has to move, or there is little to encode. The middle stays as it is.
      for (let bar = 0; bar < 8; bar += 1) {
        context.fillStyle = `hsl(${((count + bar) * 37) % 360} 80% 50%)`;
        context.fillRect((count * 7 + (bar * width) / 8) % width, 0, width / 16, height / 3);
      }
      count += 1;
    };
    const timer = setInterval(paint, 1000 / 15);
    return { track: canvas.captureStream(15).getVideoTracks()[0], stop: () => clearInterval(timer) };
  };

  const sound = () => {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    return { track: out.stream.getAudioTracks()[0], stop: () => context.close() };
  };

  const publish = async ({ url, width, height, colour, encodings, audible }) => {
    const picture = draw(width, height, colour);
    const sources = [picture, ...(audible ? [sound()] : [])];
    const pc = new RTCPeerConnection();
    const { sender } = pc.addTransceiver(picture.track, { direction: 'sendonly', sendEncodings: encodings });
    // A busy machine may send fewer pictures, not smaller ones.
    await sender.setParameters({ ...sender.getParameters(), degradationPreference: 'maintain-resolution' });
    for (const { track } of sources.slice(1)) pc.addTransceiver(track, { direction: 'sendonly' });
    await pc.setLocalDescription();
    const headers = { 'Content-Type': 'application/sdp' };
    const response = await fetch(url, { method: 'POST', headers, body: pc.localDescription.sdp });
    await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    globalThis.published = { pc, sender, sources, location: response.headers.get('Location') };
  };

  const unpublish = async () => {
    const { pc, sources, location } = globalThis.published;
    await fetch(location, { method: 'DELETE' });
    pc.close();
    for (const source of sources) source.stop();
  };

  const setActive = async (rid, active) => {
    const parameters = globalThis.published.sender.getParameters();
    parameters.encodings.find((one) => one.rid === rid).active = active;
    await globalThis.published.sender.setParameters(parameters);
  };

  // Widths that are encoded now, by rid.
  const sent = async () => {
    const report = [...(await globalThis.published.pc.getStats()).values()];
    const streams = report.filter(({ type, active }) => type === 'outbound-rtp' && active !== false);
    return Object.fromEntries(
      streams.filter(({ framesEncoded }) => framesEncoded).map(({ rid, frameWidth }) => [rid, frameWidth]),
    );
  };

  // -- Receiving, by the WebSocket ------------------------------------------------------------

  const show = ({ track, transceiver }) => {
    const stream = new MediaStream([track]);
    if (track.kind === 'audio') {
      // A browser plays a remote track into its audio graph only if an element has it, too.
      Object.assign(new Audio(), { srcObject: stream, muted: true });
      const context = new AudioContext();
      const meter = context.createAnalyser();
      context.createMediaStreamSource(stream).connect(meter);
      meters.set(transceiver.mid, meter);
      return;
    }
    const video = document.createElement('video');
    Object.assign(video, { muted: true, srcObject: stream });
    videos.get(transceiver.mid)?.remove();
    videos.set(transceiver.mid, video);
    document.body.append(video);
    video.play().catch(() => {}); // another one takes its place
    const note = (_now, { width }) => {
      frames.push({ at: performance.now(), width });
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  };

  const subscribe = async (room) => {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    await new Promise((resolve) => {
      socket.onopen = resolve;
    });
    const pc = new RTCPeerConnection();
    pc.ontrack = show;
    let negotiated = Promise.resolve();
    const answer = async ({ sdp, tracks }) => {
      await pc.setRemoteDescription({ type: 'offer', sdp });
      await pc.setLocalDescription();
      socket.send(JSON.stringify({ type: 'answer', to: 'relay', sdp: pc.localDescription.sdp }));
      globalThis.plain.lines = pc.getTransceivers().length;
      globalThis.plain.carried = tracks.length;
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === 'offer') negotiated = negotiated.then(() => answer(message));
    };
    socket.send(JSON.stringify({ type: 'join', room, name: 'Plain' }));
  };

  // The colour in the middle of the picture that a line shows, or null while it shows none.
  const colour = (mid) => {
    const video = videos.get(mid);
    if (!video?.videoWidth) return null;
    const canvas = new OffscreenCanvas(1, 1);
    const context = canvas.getContext('2d');
    context.drawImage(video, video.videoWidth / 2, video.videoHeight / 2, 1, 1, 0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };

  const isHeard = (mid) => {
    const bins = new Float32Array(meters.get(mid)?.frequencyBinCount ?? 0);
    meters.get(mid)?.getFloatFrequencyData(bins);
    return bins.some((level) => level > -60);
  };

  const takeFrames = () => {
    const taken = frames;
    frames = taken.slice(-1);
    return taken;
  };

  const newest = () => frames.at(-1)?.width;
  globalThis.plain = {
    publish,
    unpublish,
    setActive,
    sent,
    subscribe,
    colour,
    isHeard,
    takeFrames,
    newest,
    lines: 0,
    carried: 0,
  };
};
