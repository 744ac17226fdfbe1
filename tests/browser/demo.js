// Fills a page that has joined with drawn people, so that pictures of any size of call can be made.
async ({ names, dark, silent, talking, screen, upright = [], aside = 0.02 }) => {
  const { page } = await import('/static/js/main.js');
  const { call, media } = page;
  const PALETTES = [
    ['#e8d9c4', '#c9a27e', '#5b3b28', '#3d6b63'],
    ['#cfdad6', '#e5b999', '#2c2320', '#7a4f63'],
    ['#d8d3e4', '#8d5f45', '#1d1715', '#c49a4a'],
    ['#d5e0e8', '#f0c8a8', '#b5783a', '#35506b'],
    ['#e6d3cd', '#b98058', '#3a2a22', '#8c9a62'],
    ['#dde3cf', '#edc3a2', '#7c4a2d', '#a4533f'],
    ['#cddbe0', '#6d4733', '#171312', '#d8d0c2'],
    ['#e9e1d0', '#dba985', '#8f8a86', '#46606f'],
  ];
  const paint = (canvas, index) => {
    const context = canvas.getContext('2d');
    const [wall, skin, hair, cloth] = PALETTES[index % PALETTES.length];
    const { width: w, height: h } = canvas;
    const light = context.createLinearGradient(0, 0, w, h);
    light.addColorStop(0, wall);
    light.addColorStop(1, dark ? '#6f7673' : '#a9aca4');
    context.fillStyle = light;
    context.fillRect(0, 0, w, h);
    context.fillStyle = 'rgb(255 255 255 / 22%)';
    context.fillRect(w * (0.08 + 0.55 * (index % 2)), h * 0.1, w * 0.2, h * 0.42);
    const x = w / 2 + Math.min(w, h * 1.2) * aside * ((index % 3) - 1);
    const ellipse = (cx, cy, rx, ry, fill) => {
      context.fillStyle = fill;
      context.beginPath();
      context.ellipse(cx, cy, rx, ry, 0, 0, 7);
      context.fill();
    };
    if (index % 3 !== 1) ellipse(x, h * 0.5, h * 0.225, h * (index % 3 === 0 ? 0.33 : 0.26), hair);
    ellipse(x, h * 1.1, h * 0.46, h * 0.36, cloth);
    context.fillStyle = skin;
    context.fillRect(x - h * 0.065, h * 0.58, h * 0.13, h * 0.2);
    ellipse(x, h * 0.78, h * 0.1, h * 0.05, skin);
    ellipse(x, h * 0.47, h * 0.165, h * 0.215, skin);
    context.fillStyle = hair;
    context.beginPath();
    context.ellipse(x, h * 0.385, h * 0.18, h * 0.155, 0, Math.PI, 0);
    context.fill();
    for (const side of [-1, 1]) ellipse(x + side * h * 0.06, h * 0.47, h * 0.013, h * 0.016, '#2b211d');
    context.strokeStyle = '#8a4b3d';
    context.lineWidth = h * 0.011;
    context.lineCap = 'round';
    context.beginPath();
    context.arc(x, h * 0.54, h * 0.055, 0.35, Math.PI - 0.35);
    context.stroke();
  };
  const slides = (canvas) => {
    const context = canvas.getContext('2d');
    context.fillStyle = '#fbfaf6';
    context.fillRect(0, 0, 1280, 720);
    context.fillStyle = '#1b1f1d';
    context.font = '600 52px system-ui';
    context.fillText('Third quarter', 88, 130);
    context.font = '400 26px system-ui';
    context.fillStyle = '#585f5b';
    context.fillText('Orders per week', 88, 178);
    [210, 262, 240, 318, 356, 338, 402].forEach((height, index) => {
      context.fillStyle = index === 6 ? '#1f6f5c' : '#b9d3c9';
      context.fillRect(100 + index * 158, 640 - height, 96, height);
    });
  };
  globalThis.demoCanvases = [];
  const picture = (index, tall = false) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = index < 0 ? [1280, 720] : tall ? [540, 960] : [960, 540];
    const draw = () => (index < 0 ? slides(canvas) : paint(canvas, index));
    draw();
    setInterval(draw, 200);
    globalThis.demoCanvases.push(canvas);
    return canvas.captureStream(10).getVideoTracks()[0];
  };
  media.devices.camera.track?.stop();
  const own = picture(3, upright.includes(-1));
  media.devices.camera = { on: true, id: '', track: own, problem: '', pending: false };
  for (const track of media.stream.getVideoTracks()) media.stream.removeTrack(track);
  media.stream.addTrack(own);
  call.sync = () => {};
  clearInterval(call.demo);
  const others = names.map((name, index) => ({
    id: `p_${index}`,
    name,
    tracks: [],
    metadata: { camera: !silent.includes(index), microphone: index % 4 !== 2, screen: screen === index ? 'x' : null },
  }));
  const tracks = Object.fromEntries(
    others.map(({ id, metadata }, index) => [
      id,
      {
        ...(metadata.camera && {
          camera: { track: picture(index + (index > 2), upright.includes(index)), receiver: {} },
        }),
        ...(metadata.screen && { screen: { track: picture(-1), receiver: {} } }),
      },
    ]),
  );
  call.tracksOf = (id) => tracks[id] ?? {};
  if (names.length || call.state.phase === 'call') {
    call.dispatch({
      type: 'joined',
      participant: 'p_own',
      session: '',
      room: { name: call.state.room, topology: 'mesh', locked: false },
      participants: others,
      ice_servers: [],
      grants: { publish: true, subscribe: true, chat: true, moderate: true, data: true },
      relay: false,
      heartbeat: 25,
      resume_within: 30,
      seq: 1,
    });
    call.dispatch({ type: 'connection', state: 'open', reason: '' });
  }
  others.forEach(({ id }, index) => {
    call.dispatch({ type: 'flow', participant: id, path: 'p2p', flow: 'flowing' });
    let [bytesIn, bytesOut, packets, lost, frames] = [0, 0, 0, 0, 0];
    for (let second = 0; second < 62; second += 1) {
      const wave = Math.sin(second / 5 + index) + Math.sin(second / 2.3 + 2 * index) / 2;
      bytesIn += 1000 * (118 + 14 * wave);
      bytesOut += 1000 * (104 + 9 * wave);
      packets += 120;
      lost += index % 5 === 3 ? 5 : second % 23 === 7 ? 2 : 0;
      frames += 29 + Math.round(wave / 2);
      call.history.add(id, {
        at: 1000 * second,
        path: ['direct', 'direct', 'turn', 'relay'][index % 4],
        roundTrip: 24 + 16 * (index % 4) + 5 * wave,
        bytesIn,
        bytesOut,
        packets,
        lost,
        frames,
        width: 1280,
        height: 720,
      });
    }
  });
  const speaking = new Set(talking.map((index) => (index < 0 ? 'p_own' : `p_${index}`)));
  Object.defineProperty(call, 'talking', { get: () => speaking, set: () => {}, configurable: true });
  page.draw();
};
