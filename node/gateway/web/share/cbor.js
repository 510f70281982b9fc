// A strict reader and a small writer of CBOR (RFC 8949), as far as Commonhold uses it: unsigned and
// negative integers, byte strings, texts, arrays, true and false.
//
// Invariant: what is read is canonical: integers and lengths in their shortest form, lengths stated, and
// nothing else there is. No declared length is believed beyond the bytes that are there.

import { Refused, concat, need, text, utf8 } from './bytes.js';

const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;

/** Reads one item after the other. Every refusal is the code `shape`. */
export class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  /** Nothing may be left. */
  end() {
    need(this.at === this.bytes.length, 'shape');
  }

  /**
   * An item's head: of this major type, as a number. Numbers from 2^53 on are rounded; whoever may not
   * have that asks for a bound. `signed` refuses what needs more than 63 bits.
   */
  head(major, signed = false) {
    const { bytes } = this;
    need(this.at < bytes.length, 'shape');
    const first = bytes[this.at++];
    need(first >> 5 === major, 'shape');
    const small = first & 31;
    if (small < 24) return small;
    need(small <= 27, 'shape');
    const count = 1 << (small - 24);
    need(this.at + count <= bytes.length, 'shape');
    let high = 0;
    let low = 0;
    for (let i = 0; i < count; i++) {
      const byte = bytes[this.at++];
      if (i < count - 4) high = high * 256 + byte;
      else low = low * 256 + byte;
    }
    const shortest = count === 1 ? low >= 24 : count === 2 ? low > 0xff : count === 4 ? low > 0xffff : high > 0;
    need(shortest && (!signed || high < 0x8000_0000), 'shape');
    return high * 0x1_0000_0000 + low;
  }

  /** An unsigned integer of at most `max`; without a bound of 64 bits, rounded from 2^53 on. */
  uint(max = Infinity) {
    const value = this.head(UNSIGNED);
    need(value <= max, 'shape');
    return value;
  }

  /** A signed integer of 64 bits, rounded outside of ±2^53. */
  int() {
    need(this.at < this.bytes.length, 'shape');
    return this.bytes[this.at] >> 5 === NEGATIVE ? -1 - this.head(NEGATIVE, true) : this.head(UNSIGNED, true);
  }

  bool() {
    const byte = this.bytes[this.at++];
    need(byte === 0xf4 || byte === 0xf5, 'shape');
    return byte === 0xf5;
  }

  take(length) {
    need(length <= this.bytes.length - this.at, 'shape');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A byte string, of exactly `length` bytes if that is given; a view, not a copy. */
  byteString(length = undefined) {
    const declared = this.head(BYTES);
    need(length === undefined || declared === length, 'shape');
    return this.take(declared);
  }

  /** A text and its bytes. */
  text() {
    const bytes = this.take(this.head(TEXT));
    try {
      return { text: text(bytes), bytes };
    } catch {
      throw new Refused('shape');
    }
  }

  /** The number of an array's elements, each of which takes at least a byte. */
  array(...allowed) {
    const length = this.head(ARRAY);
    need(allowed.length === 0 || allowed.includes(length), 'shape');
    need(length <= this.bytes.length - this.at, 'shape');
    return length;
  }

  /** Elements of an array of any length, read by `read`. */
  list(read) {
    const elements = [];
    for (let left = this.array(); left > 0; left--) elements.push(read(this));
    return elements;
  }
}

function head(major, value) {
  const [info, count] =
    value < 24 ? [value, 0] : value <= 0xff ? [24, 1] : value <= 0xffff ? [25, 2] : value <= 0xffff_ffff ? [26, 4] : [27, 8];
  const bytes = new Uint8Array(1 + count);
  bytes[0] = (major << 5) | info;
  for (let i = count, rest = value; i > 0; i--) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}

/** Encodes a safe integer, a byte array, a text, or an array of such. */
export function encode(value) {
  if (typeof value === 'number') return value < 0 ? head(NEGATIVE, -1 - value) : head(UNSIGNED, value);
  if (value instanceof Uint8Array) return concat(head(BYTES, value.length), value);
  if (typeof value === 'string') {
    const bytes = utf8(value);
    return concat(head(TEXT, bytes.length), bytes);
  }
  return concat(head(ARRAY, value.length), ...value.map(encode));
}
