// Writes a zip archive as a stream: stored, not compressed, with data descriptors, since checksums are only
// known afterwards (APPNOTE 6.3.9); zip64 wherever a number needs it.
//
// Invariant: an archive ends with its directory only when every file before it was whole. Names are UTF-8,
// and have no character that a system might take for a separator.

import { concat, utf8 } from './bytes.js';

const TABLE = new Int32Array(256).map((_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  return crc;
});

/** Goes on with a checksum; begins with 0. */
export function crc32(crc, bytes) {
  let rest = ~crc;
  for (let i = 0; i < bytes.length; i++) rest = TABLE[(rest ^ bytes[i]) & 255] ^ (rest >>> 8);
  return ~rest >>> 0;
}

/** Little-endian fields: [value, bytes]. */
function fields(...pairs) {
  const out = new Uint8Array(pairs.reduce((sum, [, count]) => sum + count, 0));
  let at = 0;
  for (const [value, count] of pairs) {
    for (let i = 0, rest = value; i < count; i++, rest = Math.floor(rest / 256)) out[at++] = rest % 256;
  }
  return out;
}

const LIMIT = 0xffff_ffff;
/** 45: zip64. 0x0808: UTF-8 names, data descriptors. */
const VERSION = 45;
const FLAGS = 0x0808;

/** Date and time in the local zone, as DOS had them, and seconds since 1970. */
function times(modified) {
  const date = new Date(Math.min(Math.max(modified, Date.UTC(1980, 0, 2)), Date.UTC(2107, 11, 30)));
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  const seconds = Math.floor(modified / 1000);
  const fits = seconds >= -0x8000_0000 && seconds < 0x8000_0000;
  const extra = fits ? fields([0x5455, 2], [5, 2], [1, 1], [seconds < 0 ? seconds + 0x1_0000_0000 : seconds, 4]) : new Uint8Array(0);
  return { time, day, extra };
}

/** A name without what Windows takes for a separator or a drive. */
export const safeName = (name) => name.replace(/[\\:]/g, '_');

/**
 * @param {AsyncIterable<{ path: string, folder: boolean, modified: number, executable?: boolean, len?: number,
 *   read?: () => AsyncIterable<Uint8Array> }>} entries
 */
export async function* zip(entries) {
  const directory = [];
  let directoryLen = 0;
  let at = 0;
  for await (const { path, folder, modified, executable, len = 0, read } of entries) {
    const name = utf8(folder ? `${path}/` : path);
    const { time, day, extra } = times(modified);
    const start = at;
    const large = len >= LIMIT;
    // Sizes stand in the descriptor; a zip64 field here says that it has 64 bits.
    const local64 = large ? fields([1, 2], [16, 2], [0, 8], [0, 8]) : new Uint8Array(0);
    const flags = folder ? 0x0800 : FLAGS;
    const header = concat(
      fields([0x0403_4b50, 4], [VERSION, 2], [flags, 2], [0, 2], [time, 2], [day, 2], [0, 4], [large ? LIMIT : 0, 4], [large ? LIMIT : 0, 4], [name.length, 2], [local64.length + extra.length, 2]),
      name, local64, extra,
    );
    // Counted first: whoever takes a piece may give its buffer away.
    at += header.length;
    yield header;
    let crc = 0;
    if (!folder) {
      for await (const piece of read()) {
        crc = crc32(crc, piece);
        at += piece.length;
        yield piece;
      }
      const size = large ? 8 : 4;
      const descriptor = fields([0x0807_4b50, 4], [crc, 4], [len, size], [len, size]);
      at += descriptor.length;
      yield descriptor;
    }
    const wide = [large && [len, 8], large && [len, 8], start >= LIMIT && [start, 8]].filter(Boolean);
    const extra64 = wide.length ? concat(fields([1, 2], [wide.length * 8, 2]), fields(...wide)) : new Uint8Array(0);
    const mode = folder ? 0o40755 : executable ? 0o100755 : 0o100644;
    const record = concat(
      fields([0x0201_4b50, 4], [(3 << 8) | VERSION, 2], [VERSION, 2], [flags, 2], [0, 2], [time, 2], [day, 2], [crc, 4], [Math.min(len, LIMIT), 4], [Math.min(len, LIMIT), 4], [name.length, 2], [extra64.length + extra.length, 2], [0, 2], [0, 2], [0, 2], [mode * 0x1_0000 + (folder ? 0x10 : 0), 4], [Math.min(start, LIMIT), 4]),
      name, extra64, extra,
    );
    directory.push(record);
    directoryLen += record.length;
  }
  yield* directory;
  const count = directory.length;
  const end = at + directoryLen;
  yield concat(
    fields([0x0606_4b50, 4], [44, 8], [(3 << 8) | VERSION, 2], [VERSION, 2], [0, 4], [0, 4], [count, 8], [count, 8], [directoryLen, 8], [at, 8]),
    fields([0x0706_4b50, 4], [0, 4], [end, 8], [1, 4]),
    fields([0x0605_4b50, 4], [0, 2], [0, 2], [Math.min(count, 0xffff), 2], [Math.min(count, 0xffff), 2], [Math.min(directoryLen, LIMIT), 4], [Math.min(at, LIMIT), 4], [0, 2]),
  );
}
