import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Order } from '../../../static/js/order.js';

const people = (talking = '', count = 6) =>
  Array.from({ length: count }, (_, index) => ({
    id: `p${index}`,
    talking: `p${index}` === talking,
    self: index === 0,
  }));
const ids = (list) => list.map(({ id }) => id).join(' ');

test('who talks comes to page one at once, and the next one not before four seconds', () => {
  const order = new Order();
  assert.equal(ids(order.arrange(people(), 3, 0)), 'p0 p1 p2 p3 p4 p5');
  assert.equal(ids(order.arrange(people('p4'), 3, 100)), 'p0 p1 p4 p3 p2 p5');
  assert.equal(ids(order.arrange(people('p5'), 3, 2_000)), 'p0 p1 p4 p3 p2 p5');
  assert.equal(ids(order.arrange(people('p5'), 3, 4_200)), 'p0 p5 p4 p3 p2 p1');
});

test('oneself and who talks keep their place, newcomers come last, who leaves leaves no hole', () => {
  const order = new Order();
  order.arrange(people('p4'), 2, 0);
  assert.equal(ids(order.arrange(people('', 7), 2, 100)), 'p0 p4 p2 p3 p1 p5 p6');
  assert.equal(ids(order.arrange(people('', 3), 2, 200)), 'p0 p2 p1');
  assert.equal(ids(new Order().arrange(people('p3', 4), 1, 0)), 'p0 p1 p2 p3'); // only oneself is on page one
});

test('the speaker stays for a while, is never oneself, and is somebody from the start', () => {
  const order = new Order();
  assert.equal(order.speaker(people(), 0), 'p1');
  assert.equal(order.speaker(people('p0'), 3_000), 'p1');
  assert.equal(order.speaker(people('p3'), 3_100), 'p3');
  assert.equal(order.speaker(people('p2'), 3_500), 'p3');
  assert.equal(order.speaker(people('p2'), 5_200), 'p2');
  assert.equal(order.speaker(people('', 1), 9_000), 'p0');
});
