import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitLinks } from '../../../static/js/links.js';

const links = (text) =>
  splitLinks(text)
    .filter(({ href }) => href)
    .map(({ text: address }) => address);

test('nothing of a text is lost, whatever is a link in it', () => {
  for (const text of [
    '',
    'a',
    'see https://a.example, then (https://b.example/c_(d)) and http://',
    '看https://a.example。好',
  ]) {
    assert.equal(
      splitLinks(text)
        .map((part) => part.text)
        .join(''),
      text,
    );
  }
});

test('a link ends where the sentence goes on', () => {
  assert.deepEqual(links('See https://example.org/a?b=1&c=2#d.'), ['https://example.org/a?b=1&c=2#d']);
  assert.deepEqual(links('“https://example.org/”, really?'), ['https://example.org/']);
  assert.deepEqual(links('请看https://example.org/文档。谢谢'), ['https://example.org/文档']);
  assert.deepEqual(links('（https://example.org/a），https://example.org/b！'), [
    'https://example.org/a',
    'https://example.org/b',
  ]);
  assert.deepEqual(links('「https://example.org/a」'), ['https://example.org/a']);
});

test('brackets that the link opened belong to it', () => {
  assert.deepEqual(links('(see https://en.wikipedia.org/wiki/Tandem_(bicycle))'), [
    'https://en.wikipedia.org/wiki/Tandem_(bicycle)',
  ]);
  assert.deepEqual(links('[https://example.org/a[1]]'), ['https://example.org/a[1]']);
  assert.deepEqual(links('(https://example.org/a)'), ['https://example.org/a']);
});

test('what is no address is none', () => {
  assert.deepEqual(links('http:// https://? javascript:alert(1) ftp://x'), []);
});
