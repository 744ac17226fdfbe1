/**
 * Room names in any script. The wire takes 1 to 64 of letters, digits, `.`, `_` and `-`; whatever is
 * something else travels as `xn--` and Punycode (RFC 3492), which no two names share, and is shown as
 * it was typed (PROTOCOL.md, "Room names for people"). Pure.
 */

const WIRE = /^[A-Za-z0-9._-]{1,64}$/;
const PREFIX = 'xn--';
/** Punycode leaves ASCII alone; what of it the wire does not take is moved among Unicode's tags. */
const TAGS = 0xe0000;
const NO_WIRE = /[^A-Za-z0-9._-]/;
/** Nobody can see or type them, and two names must not look alike. */
const UNSEEN =
  /[\p{Cc}\p{Cs}\p{Co}\p{Cn}\ufffd]|[\u{e0020}-\u{e002c}\u{e002f}\u{e003a}-\u{e0040}\u{e005b}-\u{e005e}\u{e0060}\u{e007b}-\u{e007e}]/u;

/** What is the same name to a person is the same text. @param {string} text */
const tidy = (text) => text.normalize('NFC').trim().replace(/\s+/gu, ' ');

/** The name on the wire of what somebody typed; '' where there is none. @param {string} text @returns {string} */
export function roomToWire(text) {
  const name = tidy(text);
  if (WIRE.test(name)) return name;
  if (!name || UNSEEN.test(name)) return '';
  const moved = [...name].map((one) =>
    one < '\x7f' && NO_WIRE.test(one) ? String.fromCodePoint(one.charCodeAt(0) + TAGS) : one,
  );
  const wire = PREFIX + encode(moved.map((one) => /** @type {number} */ (one.codePointAt(0))));
  return WIRE.test(wire) ? wire : '';
}

/** What people read for a name on the wire. @param {string} wire @returns {string} */
export function roomToText(wire) {
  if (!wire.startsWith(PREFIX)) return wire;
  const points = decode(wire.slice(PREFIX.length));
  const text = points
    ?.map((point) =>
      String.fromCodePoint(
        point >= TAGS && NO_WIRE.test(String.fromCodePoint(point - TAGS)) && point < TAGS + 0x7f ? point - TAGS : point,
      ),
    )
    .join('');
  return text && roomToWire(text) === wire ? text : wire;
}

// RFC 3492, 5: "Parameter values for Punycode".
const BASE = 36;
const T_MIN = 1;
const T_MAX = 26;
const SKEW = 38;
const DAMP = 700;
const INITIAL_BIAS = 72;
const INITIAL_N = 128;

/** RFC 3492, 6.1: "Bias adaptation function". @param {number} delta @param {number} points @param {boolean} first */
function adapt(delta, points, first) {
  let rest = first ? Math.floor(delta / DAMP) : delta >> 1;
  rest += Math.floor(rest / points);
  let k = 0;
  for (; rest > ((BASE - T_MIN) * T_MAX) >> 1; k += BASE) rest = Math.floor(rest / (BASE - T_MIN));
  return k + Math.floor(((BASE - T_MIN + 1) * rest) / (rest + SKEW));
}

/** @param {number} k @param {number} bias */
const threshold = (k, bias) => Math.min(T_MAX, Math.max(T_MIN, k - bias));

/** RFC 3492, 6.3: "Encoding procedure". @param {number[]} points */
function encode(points) {
  const basic = points.filter((point) => point < INITIAL_N);
  let output = String.fromCodePoint(...basic) + (basic.length ? '-' : '');
  let [n, delta, bias, handled] = [INITIAL_N, 0, INITIAL_BIAS, basic.length];
  while (handled < points.length) {
    const next = Math.min(...points.filter((point) => point >= n));
    delta += (next - n) * (handled + 1);
    n = next;
    for (const point of points) {
      if (point < n) delta += 1;
      if (point !== n) continue;
      let q = delta;
      for (let k = BASE; ; k += BASE) {
        const t = threshold(k, bias);
        if (q < t) break;
        output += (t + ((q - t) % (BASE - t))).toString(BASE);
        q = Math.floor((q - t) / (BASE - t));
      }
      output += q.toString(BASE);
      bias = adapt(delta, handled + 1, handled === basic.length);
      delta = 0;
      handled += 1;
    }
    delta += 1;
    n += 1;
  }
  return digits(output, basic.length ? basic.length + 1 : 0);
}

/** JavaScript counts 0 to z, Punycode a to 9. @param {string} output @param {number} from */
function digits(output, from) {
  const turn = (/** @type {string} */ digit) =>
    ((parseInt(digit, BASE) < 26 ? parseInt(digit, BASE) + 10 : parseInt(digit, BASE) - 26) % BASE).toString(BASE);
  return output.slice(0, from) + [...output.slice(from)].map(turn).join('');
}

/** RFC 3492, 6.2: "Decoding procedure". @param {string} text @returns {number[] | null} */
function decode(text) {
  const split = text.lastIndexOf('-');
  /** @type {number[]} */
  const output = [...text.slice(0, Math.max(0, split))].map((one) => one.charCodeAt(0));
  let [n, i, bias] = [INITIAL_N, 0, INITIAL_BIAS];
  const rest = [...text.slice(split + 1)];
  while (rest.length) {
    const before = i;
    let weight = 1;
    for (let k = BASE; ; k += BASE) {
      const digit = valueOfDigit(rest.shift());
      if (digit === null) return null;
      i += digit * weight;
      const t = threshold(k, bias);
      if (digit < t) break;
      weight *= BASE - t;
    }
    bias = adapt(i - before, output.length + 1, before === 0);
    n += Math.floor(i / (output.length + 1));
    i %= output.length + 1;
    if (n > 0x10ffff) return null;
    output.splice(i, 0, n);
    i += 1;
  }
  return output;
}

/** @param {string | undefined} digit @returns {number | null} */
function valueOfDigit(digit) {
  if (digit === undefined || !/[a-z0-9]/.test(digit)) return null;
  const value = parseInt(digit, BASE);
  return value < 10 ? value + 26 : value - 10;
}
