// Links: the URL, the record that says what a link grants, and how the record opens (spec/links.md).
//
// Invariant: nothing of a record is used before its signature was checked (where the browser can), its
// sequence and time are those of a link that is open, and its sealed part opened under the link's secret
// and, where there is one, the password. Not here: fetching.

import { Refused, concat, equal, key32, need, utf8 } from './bytes.js';
import { Reader } from './cbor.js';
import { readRootReference, readSegment } from './drive.js';
import { aesKey, allZero, derive, openGcm } from './seal.js';

const RECORD_LEN_MAX = 8192;
const COVER_LEN_MAX = 16 * 1_048_576;
const ITERATIONS_MIN = 600_000;
const ITERATIONS_MAX = 10_000_000;
const PASSWORD_LEN_MAX = 1024;
const SIGNATURE_LEN = 64;

/** The id and the secret of a link from a path `…/s/ID` and a fragment `#SECRET`. */
export function parseAddress(pathname, hash) {
  const [, id] = /\/s\/([^/]*)$/.exec(pathname) ?? [];
  need(id !== undefined && hash.length > 1, 'link');
  return { id: key32(id), secret: key32(hash.slice(1)) };
}

/** Cuts fixed fields off the front of bytes. */
class Fields {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(length) {
    need(length <= this.bytes.length - this.at, 'shape');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A number, rounded from 2^53 on. */
  number(length) {
    return this.take(length).reduce((all, byte) => all * 256 + byte, 0);
  }
}

/** Takes a record apart, without its signature. Refuses with `too-large` or `shape`. */
export function decodeRecord(bytes) {
  need(bytes.length <= RECORD_LEN_MAX, 'too-large');
  need(bytes.length > SIGNATURE_LEN, 'shape');
  const fields = new Fields(bytes.subarray(0, bytes.length - SIGNATURE_LEN));
  need(fields.number(1) === 4, 'shape');
  const record = { signed: fields.bytes, signature: bytes.subarray(bytes.length - SIGNATURE_LEN) };
  record.id = fields.take(32);
  record.sequence = fields.number(8);
  record.expires = fields.number(8);
  const state = fields.number(1);
  need(record.sequence > 0 && state <= 1, 'shape');
  record.revoked = state === 0;
  if (!record.revoked) {
    const password = fields.number(1);
    need(password <= 1, 'shape');
    if (password === 1) {
      const iterations = fields.number(4);
      need(iterations >= ITERATIONS_MIN && iterations <= ITERATIONS_MAX, 'shape');
      record.password = { iterations, salt: fields.take(16) };
    }
    readPlace(new Reader(fields.take(fields.number(2))), record);
    record.salt = fields.take(32);
    record.sealed = fields.take(fields.number(2));
    need(record.sealed.length >= 16, 'shape');
  }
  need(fields.at === fields.bytes.length, 'shape');
  return record;
}

function readPlace(input, record) {
  input.array(2);
  record.segment = readSegment(input);
  record.coverLen = input.uint(COVER_LEN_MAX);
  input.end();
  need(record.coverLen % 32 === 0 && record.coverLen <= record.segment.len, 'shape');
}

/** Checks a record's signature: true, or false when this browser has no Ed25519. Refuses with `signature`. */
export async function verify(record) {
  let key;
  try {
    key = await crypto.subtle.importKey('raw', record.id, 'Ed25519', false, ['verify']);
  } catch {
    return false;
  }
  const message = concat(utf8('commonhold/v1/link-signature'), record.signed);
  const good = await crypto.subtle.verify('Ed25519', key, record.signature, message).catch(() => false);
  need(good, 'signature');
  return true;
}

/**
 * Whether a record is one that may be used now: of this link, open, of a time to come, and not older than
 * one that was seen before.
 */
export function admit(record, id, now, sequenceSeen = 0) {
  need(equal(record.id, id), 'foreign');
  need(record.sequence >= sequenceSeen, 'older');
  need(record.expires === 0 || now < record.expires, 'expired');
  need(!record.revoked, 'revoked');
}

/** PBKDF2 with the link's secret in front, or the secret alone. */
async function keyMaterial(record, secret, password) {
  if (!record.password) return secret;
  const bytes = utf8(password);
  need(bytes.length >= 1 && bytes.length <= PASSWORD_LEN_MAX, 'password');
  const key = await crypto.subtle.importKey('raw', bytes, 'PBKDF2', false, ['deriveBits']);
  const { salt, iterations } = record.password;
  const how = { name: 'PBKDF2', hash: 'SHA-256', salt, iterations };
  return concat(secret, new Uint8Array(await crypto.subtle.deriveBits(how, key, 256)));
}

/**
 * Opens a record: `root`, a reference in the link segment, and `drop`, the key of a drop box; either may be
 * null. A wrong password and altered bytes look the same: `sealed`.
 */
export async function openRecord(record, secret, password = undefined) {
  const material = await keyMaterial(record, secret, password);
  const key = await derive(material, concat(record.id, record.salt), 'commonhold/v1/link-record');
  const context = concat(Uint8Array.of(1, 1, 6), record.signed.subarray(1, 49));
  const plain = await openGcm(await aesKey(key, ['decrypt']), new Uint8Array(12), context, record.sealed);
  try {
    return decodeContent(plain, record);
  } catch {
    throw new Refused('sealed');
  }
}

function decodeContent(plain, { segment, coverLen }) {
  const fields = new Fields(plain);
  const content = fields.take(fields.number(4));
  const padding = plain.subarray(fields.at);
  need(plain.length % 64 === 0 && padding.length < 64 && allZero(padding), 'shape');
  need(content[0] === 1, 'shape');
  const input = new Reader(content.subarray(1));
  input.array(3);
  const root = input.array(0, 1) === 1 ? readRootReference(input, segment) : null;
  const drop = input.byteString();
  need(drop.length === 0 || drop.length === 32, 'shape');
  const written = input.int();
  input.end();
  need(root || drop.length === 32, 'shape');
  if (root) {
    // Extents that overlap must not add up to more than there is behind the cover list.
    const sum = root.extents.reduce((all, extent) => all + extent.length, 0);
    need(sum <= segment.len - coverLen && root.extents.every(({ offset }) => offset >= coverLen), 'shape');
  }
  return { root, drop: drop.length === 32 ? drop.slice() : null, written };
}

/**
 * What is shared: the one entry of the page that the root is. A file has no history; a drop box shows an
 * empty folder, whose name says where files go. Refuses every other page.
 */
export function sharedEntry(page, isDropBox) {
  const [entry, ...others] = page.entries ?? [];
  need(entry && others.length === 0, 'sealed');
  need(entry.folder ? !isDropBox || !entry.folder.page : !isDropBox && !entry.hasHistory, 'sealed');
  return entry;
}
