// Opening sealed objects (spec/sealing.md), with the browser's own AES-GCM and HKDF.
//
// Invariant: no byte of a record is given out before its tag was checked with the record's place as
// context, and no object is opened under a key that its reference does not commit to. Every refusal is the
// one code `sealed`, whatever the reason.

import { Refused, bigEndian, concat, equal, need, utf8 } from './bytes.js';

/** Ciphertext of a full record, and its plaintext. */
export const RECORD_LEN = 65_536;
export const RECORD_PLAIN_LEN = 65_520;
const TAG_LEN = 16;

/** Kinds of objects. */
export const KIND = { file: 1, manifest: 2, folder: 3 };

/** 32 bytes of HKDF-SHA-256 (spec/keys.md, section 2). */
export async function derive(secret, salt, label) {
  const key = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const how = { name: 'HKDF', hash: 'SHA-256', salt, info: utf8(label) };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, 256));
}

/** A key of AES-256-GCM. */
export function aesKey(bytes, uses) {
  return crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, uses);
}

/** Opens one ciphertext with its tag. */
export async function openGcm(key, iv, additionalData, sealed) {
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv, additionalData }, key, sealed));
  } catch {
    throw new Refused('sealed');
  }
}

/** The length to which a true length is filled up before sealing; NaN for one that no file has. */
export function paddedLen(len) {
  if (len < 2) return len;
  if (len > 2 ** 52) return NaN;
  let exponent = Math.floor(Math.log2(len));
  // Math.log2 rounds up just below a power of two.
  if (2 ** exponent > len) exponent--;
  const kept = Math.floor(Math.log2(exponent || 1)) + 1;
  const step = 2 ** Math.max(0, exponent - kept);
  return Math.ceil(len / step) * step;
}

/** Records of an object of this true length; at least one. */
export const recordCount = (len) => Math.max(1, Math.ceil(paddedLen(len) / RECORD_PLAIN_LEN));

/** Ciphertext bytes of an object of this true length. */
export const sealedLen = (len) => paddedLen(len) + TAG_LEN * recordCount(len);

/** Number of the record, then whether it is the object's last one. */
export function nonce(record, last) {
  return concat(bigEndian(record, 11), Uint8Array.of(last ? 1 : 0));
}

/** The keys of one object, ready to open its records. */
export class Sealing {
  /** Derives them and refuses a key that the commitment does not fit. */
  static async of(kind, { id, key, commitment }) {
    const salt = concat(Uint8Array.of(kind), id);
    const [content, committed] = await Promise.all([
      derive(key, salt, 'commonhold/v1/content-key'),
      derive(key, salt, 'commonhold/v1/key-commitment'),
    ]);
    need(equal(committed, commitment), 'sealed');
    return new Sealing(await aesKey(content, ['decrypt']), kind, id);
  }

  constructor(key, kind, id) {
    this.key = key;
    this.kind = kind;
    this.id = id;
  }

  /** The plaintext of one record, with its padding. `segment` is the place of its extent in a file, else 0. */
  async open(segment, record, last, sealed) {
    need(sealed.length >= TAG_LEN && sealed.length <= RECORD_LEN, 'sealed');
    const context = concat(Uint8Array.of(1, 1, this.kind), this.id, bigEndian(segment, 4));
    return openGcm(this.key, nonce(record, last), context, sealed);
  }
}

/** Opens an object whose ciphertext is here as a whole, and checks its padding. */
export async function openWhole(kind, reference, sealed) {
  const { len } = reference;
  need(sealed.length === sealedLen(len), 'sealed');
  const sealing = await Sealing.of(kind, reference);
  const count = recordCount(len);
  const plain = new Uint8Array(paddedLen(len));
  await Promise.all(
    Array.from({ length: count }, async (_, record) => {
      const part = sealed.subarray(record * RECORD_LEN, (record + 1) * RECORD_LEN);
      plain.set(await sealing.open(0, record, record + 1 === count, part), record * RECORD_PLAIN_LEN);
    }),
  );
  need(allZero(plain.subarray(len)), 'sealed');
  return plain.subarray(0, len);
}

/** Nothing but zeros? */
export const allZero = (bytes) => bytes.every((byte) => byte === 0);
