import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capacity, conversation, fills, grid, spotlight } from '../../../static/js/layout.js';

const SIZES = {
  laptop: { width: 1416, height: 816 },
  phone: { width: 374, height: 716 },
  lying: { width: 800, height: 310 },
  tablet: { width: 796, height: 1060 },
  '4k': { width: 3816, height: 2070 },
  narrow: { width: 304, height: 420 },
};
const WIDE = 16 / 9;
const UPRIGHT = 9 / 16;

function assertApart(rects, area) {
  rects.forEach((one, index) => {
    assert.ok(one.x >= 0 && one.y >= 0 && one.width > 0 && one.height > 0, JSON.stringify(one));
    const inside = one.x + one.width <= area.width + 1 && one.y + one.height <= area.height + 1;
    assert.ok(inside, JSON.stringify({ one, area }));
    for (const two of rects.slice(index + 1)) {
      const apart =
        one.x + one.width <= two.x ||
        two.x + two.width <= one.x ||
        one.y + one.height <= two.y ||
        two.y + two.height <= one.y;
      assert.ok(apart, JSON.stringify([one, two]));
    }
  });
}

/** How much of a picture can be seen in a tile. */
function seen(shape, { width, height }) {
  if (!fills(shape, { width, height })) return 1;
  const tile = width / height;
  return Math.min(tile / shape, shape / tile);
}

const mixed = (count) => Array.from({ length: count }, (_, index) => (index % 3 === 1 ? UPRIGHT : WIDE));

test('a grid of 1 to 25 fits, does not overlap, and uses much of the room there is', () => {
  for (const [name, area] of Object.entries(SIZES)) {
    for (let count = 1; count <= 25; count += 1) {
      const rects = grid(Array(count).fill(WIDE), area);
      assert.equal(rects.length, count);
      assertApart(rects, area);
      const used = rects.reduce((sum, { width, height }) => sum + width * height, 0) / (area.width * area.height);
      assert.ok(used > 0.4, `${count} in ${name}: ${used}`);
    }
  }
});

test('at most a third of any picture is cut, whatever comes together', () => {
  for (const area of Object.values(SIZES)) {
    for (let count = 1; count <= 25; count += 1) {
      for (const shapes of [
        Array(count).fill(WIDE),
        Array(count).fill(UPRIGHT),
        mixed(count),
        Array(count).fill(4 / 3),
      ]) {
        for (const [index, rect] of grid(shapes, area).entries()) {
          assert.ok(seen(shapes[index], rect) > 0.65, `${shapes[index]} in ${rect.width}x${rect.height}`);
        }
      }
    }
    for (const other of [WIDE, UPRIGHT, 4 / 3]) {
      for (const self of [WIDE, UPRIGHT, 4 / 3]) {
        const { rects } = conversation(other, self, area);
        assert.ok(seen(other, rects[0]) > 0.65 && seen(self, rects[1]) > 0.65, JSON.stringify({ other, self, rects }));
      }
    }
  }
});

test('three on a wide stage are two and one below, and each is seen whole', () => {
  const [one, two, three] = grid([WIDE, WIDE, WIDE], SIZES.laptop);
  assert.equal(one.y, two.y);
  assert.ok(three.y > one.y + one.height);
  assert.ok(Math.abs(three.x + three.width / 2 - SIZES.laptop.width / 2) <= 1);
  assert.ok(seen(WIDE, one) > 0.9);
});

test('a picture that stands upright is fitted into a tile that lies', () => {
  const rects = grid(mixed(4), SIZES.laptop);
  assert.equal(fills(UPRIGHT, rects[1]), false);
  assert.equal(fills(WIDE, rects[0]), true);
});

test('a spotlight with any number of others fits and does not overlap', () => {
  for (const area of Object.values(SIZES)) {
    for (const screen of [true, false]) {
      for (let others = 0; others <= 12; others += 1) {
        assertApart(spotlight([WIDE], mixed(others), area, screen), area);
        assertApart(spotlight([WIDE, UPRIGHT], mixed(others), area, screen), area);
      }
    }
  }
});

test('in a conversation both are seen, the other larger, or both alike', () => {
  for (const area of Object.values(SIZES)) {
    for (const other of [WIDE, UPRIGHT, null]) {
      for (const corner of ['bottom-right', 'bottom-left', 'top-right', 'top-left']) {
        const { rects, floating } = conversation(other, WIDE, area, corner);
        const [large, small] = rects;
        for (const { x, y, width, height } of rects) {
          assert.ok(x >= 0 && y >= 0 && x + width <= area.width && y + height <= area.height, JSON.stringify(rects));
        }
        if (!floating) assertApart(rects, area);
        else assert.ok(small.width * small.height < 0.4 * large.width * large.height, JSON.stringify(rects));
      }
    }
  }
});

test('two laptops are one above the other on a phone, and one within the other on a laptop', () => {
  assert.equal(conversation(WIDE, WIDE, SIZES.phone).floating, false);
  assert.equal(conversation(WIDE, WIDE, SIZES.laptop).floating, true);
  assert.equal(conversation(UPRIGHT, UPRIGHT, SIZES.phone).floating, true);
});

test('a page holds as many as can be recognised', () => {
  assert.equal(capacity(SIZES.laptop), 25);
  assert.ok(capacity(SIZES.phone) >= 8 && capacity(SIZES.phone) <= 12);
  assert.ok(capacity(SIZES.narrow) >= 4);
});
