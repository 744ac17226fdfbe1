// Measures, by name of the tile, the longest time in ms for which the picture stood still.
() => {
  const seen = new Map();
  let gaps = {};
  setInterval(() => {
    const now = performance.now();
    for (const tile of document.querySelectorAll('.tile[data-source=camera]:not(.self)')) {
      const name = tile.querySelector('.tile-name-text').textContent;
      const video = tile.querySelector('video.shown');
      const frames = video ? video.getVideoPlaybackQuality().totalVideoFrames : -1;
      const last = seen.get(name);
      if (!last || (video && (last.video !== video || last.frames !== frames))) {
        if (last) gaps[name] = Math.max(gaps[name] ?? 0, now - last.at);
        seen.set(name, { video, frames, at: now });
      }
    }
  }, 20);
  globalThis.takeGaps = () => {
    const taken = gaps;
    gaps = {};
    return taken;
  };
};
