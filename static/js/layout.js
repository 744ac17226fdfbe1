/** Where tiles go: pure geometry in CSS pixels. */

/** @typedef {{x: number, y: number, width: number, height: number}} Rect */
/** @typedef {{width: number, height: number}} Size */

const GAP = 8;
const WIDEST = 16 / 9; // what cameras deliver
const TALLEST = 9 / 16; // a face still fits when the sides of the picture are cut
const NARROW = 1.2; // shapes below this show less of a picture than they could

/** The largest tile that fits a cell and has a decent shape. @param {number} width @param {number} height @returns {Size} */
function fit(width, height) {
  if (width > height * WIDEST) return { width: height * WIDEST, height };
  if (width < height * TALLEST) return { width, height: width / TALLEST };
  return { width, height };
}

/** @param {number} count @param {Size} area @param {number} gap */
function bestColumns(count, area, gap) {
  let best = { columns: 1, score: -1 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const cell = fit((area.width - gap * (columns - 1)) / columns, (area.height - gap * (rows - 1)) / rows);
    const shape = Math.min(1, cell.width / cell.height / NARROW) ** 0.1;
    const score = cell.width * cell.height * shape;
    if (cell.width > 0 && cell.height > 0 && score > best.score) best = { columns, score };
  }
  return best.columns;
}

/**
 * `count` equal tiles in rows of `columns`, the last row centred.
 * @param {number} count @param {Size} area @param {number} columns @param {number} gap @returns {Rect[]}
 */
function arrange(count, area, columns, gap) {
  const rows = Math.ceil(count / columns);
  const { width, height } = fit((area.width - gap * (columns - 1)) / columns, (area.height - gap * (rows - 1)) / rows);
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
 * `count` equal tiles that use the area best.
 * @param {number} count @param {Size} area @param {number} [gap] @returns {Rect[]}
 */
export function grid(count, area, gap = GAP) {
  return arrange(count, area, bestColumns(count, area, gap), gap);
}

/**
 * One large tile and the others in a strip: beside it on a wide area, below it on a tall one.
 * @param {number} others @param {Size} area @param {boolean} [wide]  the large one is a screen
 * @param {number} [gap] @returns {Rect[]} the large one first
 */
export function spotlight(others, area, wide = false, gap = GAP) {
  if (others === 0) return [{ x: 0, y: 0, ...area }];
  if (area.width > area.height) {
    const columns = others > 6 ? 2 : 1;
    const width = Math.round(Math.min(columns * 224, area.width * 0.32));
    const strip = arrange(others, { width, height: area.height }, columns, gap);
    const stage = area.width - width - gap;
    return [
      { x: 0, y: 0, width: stage, height: area.height },
      ...strip.map((rect) => ({ ...rect, x: rect.x + stage + gap })),
    ];
  }
  const share = wide ? Math.min(0.6, Math.max(0.36, (area.width * 0.72) / area.height)) : others > 4 ? 0.56 : 0.74;
  const stage = Math.round(area.height * share);
  const strip = grid(others, { width: area.width, height: area.height - stage - gap }, gap);
  return [
    { x: 0, y: 0, width: area.width, height: stage },
    ...strip.map((rect) => ({ ...rect, y: rect.y + stage + gap })),
  ];
}

/**
 * Another person full size, and oneself small in a corner, as in a conversation of two.
 * @param {Size} area @returns {Rect[]} the other first
 */
export function conversation(area) {
  const tall = area.height > area.width;
  const width = Math.round(tall ? Math.min(112, area.width * 0.3) : Math.min(256, area.width * 0.24));
  const height = Math.round(tall ? (width * 4) / 3 : (width * 9) / 16);
  const large = tall ? area : fit(area.width, area.height);
  const x = Math.round((area.width - large.width) / 2);
  const y = Math.round((area.height - large.height) / 2);
  const margin = 12;
  return [
    { x, y, width: Math.floor(large.width), height: Math.floor(large.height) },
    {
      x: Math.min(area.width, Math.round(x + large.width)) - width - margin,
      y: tall ? margin : Math.round(y + large.height) - height - margin,
      width,
      height,
    },
  ];
}
