import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roomToText, roomToWire } from '../../../static/js/roomname.js';
import { shorten } from '../../../static/js/text.js';

const WIRE = /^[A-Za-z0-9._-]{1,64}$/;

test('what the wire takes stays as it is', () => {
  for (const name of ['standup', 'A.b_c-9', 'x'.repeat(64), '-', 'xn--', 'xn--zzzz!'.slice(0, 8)]) {
    assert.equal(roomToWire(name), name);
  }
});

test('names in any script go to the wire and come back as they were typed', () => {
  const names = [
    '会议室',
    '会议室1',
    'Büro',
    'غرفة الاجتماعات',
    'बैठक कक्ष',
    'my room',
    "Ada's room!",
    '👩‍👩‍👧 family',
    'комната',
    'a/b?c#d%20',
    '部屋１',
  ];
  for (const name of names) {
    const wire = roomToWire(name);
    assert.match(wire, WIRE, name);
    assert.equal(roomToText(wire), name.normalize('NFC'));
  }
});

test('it is the Punycode that others write', () => {
  // RFC 3492, 7.1 (B): Chinese (simplified).
  assert.equal(roomToWire('他们为什么不说中文'), 'xn--ihqwcrb4cv8a8dqg056pqjye');
  assert.equal(roomToWire('bücher'), 'xn--bcher-kva');
});

test('no two names meet', () => {
  const pieces = ['a', 'b', '1', '-', ' ', '会', '议', '室', 'é', '!', '👍', '.', '_', 'Z'];
  const seen = new Map();
  for (const one of pieces) {
    for (const two of pieces) {
      for (const three of pieces) {
        const name = (one + two + three).trim();
        if (/\s\s/.test(name) || !name) continue;
        const wire = roomToWire(name);
        assert.ok(wire, name);
        assert.ok(!seen.has(wire) || seen.get(wire) === name, `${name} and ${seen.get(wire)} are both ${wire}`);
        seen.set(wire, name);
        assert.equal(roomToText(wire), name);
      }
    }
  }
});

test('the same name typed in two ways is the same room', () => {
  assert.equal(roomToWire('  Bu\u0308ro  '), roomToWire('B\u00fcro'));
  assert.equal(roomToWire('my   room'), roomToWire('my room'));
  assert.notEqual(roomToWire('my room'), roomToWire('my-room'));
});

test('what nobody can read is no name', () => {
  for (const name of [
    '',
    '  ',
    '\u0000',
    'a\ufffdb',
    '会'.repeat(64),
    'x'.repeat(65),
    '\u{e0020}',
    '\ud83d',
    '\ue000',
  ]) {
    assert.equal(roomToWire(name), '', JSON.stringify(name));
  }
  for (const wire of ['xn--', 'xn--a', 'xn--999999999', 'xn--bcher-kv', 'xn--a-']) assert.equal(roomToText(wire), wire);
});

test('a text is cut between characters, never within one', () => {
  assert.equal(shorten('hello', 64), 'hello');
  assert.equal(shorten(`${'a'.repeat(63)}👍`, 64), `${'a'.repeat(63)}👍`);
  assert.equal(shorten(`${'a'.repeat(64)}👍`, 64), 'a'.repeat(64));
  assert.equal(shorten(`${'a'.repeat(60)}👩‍👩‍👧`, 64), 'a'.repeat(60)); // a family of five code points
  assert.equal(shorten('ab\ud83d', 64), 'ab');
});
