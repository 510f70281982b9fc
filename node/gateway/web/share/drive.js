// What stands in opened objects: tables, references, pages of folders, manifests (spec/manifest.md,
// spec/drive.md), and what a name may be.
//
// Invariant: what is let through is what the node's own decoder lets through: canonical, every extent
// within its segment, extents that add up, every segment and holder used, names in order. Not here:
// fetching and opening.

import { bigEndian, compare, concat, hex, need } from './bytes.js';
import { Reader, encode } from './cbor.js';
import { sealedLen } from './seal.js';
import { sha256 } from './sha256.js';

const VERSION = 2;
const CHUNK_LEN_MAX = 1_048_576;
/** Largest object, bytes. */
export const OBJECT_LEN_MAX = 268_435_456;
const PAGE_LEVEL_MAX = 12;
const HOLDERS_MAX = 65_535;
const INLINE_LEN_MAX = 4096;
const DOMAIN = new TextEncoder().encode('commonhold/v1/segment');

// Control characters, and those that change the direction of the text around them.
const REFUSED_IN_NAMES = /[/\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

/** May this be a name? `bytes` is its UTF-8. */
export function isName(text, bytes) {
  return bytes.length >= 1 && bytes.length <= 255 && text !== '.' && text !== '..' && !REFUSED_IN_NAMES.test(text);
}

/** A segment: k of n chunks with these ids, `len` bytes of ciphertext; `holders` gives the nodes' ids. */
export class Segment {
  constructor(k, n, len, chunks, holders) {
    need(k >= 1 && k <= n && n <= 64 && len >= 1 && len <= k * CHUNK_LEN_MAX, 'shape');
    Object.assign(this, { k, n, len, chunks, holders });
    /** What tells it from all others, as hexadecimal digits. */
    this.id = hex(sha256(concat(DOMAIN, Uint8Array.of(k, n), bigEndian(len, 4), chunks)));
  }

  /** Bytes of each of its chunks. */
  get chunkLen() {
    return Math.ceil(Math.ceil(this.len / this.k) / 64) * 64;
  }

  /** The id of chunk i. */
  chunk(i) {
    return this.chunks.subarray(i * 32, (i + 1) * 32);
  }

  /** Its description, as a gateway wants it. */
  encode() {
    return encode([[this.k, this.n], this.len, this.chunks, this.holders()]);
  }
}

function readCode(input) {
  input.array(2);
  const k = input.uint(64);
  const n = input.uint(64);
  need(k >= 1 && k <= n, 'shape');
  return [k, n];
}

/** A segment's description with whole holders: an array of 4. */
export function readSegment(input) {
  input.array(4);
  const [k, n] = readCode(input);
  const len = input.uint(0xffff_ffff);
  const chunks = input.byteString(n * 32);
  const holders = input.byteString(n * 32);
  return new Segment(k, n, len, chunks, () => holders);
}

/** A table: the holders in the order of first use, then segments that name them by place. */
function readTable(input) {
  input.array(2);
  const nodes = input.byteString();
  need(nodes.length % 32 === 0 && nodes.length / 32 <= HOLDERS_MAX, 'shape');
  const node = (place) => nodes.subarray(place * 32, (place + 1) * 32);
  const seen = new Set();
  let used = 0;
  const table = input.list((input) => {
    input.array(4);
    const [k, n] = readCode(input);
    const len = input.uint(0xffff_ffff);
    const chunks = input.byteString(n * 32);
    const places = input.byteString(n * 2);
    const at = (i) => places[i * 2] * 256 + places[i * 2 + 1];
    for (let i = 0; i < n; i++) {
      need(at(i) <= used && at(i) * 32 < nodes.length, 'shape');
      if (at(i) === used) {
        seen.add(hex(node(used)));
        used++;
      }
    }
    return new Segment(k, n, len, chunks, () => concat(...Array.from({ length: n }, (_, i) => node(at(i)))));
  });
  need(used * 32 === nodes.length && seen.size === used, 'shape');
  need(new Set(table.map((segment) => segment.id)).size === table.length, 'shape');
  return { segments: table, used: new Set() };
}

/** Every segment of a table must have been used by a reference. */
function endTable(table) {
  need(table.used.size === table.segments.length, 'shape');
}

/** A reference, its extents with their segments instead of places in the table. */
function readReference(input, table) {
  input.array(5);
  const id = input.byteString(16).slice();
  const key = input.byteString(32).slice();
  const commitment = input.byteString(32).slice();
  const len = input.uint(2 ** 52);
  let sum = 0;
  const extents = input.list((input) => {
    input.array(3);
    const place = input.uint(0xffff_ffff);
    const offset = input.uint(0xffff_ffff);
    const length = input.uint(0xffff_ffff);
    const segment = table.segments[place];
    need(segment && length >= 1 && offset + length <= segment.len, 'shape');
    table.used.add(place);
    sum += length;
    return { segment, offset, length };
  });
  need(sum === sealedLen(len), 'shape');
  return { id, key, commitment, len, extents };
}

function readOptional(input, table) {
  return input.array(0, 1) === 1 ? readReference(input, table) : null;
}

function readTotals(input) {
  return { entries: input.uint(), files: input.uint(), bytes: input.uint() };
}

function readName(input) {
  const { text, bytes } = input.text();
  need(isName(text, bytes), 'name');
  return { name: text, nameBytes: bytes.slice() };
}

/** Where a file's bytes are: `inline`, `direct`, or a `manifest`; always with the `len` of the file. */
function readContent(input, table) {
  const length = input.array(2, 3);
  const kind = input.uint(2);
  need((kind === 2) === (length === 3), 'shape');
  if (kind === 0) {
    const inline = input.byteString().slice();
    need(inline.length <= INLINE_LEN_MAX, 'shape');
    return { inline, len: inline.length };
  }
  const reference = readReference(input, table);
  return kind === 1 ? { direct: reference, len: reference.len } : { manifest: reference, len: input.uint() };
}

function readAttributes(input) {
  let previous = null;
  let length = 0;
  const attributes = input.list((input) => {
    input.array(2);
    const key = input.text();
    const value = input.text();
    need(key.bytes.length >= 1 && key.bytes.length <= 128, 'shape');
    need(previous === null || compare(previous, key.bytes) < 0, 'shape');
    previous = key.bytes;
    length += key.bytes.length + value.bytes.length;
    return [key.text, value.text];
  });
  need(attributes.length <= 64 && length <= 8192, 'shape');
  return new Map(attributes);
}

/** Whether an entry has a history. It is checked, and of no further use to those who have a link. */
function readHistory(input, table) {
  if (input.array(0, 3) === 0) return false;
  readReference(input, table);
  need(input.uint() >= 1, 'shape');
  input.uint();
  return true;
}

function readEntry(input, table) {
  input.array(8);
  const entry = { ...readName(input), modified: input.int() };
  if (input.uint(1) === 0) {
    entry.executable = input.bool();
    input.uint();
    entry.content = readContent(input, table);
    entry.attributes = readAttributes(input);
    entry.hasHistory = readHistory(input, table);
    return entry;
  }
  const page = readOptional(input, table);
  const totals = readTotals(input);
  need(page ? totals.entries > 0 : totals.entries === 0 && totals.files === 0 && totals.bytes === 0, 'shape');
  entry.folder = { page, totals };
  entry.attributes = readAttributes(input);
  return entry;
}

function readPageRef(input, table) {
  input.array(5);
  const { nameBytes: first } = readName(input);
  const page = readReference(input, table);
  const totals = readTotals(input);
  need(totals.entries > 0, 'shape');
  return { first, page, totals };
}

function body(bytes) {
  need(bytes.length <= OBJECT_LEN_MAX && bytes[0] === VERSION, 'shape');
  return new Reader(bytes.subarray(1));
}

/** A page of a folder: `level` 0 with `entries`, or a higher one with `pages`. */
export function decodePage(bytes) {
  const input = body(bytes);
  input.array(3);
  const level = input.uint(PAGE_LEVEL_MAX);
  const table = readTable(input);
  const items = input.list((input) => (level === 0 ? readEntry(input, table) : readPageRef(input, table)));
  input.end();
  endTable(table);
  need(items.length > 0, 'shape');
  const low = (item) => item.nameBytes ?? item.first;
  for (let i = 1; i < items.length; i++) need(compare(low(items[i - 1]), low(items[i])) < 0, 'shape');
  return level === 0 ? { level, entries: items } : { level, pages: items };
}

/** The parts of a file: references to objects of kind file, one after the other. */
export function decodeManifest(bytes) {
  const input = body(bytes);
  input.array(2);
  const table = readTable(input);
  const parts = input.list((input) => readReference(input, table));
  input.end();
  endTable(table);
  need(parts.length > 0, 'shape');
  return parts;
}

/** A reference whose extents all lie in one segment, from an encoding of its own: a link's root. */
export function readRootReference(input, segment) {
  const table = { segments: [segment], used: new Set() };
  return readReference(input, table);
}
