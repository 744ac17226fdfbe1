/**
 * Where tiles go: pure geometry in CSS pixels. A tile is as near to its picture's shape as the room
 * allows, because a face that is cut off is worse than a small one.
 */

/** @typedef {{x: number, y: number, width: number, height: number}} Rect */
/** @typedef {{width: number, height: number}} Size */
/** @typedef {number | null} Shape  a picture's width by its height; null where there is none to be cut */
/** @typedef {'bottom-right' | 'bottom-left' | 'top-right' | 'top-left'} Corner */

const GAP = 8;
const MARGIN = 12; // between a floating tile and what it floats over
const CUT_MOST = 1 / 3; // of a picture; one that would lose more is shown whole, on a calm ground
/** Of a tile without a picture: a square and a wide card. */
const CARD = { from: 1, to: 16 / 9 };
const PAIR_SHARE = 0.65; // of the large picture: two of this size are better than one large and one small

/** How much of a picture is seen in a tile that it fills. @param {number} shape @param {Size} tile */
function seen(shape, { width, height }) {
  const tile = width / height;
  return Math.min(shape / tile, tile / shape);
}

/** Whether a picture fills its tile, or is shown whole. @param {Shape} shape @param {Size} tile */
export function fills(shape, tile) {
  return shape === null || seen(shape, tile) > 1 - CUT_MOST - 0.01;
}

/** The shapes of tiles that suit a picture. @param {Shape} shape @returns {{from: number, to: number}} */
function suiting(shape) {
  if (shape === null) return CARD;
  // The sides of a picture can go, the forehead cannot.
  return { from: shape * (1 - CUT_MOST), to: shape * 1.12 };
}

/** The largest tile in a cell that suits a picture. @param {Size} cell @param {Shape} shape @returns {Size} */
function fit({ width, height }, shape) {
  const { from, to } = suiting(shape);
  if (width > height * to) return { width: height * to, height };
  if (width < height * from) return { width, height: width / from };
  return { width, height };
}

/** How much of its tile a picture makes use of, in pixels. @param {Shape} shape @param {Size} tile */
function worth(shape, tile) {
  const area = tile.width * tile.height;
  if (shape === null) return area / 2; // a card needs no room: those who are seen decide
  // Whole pictures on a ground count for what is seen of them; of two that fill, the less cut.
  return fills(shape, tile) ? area * seen(shape, tile) ** 0.25 : area * seen(shape, tile) * 0.9;
}

/** @param {number} count @param {Size} area @param {number} columns @param {number} gap @returns {Size} */
function cellOf(count, area, columns, gap) {
  const rows = Math.ceil(count / columns);
  return { width: (area.width - gap * (columns - 1)) / columns, height: (area.height - gap * (rows - 1)) / rows };
}

/**
 * Equal tiles in rows of `columns`, the last row centred.
 * @param {number} count @param {Size} area @param {number} columns @param {Size} tile @param {number} gap
 * @returns {Rect[]}
 */
function arrange(count, area, columns, { width, height }, gap) {
  const rows = Math.ceil(count / columns);
  const top = (area.height - rows * height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = (area.width - inRow * width - (inRow - 1) * gap) / 2;
    return {
      x: Math.round(left + (index - row * columns) * (width + gap)),
      y: Math.round(top + row * (height + gap)),
      width: Math.floor(width),
      height: Math.floor(height),
    };
  });
}

/**
 * Equal tiles that show most of the pictures.
 * @param {Shape[]} shapes @param {Size} area @param {number} [gap] @returns {Rect[]}
 */
export function grid(shapes, area, gap = GAP) {
  let best = { columns: 1, tile: { width: 1, height: 1 }, score: -1 };
  for (let columns = 1; columns <= shapes.length; columns += 1) {
    const cell = cellOf(shapes.length, area, columns, gap);
    if (cell.width <= 0 || cell.height <= 0) continue;
    for (const shape of new Set(shapes)) {
      const tile = fit(cell, shape);
      const score = shapes.map((one) => worth(one, tile)).reduce((sum, one) => sum + one);
      if (score > best.score) best = { columns, tile, score };
    }
  }
  return arrange(shapes.length, area, best.columns, best.tile, gap);
}

/** How many tiles have room on one page. @param {Size} area */
export function capacity(area) {
  const [width, height] = area.width < 600 ? [140, 110] : [200, 128]; // less is no face any more
  const columns = Math.max(1, Math.floor((area.width + GAP) / (width + GAP)));
  const rows = Math.max(1, Math.floor((area.height + GAP) / (height + GAP)));
  return Math.max(2, Math.min(columns * rows, 25));
}

/**
 * Some large tiles, and the others in a strip: beside them on a wide area, below on a tall one.
 * @param {Shape[]} large @param {Shape[]} others @param {Size} area
 * @param {boolean} [screen]  one of the large ones is a screen, which fills whatever it gets
 * @returns {Rect[]} the large ones first
 */
export function spotlight(large, others, area, screen = false) {
  const strip = others.length ? stripOf(large, others, area, screen) : { width: 0, height: 0 };
  const beside = area.width > area.height;
  const stage = beside
    ? { width: area.width - strip.width - (others.length ? GAP : 0), height: area.height }
    : { width: area.width, height: area.height - strip.height - (others.length ? GAP : 0) };
  const whole = screen && large.length === 1;
  const first = whole ? [{ x: 0, y: 0, ...stage }] : grid(large, stage);
  const rest = others.length ? grid(others, strip) : [];
  const [x, y] = beside ? [stage.width + GAP, 0] : [0, stage.height + GAP];
  return [...first, ...rest.map((rect) => ({ ...rect, x: rect.x + x, y: rect.y + y }))];
}

/** @param {Shape[]} large @param {Shape[]} others @param {Size} area @param {boolean} screen @returns {Size} */
function stripOf(large, others, area, screen) {
  if (area.width > area.height) {
    const columns = others.length > 6 ? 2 : 1;
    return { width: Math.round(Math.min(columns * 224, area.width * 0.32)), height: area.height };
  }
  // What the large ones can make use of, and leave enough for the others.
  const wanted = screen ? area.width * 0.72 : (large.length * area.width) / suiting(large[0]).from;
  const [least, most] = screen ? [0.36, 0.6] : [0.3, others.length > 4 ? 0.56 : 0.74];
  const share = Math.min(most, Math.max(least, wanted / area.height));
  return { width: area.width, height: area.height - Math.round(area.height * share) - GAP };
}

/** How many others have room beside what is large. @param {Size} area */
export function stripCapacity(area) {
  return area.height > area.width ? 8 : 12;
}

/**
 * Another person full size and oneself small in a corner, as in a conversation of two; or both
 * alike, where that costs the other little.
 * @param {Shape} other @param {Shape} self @param {Size} area @param {Corner} corner
 * @returns {{rects: Rect[], floating: boolean}} the other first
 */
export function conversation(other, self, area, corner = 'bottom-right') {
  const large = fit(area, other);
  const [first, second] = grid([other, self], area);
  const both = fills(other, first) && fills(self, second);
  if (both && first.width * first.height > PAIR_SHARE * large.width * large.height)
    return { rects: [first, second], floating: false };
  const rect = {
    x: Math.round((area.width - large.width) / 2),
    y: Math.round((area.height - large.height) / 2),
    width: Math.floor(large.width),
    height: Math.floor(large.height),
  };
  return { rects: [rect, small(self, rect, area, corner)], floating: true };
}

/** In a corner of the large tile, or beside it where there is room. @param {Shape} self @param {Rect} large @param {Size} area @param {Corner} corner @returns {Rect} */
function small(self, large, area, corner) {
  const shape = self ?? 4 / 3;
  const most = area.height > area.width ? Math.min(112, area.width * 0.3) : Math.min(256, area.width * 0.24);
  const width = Math.round(shape < 1 ? most * 0.8 : most);
  const height = Math.round(Math.min(area.height * 0.4, width / Math.min(16 / 9, Math.max(3 / 4, shape))));
  const [down, side] = corner.split('-');
  const free = (area.width - large.width) / 2;
  const outside = Math.min(free, width + GAP);
  const inset = free >= width + GAP ? 0 : MARGIN;
  const right = Math.min(area.width, large.x + large.width + outside) - width - (outside < free ? 0 : inset);
  const left = Math.max(0, large.x - outside) + (outside < free ? 0 : inset);
  return {
    x: Math.round(side === 'right' ? right : left),
    y: Math.round(down === 'top' ? large.y + MARGIN : large.y + large.height - height - MARGIN),
    width,
    height,
  };
}
