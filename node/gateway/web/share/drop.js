// Seals files for a drop box, so that only its owner can open them (spec/links.md, section 6).
//
// Invariant: every file has a key pair of its own, made here and forgotten; records are sealed once each,
// in order. Memory: a few records. Not here: sending.

import { bigEndian, concat, need, utf8 } from './bytes.js';
import { encode } from './cbor.js';
import { isName } from './drive.js';
import { RECORD_PLAIN_LEN, aesKey, allZero, derive, nonce } from './seal.js';

const VERSION = Uint8Array.of(1);
const TAG_LEN = 16;

/** Can this browser seal for drop boxes? Those from 2024 on can. */
export async function canSeal() {
  return crypto.subtle.generateKey('X25519', false, ['deriveBits']).then(() => true, () => false);
}

/** The name that a file may have in a drop box; the file's own where that is allowed. */
export function allowedName(name) {
  const cleaned = name.replace(/[/\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '_');
  const whole = cleaned.isWellFormed?.() === false ? cleaned.toWellFormed() : cleaned;
  return isName(whole, utf8(whole)) ? whole : null;
}

/** Seals one file. */
export class DropSealer {
  /**
   * @param {Uint8Array} link the link's id
   * @param {Uint8Array} dropKey the box's public key
   * @param {{ name: string, len: number, modified: number }} file
   * @param {CryptoKeyPair} pair for tests alone
   */
  static async start(link, dropKey, { name, len, modified }, pair = undefined) {
    // One for this file alone.
    pair ??= await crypto.subtle.generateKey('X25519', true, ['deriveBits']);
    const sender = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
    const box = await crypto.subtle.importKey('raw', dropKey, 'X25519', false, []);
    const how = { name: 'X25519', public: box };
    // Some browsers refuse a point of small order themselves, by an error.
    const shared = await crypto.subtle.deriveBits(how, pair.privateKey, 256).then((bits) => new Uint8Array(bits), () => new Uint8Array(32));
    need(!allZero(shared), 'sealed');
    const salt = concat(sender, dropKey);
    const context = concat(VERSION, link);
    const headKey = await aesKey(await derive(shared, salt, 'commonhold/v1/drop-head'), ['encrypt']);
    const fileKey = await aesKey(await derive(shared, salt, 'commonhold/v1/drop-file'), ['encrypt']);
    const sealer = new DropSealer(fileKey, context, len);
    const head = await sealer.seal(headKey, new Uint8Array(12), encode([name, len, Math.round(modified)]));
    sealer.prefix = concat(VERSION, sender, bigEndian(head.length, 4), head);
    return sealer;
  }

  constructor(key, context, len) {
    Object.assign(this, { key, context, len });
    this.count = Math.max(1, Math.ceil(len / RECORD_PLAIN_LEN));
  }

  /** Bytes of everything that is sent. */
  get sealedLen() {
    return this.prefix.length + this.len + this.count * TAG_LEN;
  }

  async seal(key, iv, plain) {
    return new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: this.context }, key, plain));
  }

  /** The sealed file in pieces of about a mebibyte; `slice(from, to)` gives its plaintext. */
  async *pieces(slice) {
    yield this.prefix;
    for (let record = 0; record < this.count; ) {
      const end = Math.min(this.count, record + 16);
      const from = record * RECORD_PLAIN_LEN;
      const plain = await slice(from, Math.min(this.len, end * RECORD_PLAIN_LEN));
      need(plain.length === Math.min(this.len, end * RECORD_PLAIN_LEN) - from, 'changed');
      const sealed = await Promise.all(
        Array.from({ length: end - record }, (_, i) => {
          const part = plain.subarray(i * RECORD_PLAIN_LEN, (i + 1) * RECORD_PLAIN_LEN);
          return this.seal(this.key, nonce(record + i, record + i + 1 === this.count), part);
        }),
      );
      yield concat(...sealed);
      record = end;
    }
  }
}
